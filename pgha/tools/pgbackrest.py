"""pgBackRest: its commands on the repository host, and its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pgha.errors import BadValue, ToolFailed
from pgha.tools import wal
from pgha.tools.command import Command
from pgha.topology import STANZA

TYPES = ("full", "diff", "incr")

LOCKED = (50, 56)
"""Exit codes: another pgBackRest has the lock; and no primary was found, because the lock is taken on its node."""


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
    """The patch of the dynamic configuration that switches archiving on, and makes replicas from the repository."""
    return {
        "postgresql": {
            "parameters": {"archive_command": archive_command()},
            "recovery_conf": {"restore_command": restore_command(), "recovery_target_timeline": "latest"},
            "create_replica_methods": ["pgbackrest", "basebackup"],
            # keep_data: a delta restore wants what is there (Patroni, "Building replicas").
            "pgbackrest": {"command": "clone-from-repository", "keep_data": True, "no_params": True},
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


def restore(label: str, *recovery: str) -> Command:
    """Put a backup into the node's data directory; what is there already and is the same, stays (delta)."""
    return _command(f"--set={label}", *recovery, "restore", timeout=0, terminal=True)


def verify(label: str = "") -> Command:
    """On the repository host: read every file, or one backup's, and compare checksums (images/base/verify-repository).

    It exits 1 when a file is damaged, and names it.
    """
    return Command(("verify-repository", *([label] if label else [])), timeout=0, terminal=True)


def prove(label: str = "") -> Command:
    """On a node: a real restore into a scratch directory (images/patroni/verify-backup)."""
    return Command(("verify-backup", *([label] if label else [])), timeout=0, terminal=True)


def prove_if_chosen() -> Command:
    """The same for cron, which asks every node: one of them does it."""
    return Command(("verify-backup", "--if-chosen"), timeout=0)


PROOF = "/pgdata/verified.json"
"""Where a node keeps the last proof it made."""


@dataclass(frozen=True)
class Proof:
    """How a backup did when it was restored and looked at."""

    label: str
    node: str
    ok: bool
    started: int
    ended: int
    seconds: dict[str, float]
    bytes: int
    rows: dict[str, dict[str, int]]
    """database -> table -> rows"""
    error: str


def parse_proof(text: str) -> Proof | None:
    """The last line of `prove` that is a proof, or of a node's kept results; None when there is none."""
    line = next((line for line in reversed(text.splitlines()) if line.startswith('{"label"')), "")
    if not line:
        return None
    try:
        document = json.loads(line)
        return Proof(
            label=document["label"],
            node=document["node"],
            ok=document["ok"],
            started=document["started"],
            ended=document["ended"],
            seconds=document["seconds"],
            bytes=document.get("bytes", 0),
            rows=document.get("rows", {}),
            error=document.get("error", ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("verify-backup did not print its result", line) from error


DAMAGE = re.compile(r"(invalid \w+ .*|.*(?:missing|unable to open).*'.*|invalid result .*)")


def parse_damage(text: str) -> list[str]:
    """The lines of `pgbackrest verify` that name a file."""
    lines = (re.sub(r"^[\d-]+ [\d:.]+ +P\d+ +\w+: +", "", line).strip() for line in text.splitlines())
    return [line for line in lines if DAMAGE.fullmatch(line)]


def archive_list(archive_id: str) -> Command:
    """Every file of the archive with its size and time, as JSON."""
    path = f"archive/{STANZA}/{archive_id}"
    return Command(("pgbackrest", "repo-ls", "--recurse", "--output=json", path), timeout=300)


def read_archived(archive_id: str, names: Sequence[str]) -> Command:
    """Print small files of the archive, each after a line `== name`."""
    script = 'for name; do echo "== $name" && pgbackrest repo-get "$0/$name" && echo || exit 1; done'
    return Command(("sh", "-c", script, f"archive/{STANZA}/{archive_id}", *names), timeout=120)


def parse_archived(text: str) -> dict[str, str]:
    """Name -> content, from `read_archived`."""
    parts = re.split(r"^== (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def find_wal(what: str, value: str, archive_id: str, paths: Sequence[str]) -> Command:
    """On a node: look for a record in these files of the archive (images/patroni/find-wal), newest first.

    `what` is `xid`, `name` (of a restore point) or `last`. Exit code 1 when it is not there.
    """
    places = [f"archive/{STANZA}/{archive_id}/{path}" for path in paths]
    return Command(("find-wal", what, value or "-", *places), timeout=0)


@dataclass(frozen=True)
class WalRecord:
    """One record of WAL, as pg_waldump shows it."""

    segment: str
    lsn: int
    committed: datetime | None
    """when the transaction ended that it ends"""


def parse_wal_records(text: str) -> list[WalRecord]:
    """What `find_wal` prints. Raises ToolFailed on anything else."""
    records = []
    for line in text.splitlines():
        found = re.match(r"([0-9A-F]{24}) rmgr: .* lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: (.*)", line)
        if not found:
            raise ToolFailed("pg_waldump did not show a record", line)
        ended = re.match(r"(?:COMMIT|ABORT)\S* (?:\d+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC", found[3])
        when = datetime.fromisoformat(ended[1]).replace(tzinfo=UTC) if ended else None
        records.append(WalRecord(found[1], wal.parse_lsn(found[2]), when))
    return records


def archive_push(path: str) -> Command:
    """On a node: one file of pg_wal into the archive, now and not through the queue."""
    return _command("--no-archive-async", "archive-push", path, timeout=120)


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
    archive_min: str | None
    archive_max: str | None
    busy: bool
    """A backup or an expire runs right now."""
    archive_id: str = ""
    """such as 17-1: PostgreSQL major and number of the database history"""
    system_id: str = ""
    cipher: str = "none"

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
            archive_id=archive.get("id", ""),
            system_id=str(stanza["db"][-1]["system-id"]) if stanza.get("db") else "",
            cipher=stanza.get("cipher", "none"),
        )
    except StopIteration:
        return StanzaView(False, "missing stanza", True, (), None, None, False)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, BadValue) as error:
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
