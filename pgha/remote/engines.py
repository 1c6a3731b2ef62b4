"""The container engines: this host's, or one on each machine. Every call names its engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pgha.errors import MachineUnreachable, PghaError, ToolFailed
from pgha.model.machines import Machine
from pgha.model.topology import Topology
from pgha.project.project import Project
from pgha.remote import readiness, shell, tunnels
from pgha.tools import docker
from pgha.tools.command import Answer, Command
from pgha.waiting import wait_until

T = TypeVar("T")

PORT_TAKEN = "address already in use"

PORT_PATIENCE = 90
"""Seconds to wait for a port that another connection had: TIME-WAIT lasts 60 on Linux (tcp(7))."""

UNREACHABLE = "machine unreachable"
"""The state of a container whose machine does not answer."""


@dataclass(frozen=True)
class Engine:
    """The container engine of one machine."""

    machine: Machine | None = None
    """None: this host's"""

    @property
    def environment(self) -> dict[str, str]:
        """What leads docker and Compose there. Raises MachineUnreachable."""
        if self.machine is None:
            return {}
        return {"DOCKER_HOST": f"unix://{tunnels.reach(self.machine)}", "DOCKER_TLS_VERIFY": "", "DOCKER_CONTEXT": ""}

    @property
    def problem(self) -> PghaError | None:
        """Why it cannot be used, or None."""
        if self.machine is None:
            return readiness.engine_problem()
        try:
            tunnels.reach(self.machine)
        except MachineUnreachable as error:
            return error
        return None

    def run(self, command: Command, line: Callable[[str], None] | None = None, given: bytes = b"") -> Answer:
        """Run a docker command, whatever its exit code; with something `given` to read.

        Raises TimedOut, Missing without docker, and MachineUnreachable.
        """
        more = {"given": given} if given else {}
        return shell.run(command, line=line, environment=self.environment, **more)

    def must(self, command: Command, message: str = "", hint: str = "", given: bytes = b"") -> Answer:
        """As `run`. Raises ToolFailed with docker's words when the exit code is not 0."""
        answer = self.run(command, given=given)
        if not answer.ok:
            raise ToolFailed(message or f"docker failed: {command}", answer.words, hint)
        return answer

    def has_image(self, name: str) -> bool:
        return self.run(docker.image_exists(name)).ok

    def image_label(self, name: str, label: str) -> str:
        """What it says; nothing without such an image or label."""
        return self.run(docker.image_label(name, label)).stdout.strip()

    def start(self, command: Command, hint: str) -> None:
        """Start containers; see `engine.start`."""
        answer = wait_until(
            lambda: self.run(command),
            lambda answer: answer.ok or PORT_TAKEN not in answer.words,
            "The ports of the containers are free",
            timeout=PORT_PATIENCE,
            interval=2,
            explain=lambda answer: answer.last_words,
            hint=f"ss -tan tells who has them; {hint}",
        )
        if not answer.ok:
            raise ToolFailed(f"docker failed: {command}", answer.words)


HERE = Engine()
"""The engine of this host; images are built here."""


def engine_of(project: Project, host: str) -> Engine:
    """The engine on which this host's container runs. What is beside the hosts, such as a clone, is where the
    repository is, or the first node."""
    topology = project.whole
    found = topology.host(host) or topology.repository or topology.nodes[0]
    return Engine(found.machine)


def engines(project: Project, topology: Topology | None = None) -> tuple[Engine, ...]:
    """Every engine of the project, or of this topology; none of a machine all of whose hosts were given up."""
    machines = (topology or project.topology).machines
    return tuple(Engine(machine) for machine in machines) or (HERE,)


def at_once(wanted: Iterable[Engine], ask: Callable[[Engine], T]) -> list[T]:
    """The answer of each of these engines, all asked at the same time; raises the first failure when all have ended."""
    asked = tuple(wanted)
    if len(asked) == 1:
        return [ask(asked[0])]
    with ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool:
        return [future.result() for future in [pool.submit(ask, engine) for engine in asked]]


def engine_problem(project: Project) -> PghaError | None:
    """Why an engine of the project cannot be used, or None: the first such engine's."""
    return next(filter(None, at_once(engines(project), lambda engine: engine.problem)), None)


def require_engine(project: Project) -> None:
    """Raises Missing when there is no engine that this user can use, MachineUnreachable for one of a machine."""
    problem = engine_problem(project)
    if problem:
        raise problem


def answering(project: Project) -> tuple[Engine, ...]:
    """The engines of the project that answer."""
    every = engines(project)
    problems = at_once(every, lambda engine: engine.problem)
    return tuple(engine for engine, problem in zip(every, problems, strict=True) if problem is None)


def require_any_engine(project: Project) -> None:
    """As `require_engine`, only when none of them answers."""
    require_any(at_once(engines(project), lambda engine: engine.problem))


def require_any(problems: Sequence[PghaError | None]) -> None:
    """Raises the first of the engines' problems when every one has a problem."""
    found = [problem for problem in problems if problem]
    if len(found) == len(problems):
        raise found[0]


def by_engine(project: Project, hosts: Iterable[str]) -> dict[Engine, list[str]]:
    """Engine -> the names of these hosts' containers on it."""
    found: dict[Engine, list[str]] = {}
    for host in hosts:
        found.setdefault(engine_of(project, host), []).append(project.container(host))
    return found
