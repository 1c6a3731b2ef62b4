"""Where a restore shall go: what the operator asked for, checked against the repository before anything is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from pgha.errors import BadValue
from pgha.model.words import time_text
from pgha.tools import pgbackrest, repository, wal

Finder = Callable[[str, str, list[str]], list[pgbackrest.WalRecord]]
"""Looks for `xid`, `name` or `last` in these segments, newest first; an empty list when it is not there."""


@dataclass(frozen=True)
class Request:
    """What the operator typed; at most one of the points, perhaps with a set and a timeline."""

    time: str = ""
    lsn: str = ""
    xid: str = ""
    name: str = ""
    set: str = ""
    timeline: str = ""

    @property
    def point(self) -> tuple[str, str] | None:
        """The one that was given. Raises BadValue when there are two."""
        given = [(kind, getattr(self, kind)) for kind in ("time", "lsn", "xid", "name") if getattr(self, kind)]
        if len(given) > 1:
            flags = " and ".join(f"--{kind}" for kind, _ in given)
            raise BadValue(f"{flags} name two points", "give one of --time, --lsn, --xid, --name")
        return given[0] if given else None

    def __str__(self) -> str:
        words = [f"{kind} {value}" for kind in ("time", "lsn", "xid", "name", "set", "timeline")
                 if (value := getattr(self, kind))]  # fmt: skip
        return ", ".join(words) or "the end of the archive"


@dataclass(frozen=True)
class Target:
    """A point that the repository can reach, in pgBackRest's words."""

    kind: str
    """time, lsn, immediate (the end of the backup) or end (of the archive)"""
    value: str
    """the time or LSN for recovery; for `end` it is found when nobody writes any more"""
    backup: repository.Backup
    history: wal.History
    """that recovery follows"""
    segments: tuple[str, ...]
    """WAL from the backup to the point, oldest first, as far as it is known to be needed"""
    notes: tuple[str, ...] = ()
    repo: int = 0
    """of the backup: a former repository that is kept; 0 for the one in use"""

    @property
    def options(self) -> tuple[str, ...]:
        """pgbackrest restore's options; recovery pauses at the point, so that it can be looked at."""
        timeline = self.history.timeline
        if self.kind == "immediate":
            # pgBackRest takes --target-timeline with the other types only.
            return ("--type=immediate", "--target-action=pause",
                    f"--recovery-option=recovery_target_timeline={timeline}")  # fmt: skip
        return (f"--type={self.kind}", f"--target={self.value}", "--target-action=pause",
                f"--target-timeline={timeline}")  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """What the cluster itself can tell."""

    now: datetime
    timeline: int | None
    """the leader's, when it is a leader of the database in the repository"""
    position: int | None
    """bytes of WAL the leader has written"""
    next_xid: int | None

    @property
    def writes(self) -> bool:
        """A leader archives: what it has written up to now will be in the archive before it is stopped."""
        return self.position is not None


def parse_time(text: str, zone: tzinfo | None = None) -> tuple[datetime, str]:
    """ISO 8601, with or without a zone; returns the time and a note on the zone that was assumed.

    Without a zone it is the zone of this host (or `zone`). Raises BadValue.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadValue(
            f"--time {text!r} is not a time in ISO 8601", "such as 2026-11-23T08:30:00Z or '2026-11-23 08:30:00'"
        ) from None
    try:
        if when.tzinfo is not None:
            return when.astimezone(UTC), ""
        when = when.replace(tzinfo=zone) if zone else when.astimezone()
        when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValue(f"--time {text!r} is out of range", "inv info") from None
    return when, f"--time has no zone; {when.tzname()} was assumed: {time_text(when)}"


def is_reached(target: Target, lsn: int, last_transaction: datetime | None) -> str:
    """Why the point where recovery stopped is not the one that was asked for; nothing when it is."""
    if lsn < target.backup.stop_lsn:
        return f"it stopped at {wal.lsn_text(lsn)}, before the backup is consistent"
    if target.kind == "lsn" and lsn <= wal.parse_lsn(target.value):
        return f"it stopped at {wal.lsn_text(lsn)}, before {target.value}"
    if target.kind == "time" and last_transaction and last_transaction > datetime.fromisoformat(target.value):
        return f"it went on to {time_text(last_transaction)}"
    return ""
