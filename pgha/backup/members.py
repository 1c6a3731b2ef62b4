"""The members during a restore: held back, measured, let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from pgha.backup.restore_record import Record, Stage, has_reached, write_restore
from pgha.backup.stanza import unreached
from pgha.cluster.view import node_names, read_members, without_quorum
from pgha.console import Progress
from pgha.errors import Parted, PghaError, TimedOut, ToolFailed
from pgha.failures import broken
from pgha.model.words import named
from pgha.project.project import Project
from pgha.remote import connections, engine
from pgha.remote.connections import connect
from pgha.tools import patroni, postgres
from pgha.tools.command import Answer, Command
from pgha.waiting import Stopwatch, wait_until


@dataclass(frozen=True)
class Node:
    """A node as the place of a recovery."""

    project: Project
    name: str
    data: str
    options: tuple[str, ...] = ()

    @property
    def preload(self) -> str:
        return self.project.settings.scratch_preload_libraries

    def run(self, command: Command, line: Callable[[str], None] | None = None) -> Answer:
        return connect(self.project).run(self.name, command, line)


@contextmanager
def timed(record: Record, progress: Progress, name: str, title: str) -> Iterator[None]:
    """A stage of the progress whose seconds the record keeps; an interrupted one adds to what it took before."""
    clock = Stopwatch()
    with progress.stage(title):
        yield
    record.seconds[name] = round(record.seconds.get(name, 0) + clock.seconds, 1)


def start_containers(project: Project, progress: Progress) -> None:
    """A member that comes back in the middle would bring the old cluster with it: all of them take part."""
    states = [container.state for container in engine.containers(project).values()]
    if states.count("running") == len(project.topology.hosts):
        return
    with broken.ended_by_start(project), progress.stage("start the containers that do not run"):
        engine.revive(project)
        engine.compose(project, "Compose could not start the stack", "up", "--detach", "--no-recreate")
        connections.close_all()
        names = [host.name for host in project.topology.ssh_hosts]
        wait_until(
            lambda: connect(project).everywhere({name: Command(("true",), timeout=5) for name in names}),
            lambda answers: all(isinstance(answer, Answer) for answer in answers.values()),
            "Every container can be reached over SSH",
            timeout=60,
        )


def require_together(project: Project, patience: float = 0) -> None:
    """A restore takes every member along: each has to reach the repository and etcd's majority, or it would come back
    later with the old data. Members that do not run are left out: they are started first, and `patience` is for them.

    Raises Parted.
    """
    apart = _apart(project)
    if apart and patience:
        with suppress(TimedOut):
            apart = wait_until(lambda: _apart(project), lambda found: not found, "All are reached", timeout=patience)
    if apart:
        raise Parted(
            f"{named(sorted(apart), 'is', 'are')} cut off, and a restore takes every member along",
            "mend the network first (inv chaos.heal if chaos cut it), then the same command; inv status",
        )


def _apart(project: Project) -> set[str]:
    containers = engine.containers(project)
    running = [name for name in node_names(project) if name in containers and containers[name].state == "running"]
    return {*without_quorum(read_members(project)), *(unreached(project, running) if running else [])}


def hold(project: Project, record: Record, progress: Progress) -> Record:
    """Stop every member, its data as it is: the replicas first, so that none takes over from the leader."""
    why = "inv restore holds Patroni back; inv restore --yes completes it, inv restore --abort undoes it"
    names = node_names(project)
    last = record.keep or record.leader
    with timed(record, progress, "stop the members", "stop Patroni on every member, containers stay"):
        ssh = connect(project)
        for group in ([n for n in names if n != last], [n for n in names if n == last]):
            everywhere(project, dict.fromkeys(group, patroni.hold(why)), "Patroni could not be stopped")
        data = postgres.data_dir(project.settings.postgres)
        if not has_reached(record, Stage.RESTORED):
            # Patroni stops its Postgres itself; one that lost its Patroni is still there.
            everywhere(project, dict.fromkeys(names, postgres.stop(data)), "Postgres could not be stopped")
        if not record.node:
            positions = _positions(project, ssh.everywhere(dict.fromkeys(names, postgres.control_data(data))))
            keep, node = choose_members(names, record.leader, positions)
            record = replace(record, keep=keep, node=node)
    return write_restore(project, record)


def everywhere(project: Project, commands: dict[str, Command], message: str) -> None:
    """Raises the first host's failure."""
    for name, answer in connect(project).everywhere(commands).items():
        if isinstance(answer, PghaError):
            raise answer
        if not answer.ok:
            raise ToolFailed(f"{message} (on {name}, exit code {answer.exit_code})", answer.words)


def _positions(project: Project, answers: dict[str, Answer | PghaError]) -> dict[str, tuple[int, int]]:
    """How far the data of each stopped member goes; those without data are left out."""
    found = {}
    for name, answer in answers.items():
        if isinstance(answer, PghaError):
            raise answer
        if answer.ok:
            found[name] = postgres.parse_position(answer.stdout)
    return found


def choose_members(names: list[str], leader: str, positions: dict[str, tuple[int, int]]) -> tuple[str, str]:
    """Whose data stays untouched, and where the restored data goes.

    Kept is the leader's, else what goes furthest. The restored data goes to the member that is then furthest: a
    delta restore has the least to copy there. With a single node the kept data gets another name.
    """
    if not positions:
        return "", names[0]
    keep = leader if leader in positions else max(positions, key=lambda name: positions[name])
    others = [name for name in names if name != keep]
    if not others:
        return keep, keep
    return keep, max(others, key=lambda name: positions.get(name, (0, 0)))


def patroni_leads(project: Project, node: str) -> bool:
    answer = connect(project).run(node, patroni.get(project.topology.urls, "patroni"))
    if not answer.ok:
        return False
    state = patroni.parse_node(answer.stdout)
    return state.role == "leader" and state.state == "running"


def release_to_lead(project: Project, node: str) -> None:
    """Start Patroni on a node that was held back, and wait until this node leads."""
    connect(project).must(node, patroni.release(), "Patroni could not be started")
    wait_until(
        lambda: patroni_leads(project, node),
        bool,
        f"{node} leads",
        timeout=project.settings.up_timeout,
        hint=f"inv logs --node {node}",
    )


def is_held(project: Project, name: str) -> bool:
    return connect(project).run(name, Command(("test", "-e", patroni.HOLD), timeout=10)).ok
