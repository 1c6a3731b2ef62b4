"""Backups taken, shown, and restore points set."""

from __future__ import annotations

import re

from pgha.backup.stanza import (
    archive_current,
    read_archiver,
    read_stanza,
    require_repository,
    require_repository_reaches,
)
from pgha.cluster.view import answering, read_members, require_leader
from pgha.console import Progress
from pgha.errors import BadValue, NoStanza, ToolFailed
from pgha.model.topology import REPOSITORY, STANZA
from pgha.project.project import Project
from pgha.project.repositories import in_use
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.tools import pgbackrest, postgres, repository
from pgha.waiting import wait_until

BUSY_PATIENCE = 20
"""Seconds to wait for a backup that was interrupted to let go of its lock."""


def read_info_text(project: Project) -> str:
    """pgBackRest's own text."""
    require_repository(project)
    return connect(project).must(REPOSITORY, pgbackrest.info_text(), "pgbackrest info failed").stdout


def run_backup(project: Project, type: str, progress: Progress, repo: int = 0) -> repository.Backup:
    """Take one backup and return it as `pgbackrest info` shows it; into this repository, the one in use when none is
    named. The caller holds the lock.

    Raises BadValue for an unknown type, Missing without a stanza or a leader, ToolFailed with pgBackRest's words.
    """
    require_repository(project)
    if type not in pgbackrest.TYPES:
        raise BadValue(f"{type} is not a backup type", f"one of {', '.join(pgbackrest.TYPES)}")
    repo = repo or in_use(project)
    before = read_stanza(project, repo)
    if before.missing:
        raise NoStanza(f"There is no stanza {STANZA} yet", "inv stanza")
    if before.busy:
        wait_for_lock(project)
    leader = require_archiving(project, "a backup could not be made consistent")
    require_repository_reaches(project, leader, "no backup can be taken")
    paused = _replay_paused(project)
    if paused:
        progress.note(f"replay is paused on {', '.join(paused)}: this backup comes from the leader alone")
    with progress.stage(f"pgbackrest backup --type={type}"):
        command = pgbackrest.backup(type, leader_only=bool(paused), repo=repo)
        answer = connect(project).run(REPOSITORY, command, line=progress.detail)
    if not answer.ok:
        raise ToolFailed("pgbackrest backup failed", answer.words, "inv info, inv logs --node pgbackrest")
    after = read_stanza(project, repo)
    known = {backup.label for backup in before.backups}
    new = [backup for backup in after.backups if backup.label not in known]
    if not new or new[-1].error:
        raise ToolFailed("pgbackrest ended well, but info shows no new good backup", answer.words, "inv info")
    return new[-1]


def _replay_paused(project: Project) -> list[str]:
    """Standbys that do not replay: pgBackRest takes the first standby of its list, waits for its replay and fails."""
    if project.settings.release.pgbackrest < (2, 55):
        return []
    return [name for name, told in answering(read_members(project)).items() if told.node.replay_paused]


def set_restore_point(project: Project, name: str, progress: Progress) -> str:
    """Set a named point on the leader, and bring it into the archive; returns where it is. The caller holds the lock.

    Raises BadValue for a name Postgres does not take, Missing without a leader or without archiving.
    """
    require_repository(project)
    if not re.fullmatch(r"[ -~]{1,63}", name):
        raise BadValue("A restore point needs a name of 1 to 63 characters", "inv restore-point --name <name>")
    leader = require_archiving(project, "a restore point could not be reached")
    require_repository_reaches(project, leader, "the point would not come into the archive")
    ssh = connect(project)
    position = ask_postgres(ssh, leader, postgres.query(postgres.restore_point(name))).strip()
    archive_current(project, leader, progress)
    return f"restore point {name} at {position} on {leader}"


def require_archiving(project: Project, without: str) -> str:
    """The leader, which archives. Raises NoLeader, or NoStanza and says what could not be done without the archive."""
    leader = require_leader(project).name
    if not pgbackrest.archives(read_archiver(project, leader).command):
        raise NoStanza(f"WAL is not archived yet: {without}", "inv stanza")
    return leader


def wait_for_lock(project: Project) -> None:
    """Wait until no backup and no expire of this stanza runs. Raises TimedOut."""
    wait_until(
        lambda: read_stanza(project),
        lambda view: not view.busy,
        "Another backup of this stanza ends",
        timeout=BUSY_PATIENCE,
        interval=1,
        explain=lambda _: "it still runs",
        hint="inv info shows it; try again when it has ended",
    )
