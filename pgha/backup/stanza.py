"""The stanza and archiving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgha.cluster.configuration import patch_config
from pgha.cluster.view import node_names, require_leader
from pgha.console import Progress
from pgha.errors import BadValue, Parted, ToolFailed
from pgha.model.topology import REPOSITORY, STANZA
from pgha.model.urls import PGBACKREST
from pgha.model.words import counted
from pgha.project.project import Project
from pgha.project.repositories import in_use
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.tools import pgbackrest, postgres, repository
from pgha.tools.leader import FACTS, Facts, parse_facts
from pgha.waiting import wait_until

ARCHIVE_PATIENCE = 90
"""Seconds for one segment to arrive; pgBackRest itself gives up after 60."""


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


def require_repository_reaches(project: Project, node: str, what: str) -> None:
    """Raises Parted when the repository is cut off from this node, and says that what was asked for cannot be. Without
    this pgBackRest looks for a leader for half a minute, or Postgres waits for its segment as long."""
    if unreached(project, [node]):
        raise Parted(
            f"The repository ({REPOSITORY}) is cut off from {node}: {what}",
            f"inv status shows what is cut off; inv chaos.heal undoes it if chaos did it; inv logs --node {REPOSITORY}",
        )


def unreached(project: Project, nodes: Sequence[str]) -> list[str]:
    """Those of these nodes whose pgBackRest the repository does not reach."""
    places = {node: project.topology.urls.port(node, PGBACKREST) for node in nodes}
    answer = connect(project).must(REPOSITORY, pgbackrest.unreached(places), "The nodes could not be asked")
    return sorted(answer.stdout.split())


def read_stanza(project: Project, repo: int = 0) -> repository.StanzaView:
    """The stanza as `pgbackrest info` tells it, of this repository; of the one in use when none is named."""
    return repository.parse_info(_info(project, repo or in_use(project)))


def read_info_json(project: Project) -> str:
    """pgBackRest's own JSON, of every repository."""
    return _info(project, 0)


def _info(project: Project, repo: int) -> str:
    require_repository(project)
    return connect(project).must(REPOSITORY, pgbackrest.info(repo), "pgbackrest info failed").stdout


def read_archiver(project: Project, leader: str) -> postgres.Archiver:
    """The leader's archiver."""
    return postgres.parse_archiver(ask_postgres(connect(project), leader, postgres.query(postgres.ARCHIVER)))


def read_facts(project: Project, leader: str) -> Facts:
    """What the leader's Postgres says of itself. Raises NoConnection when it takes no connection."""
    return parse_facts(ask_postgres(connect(project), leader, postgres.query(FACTS)))


def create_stanza(project: Project, progress: Progress) -> StanzaReport:
    """Create the stanza, switch archiving on in the DCS, and check that a segment arrives.

    Each step looks first, so that the same command completes what an earlier one left. The caller holds the
    lock. Raises Missing without a leader, ToolFailed with pgBackRest's words.
    """
    require_repository(project)
    leader = require_leader(project)
    require_repository_reaches(project, leader.name, "no WAL would arrive")
    missing = read_stanza(project).missing
    # stanza-create of an existing stanza checks that it belongs to this database.
    with progress.stage(f"pgbackrest stanza-create {STANZA}"):
        create_when_unlocked(project)
    with progress.stage("switch archiving on"):
        wanted = pgbackrest.archiving(project.settings.stock)
        changes = patch_config(project, wanted)
        wait_until(
            lambda: read_archiver(project, leader.name),
            lambda archiver: archiver.command == wanted["postgresql"]["parameters"]["archive_command"],
            f"{leader.name} takes over the archive_command",
            timeout=60,
        )
    check_archiving(project, leader.name, progress)
    return StanzaReport(missing, tuple(changes), leader.name)


def check_archiving(project: Project, leader: str, progress: Progress) -> None:
    """Bring the histories of the timelines into every repository, and look whether a segment arrives there.

    Raises ToolFailed with pgBackRest's words.
    """
    ssh = connect(project)
    histories = pgbackrest.archive_histories(postgres.data_dir(project.settings.postgres))
    ssh.must(leader, histories, "The histories of the timelines cannot be archived")
    away = unreached(project, node_names(project))
    if away:
        progress.note(f"the repository does not reach {', '.join(away)}: checked from {leader}")
    with progress.stage("pgbackrest check"):
        # The repository's host would want an answer of every node.
        where = leader if away else REPOSITORY
        ssh.must(where, pgbackrest.check(), "pgbackrest check failed", f"inv logs --node {leader}")


def create_when_unlocked(project: Project) -> None:
    """Create the stanza in every repository; where there is one, it is checked.

    While a node archives it holds a lock that this wants, too.
    """
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


def archive_current(project: Project, leader: str, progress: Progress) -> None:
    """Bring everything the leader has committed up to now into the archive.

    With a commit of its own: recovery to a time notices that it is past that time by the next commit.
    Raises ToolFailed or TimedOut when the archive does not take it.
    """
    ssh = connect(project)
    with progress.stage("archive what is committed"):
        ask_postgres(ssh, leader, postgres.query(postgres.COMMIT))
        segment = ask_postgres(ssh, leader, postgres.query(postgres.SWITCH_WAL)).strip()
        wait_until(
            lambda: read_archiver(project, leader),
            # What was archived last may be the backup file of an older segment.
            lambda archiver: (archiver.last_archived or "")[:24] >= segment or not archiver.waiting,
            f"WAL {segment} is archived",
            timeout=ARCHIVE_PATIENCE,
            interval=0.2,
            explain=lambda seen: (
                f"{counted(seen.waiting, 'segment', 'waits', 'wait')}, the last archived is {seen.last_archived}"
            ),
            hint="inv status",
        )
