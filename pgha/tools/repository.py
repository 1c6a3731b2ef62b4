"""What pgBackRest says of its repository: the stanza, its backups, its archive."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from pgha.errors import BadValue, ToolFailed
from pgha.model.topology import STANZA
from pgha.tools import wal


@dataclass(frozen=True)
class Backup:
    """One backup set. Times are seconds since the epoch, sizes bytes."""

    label: str
    type: str
    start: int
    stop: int
    database_size: int
    repository_size: int
    error: bool
    wal_start: str = ""
    """name of the first WAL segment it needs"""
    stop_lsn: int = 0
    """bytes; from here on it is consistent"""

    @property
    def timeline(self) -> int:
        return wal.parse_segment(self.wal_start)[0]

    @property
    def consistent_from(self) -> int:
        """The first whole second (since the epoch) a point in time may name: `stop` has lost its fraction."""
        return self.stop + 1


@dataclass(frozen=True)
class StanzaView:
    """The stanza as `pgbackrest info` tells it."""

    ok: bool
    message: str
    missing: bool
    """There is no stanza yet."""
    backups: tuple[Backup, ...]
    """those of the present database"""
    archive_min: str | None
    archive_max: str | None
    busy: bool
    """A backup or an expire runs right now."""
    archive_id: str = ""
    """such as 17-1: PostgreSQL major and number of the database history"""
    system_id: str = ""
    cipher: str = "none"
    empty: bool = False
    """There is a stanza, and no backup that can be restored."""


MISSING_STANZA = (1, 3)
"""Status codes of `info`: missing stanza path, missing stanza data. 2 is 'no valid backups'."""

NO_BACKUPS = 2


def parse_info(text: str) -> StanzaView:
    """`pgbackrest --output=json info`. Raises ToolFailed on anything else."""
    try:
        stanza = next(entry for entry in json.loads(text) if entry["name"] == STANZA)
        status = stanza["status"]
        archive = stanza["archive"][-1] if stanza.get("archive") else {}
        return StanzaView(
            ok=status["code"] == 0,
            message=status["message"],
            missing=status["code"] in MISSING_STANZA,
            backups=tuple(_backup(entry) for entry in _of_this_database(stanza)),
            archive_min=archive.get("min"),
            archive_max=archive.get("max"),
            busy=bool(status.get("lock", {}).get("backup", {}).get("held")),
            archive_id=archive.get("id", ""),
            system_id=str(stanza["db"][-1]["system-id"]) if stanza.get("db") else "",
            cipher=stanza.get("cipher", "none"),
            empty=status["code"] == NO_BACKUPS,
        )
    except StopIteration:
        return StanzaView(False, "missing stanza", True, (), None, None, False)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, BadValue) as error:
        raise ToolFailed("pgbackrest info did not print its JSON", text) from error


def _of_this_database(stanza: dict[str, Any]) -> list[dict[str, Any]]:
    """The present database is the last one; those before are of older majors (stanza-upgrade)."""
    present = stanza["db"][-1]["id"] if stanza.get("db") else None
    return [entry for entry in stanza.get("backup", []) if entry.get("database", {}).get("id", present) == present]


def _backup(entry: dict[str, Any]) -> Backup:
    return Backup(
        label=entry["label"],
        type=entry["type"],
        start=entry["timestamp"]["start"],
        stop=entry["timestamp"]["stop"],
        database_size=entry["info"]["size"],
        # With block incremental pgBackRest reports no total for the set, only what this backup added.
        repository_size=entry["info"]["repository"]["delta"],
        error=bool(entry.get("error")),
        wal_start=entry["archive"]["start"],
        stop_lsn=wal.parse_lsn(entry["lsn"]["stop"]),
    )


@dataclass(frozen=True)
class Archive:
    """What the archive of one database holds."""

    segments: dict[int, dict[int, int]]
    """timeline -> segment number -> when it was archived, seconds since the epoch"""
    histories: tuple[int, ...]
    """timelines whose history file is there"""
    paths: dict[str, str] = field(default_factory=dict)
    """segment name -> its file"""

    @property
    def newest_timeline(self) -> int:
        return max([*self.segments, *self.histories], default=1)

    def last(self, timeline: int) -> int | None:
        """The last segment's number of a timeline."""
        return max(self.segments.get(timeline, ()), default=None)


def parse_archive(text: str) -> Archive:
    """The JSON of `repo-ls --recurse`. Raises ToolFailed on anything else."""
    segments: dict[int, dict[int, int]] = {}
    paths: dict[str, str] = {}
    histories = []
    try:
        for path, entry in json.loads(text).items():
            name = path.rsplit("/", 1)[-1]
            if history := re.fullmatch(r"([0-9A-F]{8})\.history", name):
                histories.append(int(history[1], 16))
            elif re.match(r"[0-9A-F]{24}-", name):
                timeline, number = wal.parse_segment(name[:24])
                segments.setdefault(timeline, {})[number] = int(entry["time"])
                paths[name[:24]] = path
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("pgbackrest repo-ls did not print its JSON", text[:2000]) from error
    return Archive(segments, tuple(sorted(histories)), paths)
