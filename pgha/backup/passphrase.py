"""Another passphrase for the repository, while clients write: a second repository beside the first.

WAL comes into both from before the new one's first backup, so each is whole by itself: the former one restores every
point it ever could, and all that came since, until an operator removes it. What is done is written down first, and in
an order that leaves the repository in use as it is until the new one can take its place.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pgha.backup.backups import require_archiving, run_backup, wait_for_lock
from pgha.backup.catalogue import Window, read_window
from pgha.backup.stanza import check_archiving, create_when_unlocked, read_stanza, require_repository
from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, NoRoom, NoStanza, NotRendered, NotUp, PghaError, Unhealthy
from pgha.model.topology import REPOSITORY, STANZA
from pgha.model.words import size_text
from pgha.project.coming import PASSPHRASE
from pgha.project.files import write_file
from pgha.project.passwords import Passwords, Stage, kept_passwords
from pgha.project.project import Project
from pgha.project.repositories import PLACES, begin_second, enter, exchange, forget_second
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.stack import crontab
from pgha.stack.delivery import bring
from pgha.stack.rotating import (
    Rotated,
    RotationPlan,
    Step,
    completing,
    require_as_rendered,
    require_rotatable,
    running_of,
)
from pgha.stack.writing import files_with
from pgha.tools import places, postgres
from pgha.tools.command import Answer
from pgha.waiting import Stopwatch, wait_until

CONF = "pgbackrest.conf"

SPARE = 256 << 20
"""Bytes of the repository's volume that stay free, for WAL."""

REPLACED = ("the passphrase of the repository",)

REMOVES = "inv rotate --what passphrase --remove-old"


@dataclass(frozen=True)
class Kept:
    """A former repository that is kept."""

    number: int
    window: Window | None
    """what can be restored from it"""
    full: int
    """full backups that the new one has"""
    wanted: int
    """and those that it shall have"""

    @property
    def replaced(self) -> bool:
        """Whether the new one has what the settings ask for."""
        return self.full >= self.wanted


def rotate_passphrase(project: Project, progress: Progress) -> Rotated:
    """Make a second repository with another passphrase, and let it take the backups. The caller holds the lock.

    The former one is kept. Interrupted anywhere the same command completes it, and `give_up` goes back. Raises as
    `check`, and ToolFailed, TimedOut at the first step that fails.
    """
    clock = Stopwatch()
    kept = _kept(project)
    resumed = check(project)
    hosts, later = _hosts(project)
    if kept.second is None:
        if _is_given(project, kept):
            return Rotated(PASSPHRASE, (), False, (), clock.seconds, given=("repository",))
        kept = begin_second(project, kept)
    elif kept.second.stage == Stage.FORMER:
        return Rotated(PASSPHRASE, (), False, (), clock.seconds)
    else:
        progress.note("a rotation of the passphrase is half done: this goes on with it")
    with completing(PASSPHRASE):
        if kept.second and kept.second.stage == Stage.GOING:
            _remove(project, kept, hosts, progress)
            return Rotated(PASSPHRASE, ("the second repository is removed",), True, hosts, clock.seconds, later)
        _make(project, kept, hosts, progress)
    return Rotated(PASSPHRASE, REPLACED, resumed, hosts, clock.seconds, later)


def remove_old(project: Project, progress: Progress) -> Rotated:
    """Remove the former repository with its backups, or go on with that. The caller holds the lock and has asked."""
    return _give(project, progress, (Stage.FORMER,), exchanged=False)


def give_up(project: Project, progress: Progress) -> Rotated:
    """Go back to the repository of before, and remove the one that was to come. The caller holds the lock and has
    asked. Raises BadValue when there is none."""
    return _give(project, progress, (Stage.COMING, Stage.BOTH, Stage.PASSED, Stage.FORMER), exchanged=True)


