"""Logical replication slots, and which of them outlive their leader.

A slot is a file of one server: no standby has it by streaming, and no backup. Patroni keeps those that its dynamic
configuration names on every member, and drops what it does not know; since PostgreSQL 17 a standby can copy those that
were made with `failover` itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed

LOGICAL = (
    "select coalesce(json_agg(to_jsonb(s) order by slot_name), '[]') from pg_replication_slots s"
    " where slot_type = 'logical' and not temporary and slot_name !~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$'"
)
"""Without those a subscription has for a while, to copy a table."""


@dataclass(frozen=True)
class LogicalSlot:
    """A logical slot as one member has it."""

    name: str
    database: str
    plugin: str
    failover: bool = False
    """made for Postgres' own synchronization; Patroni leaves it alone"""
    synced: bool = False
    """copied from the leader by that"""

    def is_declared(self, config: Mapping[str, Any]) -> bool:
        """Whether Patroni keeps it on every member."""
        slots: dict[str, Any] = next((config[key] for key in _DECLARING if config.get(key)), {})
        given = slots.get(self.name)
        return isinstance(given, dict) and (given.get("database"), given.get("plugin")) == (self.database, self.plugin)

    def is_ignored(self, config: Mapping[str, Any]) -> bool:
        """Whether Patroni is configured to leave it alone (`ignore_slots`)."""
        own = {"name": self.name, "type": "logical", "database": self.database, "plugin": self.plugin}
        return any(
            all(not entry.get(key) or entry[key] == value for key, value in own.items())
            for entry in config.get("ignore_slots") or []
        )

    def stays(self, config: Mapping[str, Any]) -> bool:
        """Whether a member that has it still has it when it leads."""
        return self.synced if self.failover else self.is_declared(config) or self.is_ignored(config)


_DECLARING = ("permanent_replication_slots", "permanent_slots", "slots")
"""Names of the table in the dynamic configuration, in the order Patroni looks for them (global_config.py)."""


def parse_slots(text: str) -> tuple[LogicalSlot, ...]:
    """The answer to `LOGICAL`, without those whose WAL is gone: no consumer can go on with them.

    Raises ToolFailed.
    """
    try:
        return tuple(
            LogicalSlot(
                slot["slot_name"],
                slot["database"],
                slot["plugin"],
                bool(slot.get("failover")),
                bool(slot.get("synced")),
            )
            for slot in json.loads(text)
            if slot.get("wal_status") != "lost" and not slot.get("invalidation_reason")
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("psql did not answer the question about slots", text) from error


@dataclass(frozen=True)
class SlotCoverage:
    """What becomes of one of the leader's slots."""

    name: str
    declared: bool
    """Patroni makes it, wherever it is not, on the leader"""
    lacking: tuple[str, ...]
    """standbys that do not have it, or would drop it"""
    kept_on: tuple[str, ...] = ()
    """standbys that have it and still do when they lead"""
    failover: bool = False
    """Patroni does nothing with it: Postgres synchronizes it, or nobody"""
    unknown: bool = False
    """Patroni drops it when it looks at the slots next, unless somebody uses it then"""


def coverage(
    leader: tuple[LogicalSlot, ...], standbys: Mapping[str, tuple[LogicalSlot, ...]], config: Mapping[str, Any]
) -> tuple[SlotCoverage, ...]:
    """What becomes of each of the leader's slots when a standby takes over."""
    lasting = {name: {slot.name for slot in slots if slot.stays(config)} for name, slots in standbys.items()}
    return tuple(
        SlotCoverage(
            slot.name,
            not slot.failover and slot.is_declared(config),
            tuple(name for name in standbys if slot.name not in lasting[name]),
            tuple(name for name in standbys if slot.name in lasting[name]),
            slot.failover,
            not slot.failover and not slot.stays(config),
        )
        for slot in leader
    )
