"""What `inv status` asks the leader's Postgres, in one connection."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.tools import postgres, wal

ARCHIVE_GAP = "/pgdata/archive_gap"
"""Where a new leader keeps the names of the segments that nobody has (images/patroni/complete-history)."""

_TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"

FACTS = (
    f"select json_build_object('archiver', ({postgres.ARCHIVER}),"
    " 'slots', (select coalesce(json_agg(json_build_object('name', slot_name, 'type', slot_type, 'active', active,"
    " 'retained', coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)) order by slot_name), '[]')"
    " from pg_replication_slots where not temporary),"
    " 'slot_limit', pg_size_bytes(current_setting('max_wal_size')),"
    " 'clients', (select count(*) from pg_stat_activity where backend_type = 'client backend'),"
    " 'client_limit', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int,"
    f" 'timeline', {_TIMELINE},"
    f" 'history', pg_read_file('pg_wal/' || {_TIMELINE} || '.history', 0, 65536, true),"
    f" 'archive_gap', coalesce(pg_read_file('{ARCHIVE_GAP}', 0, 65536, true), '[]')::json)"
)

NO_CONNECTION = 2
"""psql's exit code when the connection to the server went bad (psql(1), EXIT STATUS)."""


def parse_refusal(words: str) -> tuple[str, bool]:
    """Why a server takes no connection, from psql's words, and whether it has no more of them."""
    found = re.search(r"(?:FATAL|PANIC): +(.+)", words)
    reason = found[1] if found else (words.strip().splitlines() or ["no reason given"])[-1]
    return reason, bool(re.search("too many (clients|connections)|remaining connection slots", reason))


@dataclass(frozen=True)
class Slot:
    """A replication slot, and the bytes of WAL that are kept for it."""

    name: str
    type: str
    """physical or logical"""
    active: bool
    retained: int


@dataclass(frozen=True)
class Facts:
    """What the leader's Postgres says of itself."""

    archiver: postgres.Archiver
    slots: tuple[Slot, ...]
    slot_limit: int
    """bytes of max_wal_size: what a slot keeps beyond that no checkpoint gives back"""
    clients: int
    client_limit: int
    """connections for those who are not superusers"""
    archive_gap: tuple[str, ...]
    """segments before the leader's timeline that neither the archive nor the leader has"""
    history: wal.History
    """the timelines that lead to the leader's"""


def parse_facts(text: str) -> Facts:
    """The answer to `FACTS`."""
    try:
        document: dict[str, Any] = json.loads(text)
        return Facts(
            archiver=postgres.parse_archiver(json.dumps(document["archiver"])),
            slots=tuple(Slot(**slot) for slot in document["slots"]),
            slot_limit=document["slot_limit"],
            clients=document["clients"],
            client_limit=document["client_limit"],
            archive_gap=tuple(document["archive_gap"]),
            history=wal.parse_history(int(document["timeline"], 16), document["history"] or ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("psql did not answer the question about the leader", text) from error
