# Which WAL segments of old timelines lie on the history of the newest one. Sourced in Postgres' data directory.

# A position such as 0/161C6EE0 as a number, and its segment's number: segments have 16 MB.
number_of() { echo $((0x${1%/*} << 32 | 0x${1#*/})); }
segment_of() { echo $(($(number_of "$1") >> 24)); }

# What became of a segment whose timeline is a parent of the newest one known here: `passed` when the newest timeline
# passed through all of it, `left` and the position when its timeline was left within it, `over` and the position when
# that was before it. Nothing for another timeline's, and for other files than segments (history, backup, partial).
fate() { # file name
    case $1 in *[!0-9A-F]*) return ;; esac
    rest=${1#????????} timeline=${1%"${1#????????}"}
    segment=$(((0x${rest%????????} << 8) | 0x${rest#????????}))
    for newest in pg_wal/????????.history; do :; done
    # The newest timeline's own segments, and none without a history, have no fate yet.
    [ -e "$newest" ] && [ "$newest" != "pg_wal/$timeline.history" ] || return
    while read -r parent point _; do
        [ "$parent" = "$((0x$timeline))" ] || continue
        last=$(segment_of "$point")
        if [ "$segment" -lt "$last" ]; then echo passed
        elif [ "$segment" -eq "$last" ]; then echo "left $point"
        else echo "over $point"; fi
        return
    done < "$newest"
}

left_behind() { case $(fate "$1") in left* | over*) ;; *) return 1 ;; esac }
