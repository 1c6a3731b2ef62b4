"""pgBackRest: its commands, on the repository host and on the nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgha.errors import ToolFailed
from pgha.model.topology import STANZA
from pgha.tools import wal
from pgha.tools.command import Command

TYPES = ("full", "diff", "incr")

LOCKED = (50, 56)
"""Exit codes: another pgBackRest has the lock; and no primary was found, because the lock is taken on its node."""


ARCHIVE_COMMAND = "pgbackrest-archive-push %p"
"""pgBackRest's archive-push, in images/patroni/archive: a segment of a timeline that was left does not stop it.

Its name has to contain pgbackrest: `pgbackrest check` looks for that. With a relative %p, as pgBackRest asks, so that
it also works on a standby and after a move.
"""

RESTORE_COMMAND = 'pgbackrest-archive-get %f "%p"'
"""pgBackRest's archive-get, in images/patroni/archive: no WAL of a timeline beyond the point where it was left."""

STOCK_ARCHIVE_COMMAND = f"pgbackrest --stanza={STANZA} archive-push %p"


def archives(command: str) -> bool:
    """Whether an archive_command is one that brings WAL into the repository."""
    return command in (ARCHIVE_COMMAND, STOCK_ARCHIVE_COMMAND)


def archiving(stock: bool = False) -> dict[str, Any]:
    """The patch of the dynamic configuration that switches archiving on, and makes replicas from the repository.

    With `stock` as the manuals of pgBackRest and Patroni ("Building replicas") have it.
    """
    push, get, replica = ARCHIVE_COMMAND, RESTORE_COMMAND, "clone-from-repository"
    if stock:
        push, get = STOCK_ARCHIVE_COMMAND, f'pgbackrest --stanza={STANZA} archive-get %f "%p"'
        replica = f"pgbackrest --stanza={STANZA} --delta restore"
    return {
        "postgresql": {
            "parameters": {"archive_command": push},
            "recovery_conf": {"restore_command": get, "recovery_target_timeline": "latest"},
            "create_replica_methods": ["pgbackrest", "basebackup"],
            # keep_data: a delta restore wants what is there.
            "pgbackrest": {"command": replica, "keep_data": True, "no_params": True},
        }
    }


def parse_replica_method(log: str) -> str:
    """Which method made this replica last, pgbackrest or another, from Patroni's log; nothing when none did."""
    found = re.findall(r"replica has been created using (\w+)", log)
    return found[-1] if found else ""


def _command(*arguments: str, timeout: float, terminal: bool = False) -> Command:
    return Command(("pgbackrest", f"--stanza={STANZA}", *arguments), timeout=timeout, terminal=terminal)


def _on(repo: int) -> tuple[str, ...]:
    """pgBackRest's --repo; nothing for the only one."""
    return (f"--repo={repo}",) if repo else ()


def _for_script(repo: int) -> tuple[str, ...]:
    """The same for the scripts of the images, which call it."""
    return ("env", f"PGBACKREST_REPO={repo}") if repo else ()


def stanza_create() -> Command:
    return _command("stanza-create", timeout=120)


def stanza_upgrade() -> Command:
    """Tell the repository of the major and the system identifier that the leader has now."""
    return _command("stanza-upgrade", timeout=120)


UNREACHED = """
for place; do
    host=${place%:*}
    { pgbackrest --tls-server-port="${place#*:}" server-ping "$host" > /dev/null 2>&1 || echo "$host"; } &
done
wait
"""


def unreached(places: Mapping[str, int]) -> Command:
    """On the repository's host: print those of these hosts whose pgBackRest it does not reach at its port, all asked at
    once. (By itself `server-ping` asks at the port of its own host's server.)"""
    return Command(("sh", "-c", UNREACHED, "unreached", *(f"{host}:{port}" for host, port in places.items())), 30)


HISTORIES = """
cd "$1/pg_wal" || exit
for path in "$PWD"/*.history; do
    [ ! -e "$path" ] || pgbackrest "--stanza=$2" --no-archive-async archive-push "$path" || exit
done
"""


def archive_histories(data_dir: str) -> Command:
    """Archive how the timelines came about: Postgres does so when one begins, and while archiving is off to nowhere."""
    return Command(("sh", "-c", HISTORIES, "histories", data_dir, STANZA), timeout=120)


def ping() -> Command:
    """Ask the server of the host it runs on whether it answers."""
    return Command(("pgbackrest", "--log-level-console=warn", "server-ping", "localhost"), timeout=10)


def check() -> Command:
    """Switches WAL on the leader and waits until the segment is in the repository."""
    return _command("--archive-timeout=60", "check", timeout=120)


