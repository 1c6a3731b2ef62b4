"""A restore before anything is touched: the point, the room, what the archive has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from pgha.backup import catalogue, points, targets
from pgha.backup.stanza import archive_current, read_archiver, require_repository, require_repository_reaches
from pgha.backup.targets import Request, Target
from pgha.cluster.slots import warnings_of_restore
from pgha.cluster.view import able_first, node_names, read_view, require_leader
from pgha.console import Progress
from pgha.errors import BadValue, Missing, NoBackup, NoRoom, NoStanza, PghaError, TimedOut, ToolFailed
from pgha.project.project import Project
from pgha.project.repositories import former
from pgha.remote import engine
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.tools import patroni, pgbackrest, postgres, repository
from pgha.tools.command import Command
from pgha.waiting import wait_until

SPARE = 256 << 20
"""Bytes of a volume that stay free, for WAL."""


@dataclass(frozen=True)
class Prepared:
    """A restore that was checked and not begun."""

    request: Request
    target: Target
    archives: bool
    """a leader of the repository's database archives"""
    settled: bool = False
    """what was committed is archived up to the point, and the target was found with it"""


def prepare(project: Project, request: Request, progress: Progress) -> Prepared:
    """Resolve the target against the repository, and look whether there is room.

    Raises BadValue for a point that cannot be reached, Missing without a backup, Unreachable when the repository
    or every node is away. Nothing is changed; only for a restore point or a transaction the leader is asked to
    archive the segment it writes.
    """
    engine.require_engine(project)
    require_repository(project)
    _ = request.point
    _await_leader(project, progress)
    found = catalogue.read_catalogue(project)
    situation = look(project, found.stanza)
    if situation.writes:
        leader = require_leader(project).name
        require_repository_reaches(project, leader, "what it has written cannot be archived first")
    # A timeline that has just begun is in the archive with its first segment.
    begun = situation.timeline is not None and situation.timeline not in {1, *found.histories}
    if situation.writes and (request.name or request.xid or begun):
        archive_current(project, require_leader(project).name, progress)
        found = catalogue.read_catalogue(project)
    target = _resolve(project, request, found, situation)
    return Prepared(request, target, situation.writes, bool(situation.writes and (request.name or request.xid)))


def _read_former(project: Project, kept: int) -> catalogue.Catalogue | None:
    """None when nothing in it is of the present database: its major is another one."""
    with suppress(NoBackup, NoStanza):
        return catalogue.read_catalogue(project, kept)
    return None


def _resolve(project: Project, request: Request, found: catalogue.Catalogue, situation: targets.Situation) -> Target:
    """In the repository in use, or else in the former one, which is kept and reaches further back. Raises BadValue."""
    try:
        return points.resolve(request, found, situation, finder(project, found))
    except BadValue:
        kept = former(project)
        older = _read_former(project, kept) if kept else None
        if older is None:
            raise
    target = points.resolve(request, older, situation, finder(project, older))
    return replace(target, repo=kept, notes=(*target.notes, f"from the former repository (repo{kept}), which is kept"))


def warnings(project: Project) -> list[str]:
    """What a restore of the whole cluster ends beside the data it goes back to."""
    try:
        leader = read_view(project).leader
    except PghaError:
        return []
    return warnings_of_restore(project, leader.name) if leader else []


def _await_leader(project: Project, progress: Progress) -> None:
    """Give an election that may be under way its time: the new leader archives what the old one could not.

    A lost leader is replaced after `ttl`; nobody is promoted while Patroni is paused.
    """
    try:
        view = read_view(project)
    except PghaError:
        return
    if view.leader or view.paused or all(member.is_leader for member in view.members):
        return
    settings = project.settings
    with progress.stage("wait whether a new leader comes"), suppress(TimedOut):
        wait_until(
            lambda: read_view(project).leader,
            lambda leader: leader is not None,
            "A new leader comes",
            timeout=settings.ttl + 2 * settings.loop_wait + settings.retry_timeout,
        )


