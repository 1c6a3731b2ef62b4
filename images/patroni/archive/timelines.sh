# Which WAL segments of old timelines still count. Sourced in Postgres' data directory.

# The segment number of a position such as 0/161C6EE0, with segments of 16 MB.
segment_of() { echo $(((0x${1%/*} << 8) | (0x${1#*/} >> 24))); }

# Whether the newest timeline known here left the segment's timeline within the segment or before it. Other files
# than segments (history, backup, partial) are never left behind.
left_behind() { # file name
    case $1 in *[!0-9A-F]*) return 1 ;; esac
    timeline=$(printf %.8s "$1") rest=${1#????????}
    segment=$(((0x${rest%????????} << 8) | 0x${rest#????????}))
    newest=$(ls pg_wal/????????.history 2>/dev/null | tail -n 1)
    [ -n "$newest" ] || return 1
    while read -r parent point _; do
        if [ "$parent" = "$((0x$timeline))" ] && [ "$segment" -ge "$(segment_of "$point")" ]; then
            return 0
        fi
    done < "$newest"
    return 1
}
