# Sourced by the commands that Postgres waits for.

# pgBackRest says how it went and then takes 100 ms to end its connection. When the lead changes hands Postgres waits for
# one such command after another, and clients wait for it: so this returns as soon as a line tells the end.
SAYS_DONE= SAYS_MISSING=
until_said() { # arguments of pgbackrest
    while IFS= read -r line; do
        case $line in
            "exit code "*) return "${line##* }" ;;
            *) echo "$line" ;;
        esac
        if [ -n "$SAYS_DONE" ] && [[ $line == *"$SAYS_DONE"* ]]; then return 0; fi
        if [ -n "$SAYS_MISSING" ] && [[ $line == *"$SAYS_MISSING"* ]]; then return 1; fi
    done < <(exec 2>/dev/null; pgbackrest "--stanza=$STANZA_NAME" "$@" 2>&1; echo "exit code $?")
    return 1
}