def _give(project: Project, progress: Progress, stages: Collection[Stage], *, exchanged: bool) -> Rotated:
    clock, kept = Stopwatch(), _kept(project)
    second = kept.second
    if second is None or second.stage not in (*stages, Stage.GOING):
        there = "a rotation is half done" if second else "there is but one"
        raise BadValue(f"There is no former repository to remove or to go back to: {there}", "inv rotate")
    check(project)
    hosts, later = _hosts(project)
    with completing(PASSPHRASE):
        if second.stage != Stage.GOING:
            wait_for_lock(project)
            passed = second.stage in (Stage.PASSED, Stage.FORMER)
            kept = exchange(project, kept, Stage.GOING) if exchanged and passed else enter(project, kept, Stage.GOING)
        _remove(project, kept, hosts, progress)
    return Rotated(PASSPHRASE, ("the second repository is removed",), False, hosts, clock.seconds, later)


def look(project: Project) -> Kept | None:
    """The former repository, where one is kept, and whether the new one has taken its place."""
    kept = kept_passwords(project)
    if kept is None or kept.second is None or kept.second.stage != Stage.FORMER:
        return None
    full = [b for b in read_stanza(project).backups if b.type == "full" and not b.error]
    return Kept(kept.other, read_window(project, kept.other), len(full), project.settings.retention_full)


def plan_passphrase(project: Project) -> RotationPlan:
    """What a rotation would do; nothing is touched."""
    hosts, later = _hosts(project)
    resumed, refusals = False, []
    try:
        resumed = check(project)
    except PghaError as error:
        refusals.append(error)
    kept = _kept(project)
    if kept.second and kept.second.stage == Stage.FORMER:
        refusals.append(HalfDone("The former repository is still kept", f"{REMOVES} removes it"))
    given = ("repository",) if kept.second is None and _is_given(project, kept) else ()
    nodes = tuple(host for host in hosts if host != REPOSITORY)
    steps = (
        Step("a second repository beside the first, with its stanza", (REPOSITORY,)),
        Step("WAL is brought into both", nodes),
        Step("a full backup into the new one, which is in use from then on; the former one stays", (REPOSITORY,)),
    )
    return RotationPlan(PASSPHRASE, resumed, REPLACED, () if given else steps, later, given, tuple(refusals))


def check(project: Project) -> bool:
    """Whether it goes on with one that is half done; touches nothing.

    Raises BadValue without a repository, HalfDone, NotUp, NoStanza, NoLeader, NoRoom, Unhealthy.
    """
    require_repository(project)
    resumed = require_rotatable(project, PASSPHRASE)
    containers = engine.containers(project)
    states = {host.name: getattr(containers.get(host.name), "state", "gone") for host in project.topology.ssh_hosts}
    if states[REPOSITORY] != "running":
        raise NotUp(f"{REPOSITORY} is {states[REPOSITORY]}", "inv start")
    for name, state in states.items():
        if state in ("paused", "restarting", "dead"):
            raise Unhealthy(f"{name} is {state}: nothing can be brought into its container", "inv up")
    if resumed:
        return True
    kept = _kept(project)
    if kept.second is None:
        require_as_rendered(project, _hosts(project)[0])
        require_archiving(project, "there is nothing that was encrypted with the passphrase")
        _require_place(project, kept)
    return False


def _require_place(project: Project, kept: Passwords) -> None:
    """The other place has to be free, and there has to be room for a full backup."""
    ssh, path = connect(project), PLACES[kept.other]
    if ssh.must(REPOSITORY, places.holds_repository(path), f"{path} cannot be looked at").stdout.strip():
        raise HalfDone(
            f"There is a repository at {path} on {REPOSITORY} already, of which this project does not know",
            f"look whether anybody needs it: inv ssh --node {REPOSITORY} --command 'ls -lR {path}'",
        )
    stanza = read_stanza(project)
    if stanza.missing:
        raise NoStanza(f"There is no stanza {STANZA} yet", "inv stanza backup")
    sizes = [backup.repository_size for backup in stanza.backups if backup.type == "full"]
    free, _ = postgres.parse_room(ssh.must(REPOSITORY, postgres.room(f"{PLACES[1]}/backup"), "df failed").stdout)
    needed = max(sizes, default=0) + SPARE
    if free < needed:
        raise NoRoom(
            f"{REPOSITORY} has room for {size_text(free)}, another full backup needs {size_text(needed)}", "inv status"
        )


