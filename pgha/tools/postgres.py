"""PostgreSQL: psql on a node, connection strings, and the few questions asked in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgha.errors import ToolFailed
from pgha.tools.command import Answer, Command
from pgha.tools.wal import parse_lsn

PORT = 5432


def data_dir(major: int) -> str:
    """A directory of the volume, not its mount point: Patroni must be able to move and remove it."""
    return f"/pgdata/{major}"


FREE = "PGOPTIONS=-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"
"""What the database or the role was given for its users is not meant for these questions."""


BEHIND = "select coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)"
"""How many seconds ago what a standby replayed last was committed."""


def query(sql: str, timeout: float = 10) -> Command:
    """SQL on the node's own Postgres over its socket, as postgres, without a password."""
    psql = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql)
    return Command(("env", FREE, *psql), timeout=timeout)


@dataclass(frozen=True)
class Archiver:
    """pg_stat_archiver, what is configured, and what waits in pg_wal."""

    command: str
    last_archived: str | None
    failing: bool
    """The newest attempt failed."""
    last_failed: str | None
    waiting: int = 0
    """Segments that are complete and not archived yet."""
    waiting_seconds: float = 0
    """How long the oldest of them has been waiting."""


ARCHIVER = (
    "select json_build_object('command', current_setting('archive_command'),"
    " 'last_archived', last_archived_wal, 'last_failed', last_failed_wal,"
    " 'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),"
    " 'waiting', (select count(*) from pg_ls_archive_statusdir() where name ~ '^[0-9A-F]{24}[.]ready$'),"
    " 'waiting_seconds', (select coalesce(extract(epoch from now() - min(modification)), 0)"
    " from pg_ls_archive_statusdir() where name ~ '^[0-9A-F]{24}[.]ready$'))"
    " from pg_stat_archiver"
)


NEXT_XID = "select pg_snapshot_xmax(pg_current_snapshot())"

COMMIT = "set synchronous_commit = local; select pg_current_xact_id()"
"""A transaction that ends in WAL, whether or not a standby is there to acknowledge it."""

SWITCH_WAL = "select pg_walfile_name(pg_switch_wal())"
"""The name of the segment that is complete now."""


def set_password(user: str, passfile: str) -> Command:
    """Give a role the password that a passfile has for it on any host. psql encrypts it itself, so that no statement
    holds it, and no command line; without a terminal it reads it from its input."""
    script = (
        r"""secret=$(sed -n "s/^[*]:[*]:[*]:$0://p" "$1" | sed 's/\\\(.\)/\1/g'); [ -n "$secret" ] || exit 1; """
        r"""printf '%s\n%s\n' "$secret" "$secret" | psql -Xq -d postgres -c '\password '"$0" """
    )
    return Command(("env", FREE, "sh", "-c", script, user, passfile), timeout=30)


def write_lines(path: str, lines: Sequence[str]) -> Command:
    """A file of postgres' own with these lines."""
    return Command(("sh", "-c", r"""umask 077; printf '%s\n' "$@" > "$0" """.strip(), path, *lines), timeout=15)


def restore_point(name: str) -> str:
    """SQL that sets it and answers with its position."""
    return "select pg_create_restore_point('" + name.replace("'", "''") + "')"


TABLESPACES = "select pg_tablespace_location(oid) from pg_tablespace where spcname !~ '^pg_'"
"""Where they are, each on a line."""

DATABASES = "select datname from pg_database where datallowconn"
"""Each on a line."""

IDLE_SLOTS = "select slot_name from pg_replication_slots where not active and not temporary"


