"""How far a Postgres is, asked from itself: with or without a leader, and without etcd."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.tools.wal import parse_lsn

POSITION = (
    "select json_build_object('in_recovery', pg_is_in_recovery(),"
    " 'received', case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_flush_lsn() end,"
    " 'replayed', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end,"
    " 'committed', extract(epoch from pg_last_xact_replay_timestamp()),"
    " 'timeline', (select greatest(timeline_id, min_recovery_end_timeline)"
    " from pg_control_checkpoint(), pg_control_recovery()),"
    " 'receiving', (select max(received_tli) from pg_stat_wal_receiver))"
)


@dataclass(frozen=True)
class Position:
    """A member's Postgres: its timeline and how much WAL it has."""

    in_recovery: bool
    timeline: int
    received: int
    """bytes of WAL it has received from a leader; 0 when it has not since it was started"""
    replayed: int
    committed: float | None
    """when the last transaction was committed that it has replayed, seconds since 1970; None when it has replayed none
    since it was started"""

    @property
    def furthest(self) -> tuple[int, int]:
        """What is compared: a newer timeline is further than any position on an older one."""
        return self.timeline, max(self.received, self.replayed)


def parse_position(text: str) -> Position:
    """The answer to `POSITION`."""
    try:
        document = json.loads(text)
        received, replayed = (parse_lsn(document[key]) if document[key] else 0 for key in ("received", "replayed"))
        when = document["committed"]
        return Position(
            in_recovery=document["in_recovery"],
            timeline=max(document["timeline"], document["receiving"] or 0),
            received=received,
            replayed=replayed,
            committed=None if when is None else float(when),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("psql did not answer the question about the position", text) from error