def look(project: Project, stanza: repository.StanzaView) -> targets.Situation:
    """What the cluster can tell; a cluster without a leader, or of another database, tells nothing."""
    now = datetime.now().astimezone()
    nothing = targets.Situation(now, None, None, None)
    try:
        leader = read_view(project).leader
        if leader is None:
            return nothing
        ssh = connect(project)
        state = patroni.parse_node(
            ssh.must(leader.name, patroni.get(project.topology.urls, "patroni"), "Patroni does not answer").stdout
        )
        archiver = read_archiver(project, leader.name)
        xid = ask_postgres(ssh, leader.name, postgres.query(postgres.NEXT_XID)).strip()
    except PghaError:
        return nothing
    if state.system_id != stanza.system_id:
        return nothing
    if not pgbackrest.archives(archiver.command):
        return targets.Situation(now, leader.timeline, None, None)
    return targets.Situation(now, leader.timeline, state.location, int(xid))


PATHS_AT_ONCE = 500
"""Files named in one remote command: a line of about 60 KB, of at most 128 KB that a shell takes."""


def finder(project: Project, found: catalogue.Catalogue) -> targets.Finder:
    """Looks for WAL records of this archive with the first node that can."""

    archive_id = found.stanza.archive_id

    def find(what: str, value: str, segments: list[str]) -> list[pgbackrest.WalRecord]:
        records: list[pgbackrest.WalRecord] = []
        # Each part begins with the segment the one before ended with: a record may go on there.
        for start in range(0, max(1, len(segments) - 1), PATHS_AT_ONCE - 1):
            paths = [found.archive.paths[segment] for segment in segments[start : start + PATHS_AT_ONCE]]
            records += _look_into(project, pgbackrest.find_wal(what, value, archive_id, paths, found.repo))
            if records and (what != "last" or any(record.committed for record in records)):
                break
        return records

    return find


def _look_into(project: Project, command: Command) -> list[pgbackrest.WalRecord]:
    """The records that the first node finds that can look; raises the last node's error when none can."""
    error: PghaError = Missing("No node can look into the archive", "inv up")
    for node in able_first(project):
        try:
            answer = connect(project).run(node, command)
        except PghaError as failure:
            error = failure
            continue
        if answer.ok:
            return pgbackrest.parse_wal_records(answer.stdout)
        if answer.exit_code == 1 and not answer.stderr.strip():
            return []
        error = ToolFailed(f"The archive cannot be looked into (on {node})", answer.words, "inv logs --node pgbackrest")
    raise error


def require_room(project: Project, size: int) -> None:
    """Raises Missing when a node has not the room: every one gets the backup sooner or later."""
    data = postgres.data_dir(project.settings.postgres)
    names = node_names(project)
    answers = connect(project).everywhere({name: postgres.room(data) for name in names})
    for name, answer in answers.items():
        if isinstance(answer, PghaError):
            raise answer
        free, used = postgres.parse_room(answer.stdout)
        # A single node keeps its old data beside the restored one.
        there = free + used if len(names) > 1 else free
        if there < size + SPARE:
            raise NoRoom(
                f"{name} has room for {there >> 20} MB, the backup needs {(size + SPARE) >> 20} MB", "inv info"
            )


def settle(project: Project, prepared: Prepared, progress: Progress) -> Target:
    """The target once the archive has everything up to now: only then it is certain that no WAL is missing.

    Raises BadValue when some is.
    """
    if prepared.settled or not prepared.archives:
        return prepared.target
    archive_current(project, require_leader(project).name, progress)
    found = catalogue.read_catalogue(project)
    return _resolve(project, prepared.request, found, look(project, found.stanza))


def settle_end(project: Project, target: Target) -> Target:
    """The end of the archive as a position; other targets as they are."""
    if target.kind != "end":
        return target
    found = catalogue.read_catalogue(project, target.repo)
    return points.find_end(target, found, finder(project, found))