def parse_archiver(text: str) -> Archiver:
    """The answer to `ARCHIVER`."""
    try:
        document: dict[str, Any] = json.loads(text)
        return Archiver(
            command=document["command"],
            last_archived=document["last_archived"],
            failing=document["failing"],
            last_failed=document["last_failed"],
            waiting=document["waiting"],
            waiting_seconds=document["waiting_seconds"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("psql did not answer the question about archiving", text) from error


# A server started by hand (images/patroni/start-aside), for recovery -----------------------------------------

ASIDE_SOCKET = "/tmp/aside"


def aside_log(data: str) -> str:
    """Beside the data directory: a restore removes what does not belong into it."""
    return f"{data}.log"


def start_aside(data: str, preload: str, *settings: str) -> Command:
    """A copy that touches nothing outside: no listener, unless a setting says so, no archiving, no subscription.

    Of shared_preload_libraries only those in `preload`. All of it is on the command line, and goes with this server.
    """
    libraries = f"shared_preload_libraries={preload}"
    return Command(("start-aside", data, aside_log(data), libraries, *settings), timeout=60)


def stop(data: str) -> Command:
    """Stop the server of a data directory if one runs, however it was started."""
    script = (
        'pg_ctl status -D "$0" > /dev/null || exit 0; '
        'pg_ctl stop -s -D "$0" -m fast -t 60 || pg_ctl stop -s -D "$0" -m immediate -t 30'
    )
    return Command(("sh", "-c", script, data), timeout=120)


def clear_way(data: str) -> Command:
    """Make a data directory ready for pgbackrest restore: nothing runs on it, and there is one."""
    # The brackets keep pkill from finding the line that it stands in.
    script = (
        'pkill -f "pgbackrest .* restor[e]" && sleep 1; '
        'pg_ctl status -D "$0" > /dev/null && pg_ctl stop -s -D "$0" -m immediate -t 60; '
        'mkdir -p -m 0700 "$0" && rm -f "$0/postmaster.pid"'
    )
    return Command(("sh", "-c", script, data), timeout=120)


# What a server has in its tablespaces, by the links of its data directory, which is named for its major version.
_FILES = 'PG_"${0##*/}"_*[0-9]'
_IN_TABLESPACES = f"pg_tblspc/*/{_FILES}"


def set_aside(data: str) -> Command:
    """Keep the only good data under another name, once; what it has in tablespaces is renamed where it is."""
    script = (
        '[ -e "$0.kept" ] || [ ! -e "$0" ] || mv "$0" "$0.kept" || exit 1; '
        f'for files in "$0.kept"/{_IN_TABLESPACES}; do '
        '[ ! -e "$files" ] || [ -e "$files.kept" ] || mv "$files" "$files.kept" || exit 1; done'
    )
    return Command(("sh", "-c", script, data), timeout=30)


def take_back(data: str) -> Command:
    """The kept data becomes the data directory again."""
    script = (
        f'[ ! -e "$0.kept" ] || {{ rm -rf "$0"/{_IN_TABLESPACES} "$0" && mv "$0.kept" "$0"; }} || exit 1; '
        f'for kept in "$0"/{_IN_TABLESPACES}.kept; do '
        '[ ! -e "$kept" ] || { rm -rf "${kept%.kept}" && mv "$kept" "${kept%.kept}"; } || exit 1; done'
    )
    return Command(("sh", "-c", script, data), timeout=600)


def remove_kept(data: str) -> Command:
    return Command(("sh", "-c", f'rm -rf "$0.kept"/{_IN_TABLESPACES}.kept "$0.kept"', data), timeout=600)


def remove_data(data: str) -> Command:
    """The directory itself goes, too: then Patroni clones the member."""
    # It is the last: without it nobody would know which tablespaces there are.
    script = f'rm -rf "$0"/{_IN_TABLESPACES} "$0.tablespaces"/*/{_FILES} "$0.tablespaces" "$0"'
    return Command(("sh", "-c", script, data), timeout=600)


RECOVERY = (
    "select json_build_object('in_recovery', pg_is_in_recovery(),"
    " 'paused', pg_is_in_recovery() and pg_get_wal_replay_pause_state() = 'paused',"
    " 'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,"
    " 'last_transaction', pg_last_xact_replay_timestamp() at time zone 'UTC',"
    " 'timeline', case when pg_is_in_recovery() then 0 else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))"
    "::bit(32)::int end)"
)


def recovery_state(data: str) -> Command:
    """How far the server started by hand is: exit code 3 with its log when it does not run, 2 while it starts."""
    script = (
        'pg_ctl status -D "$0" > /dev/null || { tail -n 15 "$1" >&2; exit 3; }; '
        'exec psql -XAtq -h "$2" -d postgres -v ON_ERROR_STOP=1 -c "$3"'
    )
    return Command(("env", FREE, "sh", "-c", script, data, aside_log(data), ASIDE_SOCKET, RECOVERY), timeout=15)


def end_recovery() -> Command:
    """Go on from the pause: the server promotes itself."""
    sql = "select pg_wal_replay_resume()"
    return Command(("env", FREE, "psql", "-XAtq", "-h", ASIDE_SOCKET, "-d", "postgres", "-c", sql), timeout=15)


@dataclass(frozen=True)
class RecoveryState:
    """Where a recovering server is."""

    running: bool
    in_recovery: bool = True
    paused: bool = False
    lsn: int = 0
    last_transaction: datetime | None = None
    """when the last replayed transaction committed"""
    timeline: int = 0
    """once it is promoted"""
    words: str = ""
    """the end of its log when it does not run"""


def parse_recovery_state(answer: Answer) -> RecoveryState:
    """The answer to `recovery_state`."""
    if answer.exit_code == 3:
        return RecoveryState(running=False, words=answer.words)
    try:
        document = json.loads(answer.stdout)
        when = document["last_transaction"]
        return RecoveryState(
            running=True,
            in_recovery=document["in_recovery"],
            paused=document["paused"],
            lsn=parse_lsn(document["lsn"]),
            last_transaction=datetime.fromisoformat(when).replace(tzinfo=UTC) if when else None,
            timeline=document["timeline"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return RecoveryState(running=True)


def control_data(data: str) -> Command:
    """pg_controldata; fails where there is no data directory."""
    return Command(("env", "LC_ALL=C", "pg_controldata", data), timeout=15)


def parse_position(text: str) -> tuple[int, int]:
    """Timeline and bytes of WAL a stopped server has at least, from `control_data`."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        timeline = int(fields["Latest checkpoint's TimeLineID"])
        recovered = int(fields["Min recovery ending loc's timeline"])
        written = parse_lsn(fields["Latest checkpoint location"])
        replayed = parse_lsn(fields["Minimum recovery ending location"])
    except (KeyError, ValueError) as error:
        raise ToolFailed("pg_controldata did not print what it should", text) from error
    return max(timeline, recovered), max(written, replayed)


def room(data: str) -> Command:
    """Free bytes of the volume, and bytes the data directory has of it, with its tablespaces."""
    # du fails when a file goes while it counts, and tells the sum all the same.
    script = (
        'df -PB1 "$(dirname "$0")" | tail -n 1 | awk \'{print $4}\'; '
        'used=$(du -scB1 "$0" "$0"/pg_tblspc/*/ 2> /dev/null | tail -n 1 | cut -f 1); echo "${used:-0}"'
    )
    return Command(("sh", "-c", script, data), timeout=120)


def parse_room(text: str) -> tuple[int, int]:
    """The answer to `room`: free, used."""
    try:
        free, used = (int(line.split()[0]) for line in text.splitlines())
    except (ValueError, IndexError) as error:
        raise ToolFailed("df and du did not print numbers", text) from error
    return free, used


def conninfo(**parameters: str | int) -> str:
    """A libpq connection string, quoted as its documentation asks (34.1.1, Connection Strings)."""
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in parameters.items())


def _quoted(value: str) -> str:
    if value and not any(char.isspace() or char in "'\\" for char in value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