def backup(type: str, *, leader_only: bool = False, repo: int = 0) -> Command:
    """One backup, from a standby where the configuration prefers that; not so with `leader_only` (2.55 and newer)."""
    source = ("--backup-standby=n",) if leader_only else ()
    return _command(*_on(repo), f"--type={type}", *source, "backup", timeout=0, terminal=True)


def restore(data: str, label: str, *options: str) -> Command:
    """Put a backup into the data directory; what is there already and is the same, stays (delta).

    images/patroni/restore-here: with the tablespaces, of which nothing stays that is not the backup's.
    """
    return Command(("restore-here", data, label, *options), timeout=0, terminal=True)


def verify_repository(label: str = "", *, repo: int = 0) -> Command:
    """On the repository host: read every file, or one backup's, and compare checksums (images/base/verify-repository).

    It exits 1 when a file is damaged, and names it.
    """
    return Command((*_for_script(repo), "verify-repository", *([label] if label else [])), timeout=0, terminal=True)


def verify_backup(label: str = "", preload: str = "") -> Command:
    """On a node: a real restore into a scratch directory (images/patroni/verify-backup).

    `preload` names the libraries without which Postgres cannot replay or read the data.
    """
    return Command(("verify-backup", *_preload(preload), *([label] if label else [])), timeout=0, terminal=True)


def verify_backup_if_chosen(preload: str = "") -> Command:
    """The same for cron, which asks every node: one of them does it."""
    return Command(("verify-backup", "--if-chosen", *_preload(preload)), timeout=0)


def _preload(libraries: str) -> list[str]:
    return [f"--preload={libraries}"] if libraries else []


VERIFIED = "/pgdata/verified.json"
"""Where a node keeps its last verification."""


@dataclass(frozen=True)
class Verification:
    """How a backup did when it was restored and looked at."""

    label: str
    node: str
    ok: bool
    checked: bool
    """there is a verdict; else something stopped the check that is not the backup's fault"""
    started: int
    ended: int
    seconds: dict[str, float]
    bytes: int
    rows: dict[str, dict[str, int]]
    """database -> table -> rows"""
    error: str


def parse_verification(text: str) -> Verification | None:
    """The last line of `verify-backup` that is a result, or of a node's kept results; None when there is none."""
    line = next((line for line in reversed(text.splitlines()) if line.startswith('{"label"')), "")
    if not line:
        return None
    try:
        document = json.loads(line)
        return Verification(
            label=document["label"],
            node=document["node"],
            ok=document["ok"],
            checked=document.get("checked", True),
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


def archive_list(archive_id: str, repo: int = 0) -> Command:
    """Every file of the archive with its size and time, as JSON."""
    path = f"archive/{STANZA}/{archive_id}"
    return Command(("pgbackrest", *_on(repo), "repo-ls", "--recurse", "--output=json", path), timeout=300)


def read_archived(archive_id: str, names: Sequence[str], repo: int = 0) -> Command:
    """Print small files of the archive, each after a line `== name`."""
    script = 'for name; do echo "== $name" && pgbackrest repo-get "$0/$name" && echo || exit 1; done'
    return Command((*_for_script(repo), "sh", "-c", script, f"archive/{STANZA}/{archive_id}", *names), timeout=120)


def parse_archived(text: str) -> dict[str, str]:
    """Name -> content, from `read_archived`."""
    parts = re.split(r"^== (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def find_wal(what: str, value: str, archive_id: str, paths: Sequence[str], repo: int = 0) -> Command:
    """On a node: look for a record in these files of the archive (images/patroni/find-wal), newest first.

    `what` is `xid`, `name` (of a restore point) or `last`. Exit code 1 when it is not there.
    """
    places = [f"archive/{STANZA}/{archive_id}/{path}" for path in paths]
    return Command((*_for_script(repo), "find-wal", what, value or "-", *places), timeout=0)


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
        found = re.match(r"([0-9A-F]{24}) rmgr: .* lsn: ([0-9A-F]{1,8}/[0-9A-F]{1,8}), .* desc: (.*)", line)
        if not found:
            raise ToolFailed("pg_waldump did not show a record", line)
        ended = re.match(r"(?:COMMIT|ABORT)\S* (?:\d+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC", found[3])
        when = datetime.fromisoformat(ended[1]).replace(tzinfo=UTC) if ended else None
        records.append(WalRecord(found[1], wal.parse_lsn(found[2]), when))
    return records


def archive_push(path: str) -> Command:
    """On a node: one file of pg_wal into the archive, now and not through the queue."""
    return _command("--no-archive-async", "archive-push", path, timeout=120)


def info(repo: int = 0) -> Command:
    return _command(*_on(repo), "--output=json", "info", timeout=30)


def info_text() -> Command:
    return _command("info", timeout=30)
