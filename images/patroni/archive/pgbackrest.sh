# Sourced by the commands that Postgres waits for.

SPOOL=${PGHA_SPOOL:-/var/spool/pgbackrest}

# Runs pgBackRest; returns its exit code, or 0 or 1 as soon as a line has the words for `done` or `not there` (empty: no
# such words). Then pgBackRest takes 100 ms to end its connection; when the lead changes hands Postgres waits for one such
# command after another, and clients wait for it. The last line it said is left in $line.
until_said() { # words for done, words for not there, arguments of pgbackrest
    while IFS= read -r line; do
        case $line in "exit code "*) return "${line##* }" ;; esac
        echo "$line"
        if [[ -n $1 && $line == *"$1"* ]]; then return 0; fi
        if [[ -n $2 && $line == *"$2"* ]]; then return 1; fi
    done < <(exec 2>/dev/null; pgbackrest "--stanza=$STANZA_NAME" "${@:3}" 2>&1; echo "exit code $?")
    return 1
}
