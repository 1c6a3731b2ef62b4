# Which WAL segments of old timelines still count. Sourced in Postgres' data directory.

# The segment number of a position such as 0/161C6EE0, with segments of 16 MB.
segment_of() { echo $(((0x${1%/*} << 8) | (0x${1#*/} >> 24))); }

# What became of a segment whose timeline is a parent of the newest one known here: `left` when its timeline was left
# within the segment or before it, `passed` when the newest timeline passed through all of it. Nothing for another
# timeline's, and for other files than segments (history, backup, partial).
fate() { # file name
    case $1 in *[!0-9A-F]*) return ;; esac
    timeline=$(printf %.8s "$1") rest=${1#????????}
    segment=$(((0x${rest%????????} << 8) | 0x${rest#????????}))
    newest=$(ls pg_wal/????????.history 2>/dev/null | tail -n 1)
    [ -n "$newest" ] || return
    while read -r parent point _; do
        [ "$parent" = "$((0x$timeline))" ] || continue
        if [ "$segment" -ge "$(segment_of "$point")" ]; then echo left; else echo passed; fi
        return
    done < "$newest"
}

left_behind() { [ "$(fate "$1")" = left ]; }