def _is_given(project: Project, kept: Passwords) -> bool:
    """Whether the settings name the passphrase, and it holds already."""
    return project.settings.repository_passphrase == kept.repository


def _kept(project: Project) -> Passwords:
    kept = kept_passwords(project)
    if kept is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    return kept


def _hosts(project: Project) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that run, and those that do not: they take the present files when they start."""
    names = [host.name for host in project.topology.ssh_hosts]
    running = running_of(project, names)
    return running, tuple(name for name in names if name not in running)


def _make(project: Project, kept: Passwords, hosts: Collection[str], progress: Progress) -> None:
    """From wherever it is to a former repository that is kept."""
    assert kept.second is not None
    nodes, new = [host for host in hosts if host != REPOSITORY], kept.other
    if kept.second.stage == Stage.COMING:
        with progress.stage(f"a second repository on {REPOSITORY}: {PLACES[new]}"):
            # What is left there of one that was removed, and that nobody can read.
            connect(project).must(REPOSITORY, places.clear(PLACES[new]), f"{PLACES[new]} could not be cleared")
            _bring(project, kept, [REPOSITORY])
            create_when_unlocked(project)
        kept = enter(project, kept, Stage.BOTH)
    if kept.second and kept.second.stage == Stage.BOTH:
        with progress.stage(f"WAL into both: {', '.join(nodes)}"):
            _bring(project, kept, [REPOSITORY])
            _bring(project, kept, nodes)
            _wait_for_pushing(project, nodes)
        check_archiving(project, require_archiving(project, "nothing would come into the repository"), progress)
        if not any(backup.type == "full" and not backup.error for backup in read_stanza(project, new).backups):
            run_backup(project, "full", progress, new)
        kept = exchange(project, kept, Stage.PASSED)
    with progress.stage("backups go into the new one"):
        _bring(project, kept, hosts)
        crontab.install(project, hosts)
    enter(project, kept, Stage.FORMER)


def _remove(project: Project, kept: Passwords, hosts: Collection[str], progress: Progress) -> None:
    """From wherever it is to one repository: no node writes into the second one any more, and then it goes."""
    nodes, path = [host for host in hosts if host != REPOSITORY], PLACES[kept.other]
    with progress.stage(f"WAL into one: {', '.join(nodes)}"):
        _bring(project, kept, nodes)
        crontab.install(project, hosts)
        _wait_for_pushing(project, nodes)
    with progress.stage(f"remove the repository at {path}"):
        _bring(project, kept, [REPOSITORY])
        connect(project).must(REPOSITORY, places.clear(path), f"{path} could not be removed")
    forget_second(project, kept)


def _bring(project: Project, kept: Passwords, hosts: Collection[str]) -> None:
    """The files here first: a container that starts meanwhile takes them."""
    for path, text in files_with(project, kept, (CONF, "crontab")).items():
        write_file(project.folder / path, text, 0o600 if path.endswith(CONF) else 0o644)
    bring(project, hosts, (CONF,), "pgbackrest")


def _wait_for_pushing(project: Project, nodes: Collection[str]) -> None:
    """Until the processes have ended that began with the configuration of before."""

    def pushing() -> set[tuple[str, str]]:
        answers = connect(project).everywhere(dict.fromkeys(nodes, places.PUSHING))
        return {(h, pid) for h, a in answers.items() if isinstance(a, Answer) for pid in a.stdout.split()}

    before = pushing()
    wait_until(
        lambda: before & pushing(),
        lambda left: not left,
        "Every archive-push that began before has ended",
        timeout=120,
        explain=lambda left: f"not yet on {', '.join(sorted({host for host, _ in left}))}",
        hint="inv status",
    )
