"""Backups: the stanza, archiving, and pgBackRest on the repository host."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgha import cluster
from pgha.connections import connect
from pgha.console import Progress
from pgha.errors import BadValue, Missing, ToolFailed
from pgha.project import Project
from pgha.tools import patroni, pgbackrest, postgres
from pgha.topology import REPOSITORY, STANZA
from pgha.waiting import wait_until

ARCHIVE_PATIENCE = 90
"""Seconds for one segment to arrive; pgBackRest itself gives up after 60."""

BUSY_PATIENCE = 20
"""Seconds to wait for a backup that was interrupted to let go of its lock."""


@dataclass(frozen=True)
class StanzaReport:
    """What `stanza` did: whether the stanza is new, and the changes of the dynamic configuration."""

    created: bool
    changes: tuple[str, ...]
    leader: str


def require_repository(project: Project) -> None:
    """Raises BadValue when the project runs without pgBackRest."""
    if project.topology.repository is None:
        raise BadValue("This project runs without pgBackRest", "set pgbackrest: on, then inv up")


def read_stanza(project: Project) -> pgbackrest.StanzaView:
    """The stanza as `pgbackrest info` tells it."""
    return pgbackrest.parse_info(read_info_json(project))


def read_info_json(project: Project) -> str:
    """pgBackRest's own JSON."""
    require_repository(project)
    return connect(project).must(REPOSITORY, pgbackrest.info(), "pgbackrest info failed").stdout


def read_info_text(project: Project) -> str:
    """pgBackRest's own text."""
    require_repository(project)
    return connect(project).must(REPOSITORY, pgbackrest.info_text(), "pgbackrest info failed").stdout


def read_archiver(project: Project, leader: str) -> postgres.Archiver:
    """The leader's archiver."""
    answer = connect(project).must(leader, postgres.query(postgres.ARCHIVER), "psql failed")
    return postgres.parse_archiver(answer.stdout)


def create_stanza(project: Project, progress: Progress) -> StanzaReport:
    """Create the stanza, switch archiving on in the DCS, and check that a segment arrives.

    Each step looks first, so that the same command completes what an earlier one left. The caller holds the
    lock. Raises Missing without a leader, ToolFailed with pgBackRest's words.
    """
    require_repository(project)
    leader = require_leader(project)
    ssh = connect(project)
    missing = read_stanza(project).missing
    # stanza-create of an existing stanza checks that it belongs to this database.
    with progress.stage(f"pgbackrest stanza-create {STANZA}"):
        _create_when_unlocked(project)
    with progress.stage("switch archiving on"):
        changes = cluster.patch_config(project, pgbackrest.archiving())
        wait_until(
            lambda: read_archiver(project, leader.name),
            lambda archiver: archiver.command == pgbackrest.archive_command(),
            f"{leader.name} takes over the archive_command",
            timeout=60,
        )
    with progress.stage("pgbackrest check"):
        ssh.must(REPOSITORY, pgbackrest.check(), "pgbackrest check failed", "inv logs --node " + leader.name)
    return StanzaReport(missing, tuple(changes), leader.name)


def _create_when_unlocked(project: Project) -> None:
    """While a node archives it holds a lock that stanza-create wants, too."""
    answer = wait_until(
        lambda: connect(project).run(REPOSITORY, pgbackrest.stanza_create()),
        lambda answer: answer.exit_code not in pgbackrest.LOCKED,
        "pgbackrest stanza-create gets its lock",
        timeout=ARCHIVE_PATIENCE,
        interval=1,
        explain=lambda answer: answer.words,
        hint="inv status; try again when nothing waits to be archived",
    )
    if not answer.ok:
        raise ToolFailed(f"pgbackrest stanza-create failed (exit code {answer.exit_code})", answer.words)


def run_backup(project: Project, type: str, progress: Progress) -> pgbackrest.Backup:
    """Take one backup and return it as `pgbackrest info` shows it. The caller holds the lock.

    Raises BadValue for an unknown type, Missing without a stanza or a leader, ToolFailed with pgBackRest's words.
    """
    require_repository(project)
    if type not in pgbackrest.TYPES:
        raise BadValue(f"{type} is not a backup type", f"one of {', '.join(pgbackrest.TYPES)}")
    before = read_stanza(project)
    if before.missing:
        raise Missing(f"There is no stanza {STANZA} yet", "inv stanza")
    if before.busy:
        _wait_for_lock(project)
    leader = require_leader(project)
    if read_archiver(project, leader.name).command != pgbackrest.archive_command():
        raise Missing("WAL is not archived yet: a backup could not be made consistent", "inv stanza")
    with progress.stage(f"pgbackrest backup --type={type}"):
        answer = connect(project).run(REPOSITORY, pgbackrest.backup(type), line=progress.detail)
    if not answer.ok:
        raise ToolFailed("pgbackrest backup failed", answer.words, "inv info, inv logs --node pgbackrest")
    after = read_stanza(project)
    known = {backup.label for backup in before.backups}
    new = [backup for backup in after.backups if backup.label not in known]
    if not new or new[-1].error:
        raise ToolFailed("pgbackrest ended well, but info shows no new good backup", answer.words, "inv info")
    return new[-1]


def set_restore_point(project: Project, name: str, progress: Progress) -> str:
    """Set a named point on the leader, and bring it into the archive; returns where it is. The caller holds the lock.

    Raises BadValue for a name Postgres does not take, Missing without a leader or without archiving.
    """
    require_repository(project)
    if not re.fullmatch(r"[ -~]{1,63}", name):
        raise BadValue("A restore point needs a name of 1 to 63 characters", "inv restore-point --name <name>")
    leader = require_leader(project)
    if read_archiver(project, leader.name).command != pgbackrest.archive_command():
        raise Missing("WAL is not archived yet: a restore point could not be reached", "inv stanza")
    ssh = connect(project)
    position = ssh.must(leader.name, postgres.query(postgres.restore_point(name)), "psql failed").stdout.strip()
    archive_current(project, leader.name, progress)
    return f"restore point {name} at {position} on {leader.name}"


def archive_current(project: Project, leader: str, progress: Progress) -> None:
    """Bring everything the leader has committed up to now into the archive.

    With a commit of its own: recovery to a time notices that it is past that time by the next commit.
    Raises ToolFailed or TimedOut when the archive does not take it.
    """
    ssh = connect(project)
    with progress.stage("archive what is committed"):
        ssh.must(leader, postgres.query(postgres.COMMIT), "psql failed")
        segment = ssh.must(leader, postgres.query(postgres.SWITCH_WAL), "psql failed").stdout.strip()
        wait_until(
            lambda: read_archiver(project, leader),
            lambda archiver: (archiver.last_archived or "")[:24] >= segment,
            f"WAL {segment} is archived",
            timeout=ARCHIVE_PATIENCE,
            interval=0.2,
            explain=lambda archiver: f"{archiver.waiting} segments wait, the last archived is {archiver.last_archived}",
            hint="inv status",
        )


def _wait_for_lock(project: Project) -> None:
    wait_until(
        lambda: read_stanza(project),
        lambda view: not view.busy,
        "Another backup of this stanza ends",
        timeout=BUSY_PATIENCE,
        interval=1,
        explain=lambda _: "it still runs",
        hint="inv info shows it; try again when it has ended",
    )


def require_leader(project: Project) -> patroni.Member:
    leader = cluster.read_view(project).leader
    if leader is None:
        raise Missing("The cluster has no leader at the moment", "inv status")
    return leader
