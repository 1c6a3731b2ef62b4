"""pgBackRest: its commands on the repository host, and its JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.tools.command import Command
from pgha.topology import STANZA

TYPES = ("full", "diff", "incr")


def archive_command() -> str:
    """pgBackRest's archive-push, in images/patroni/archive: a segment of a timeline that was left does not stop it.

    Its name has to contain pgbackrest: `pgbackrest check` looks for that.

    With a relative %p, as pgBackRest asks, so that it also works on a standby and after a move.
    """
    return "pgbackrest-archive-push %p"


def restore_command() -> str:
    """pgBackRest's archive-get, in images/patroni/archive: no WAL of a timeline beyond the point where it was left."""
    return 'pgbackrest-archive-get %f "%p"'


def archiving() -> dict[str, Any]:
    """The patch of the dynamic configuration that switches archiving on."""
    return {
        "postgresql": {
            "parameters": {"archive_command": archive_command()},
            "recovery_conf": {"restore_command": restore_command(), "recovery_target_timeline": "latest"},
        }
    }


def _command(*arguments: str, timeout: float, terminal: bool = False) -> Command:
    return Command(("pgbackrest", f"--stanza={STANZA}", *arguments), timeout=timeout, terminal=terminal)


def stanza_create() -> Command:
    return _command("stanza-create", timeout=120)


def check() -> Command:
    """Switches WAL on the leader and waits until the segment is in the repository."""
    return _command("--archive-timeout=60", "check", timeout=120)


def backup(type: str) -> Command:
    return _command(f"--type={type}", "backup", timeout=0, terminal=True)


def info() -> Command:
    return _command("--output=json", "info", timeout=30)


def info_text() -> Command:
    return _command("info", timeout=30)


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


@dataclass(frozen=True)
class StanzaView:
    """The stanza as `pgbackrest info` tells it."""

    ok: bool
    message: str
    missing: bool
    """There is no stanza yet."""
    backups: tuple[Backup, ...]
    archive_min: str | None
    archive_max: str | None
    busy: bool
    """A backup or an expire runs right now."""

    @property
    def newest(self) -> Backup | None:
        return self.backups[-1] if self.backups else None


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
            backups=tuple(_backup(entry) for entry in stanza.get("backup", [])),
            archive_min=archive.get("min"),
            archive_max=archive.get("max"),
            busy=bool(status.get("lock", {}).get("backup", {}).get("held")),
        )
    except StopIteration:
        return StanzaView(False, "missing stanza", True, (), None, None, False)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ToolFailed("pgbackrest info did not print its JSON", text) from error


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
    )
