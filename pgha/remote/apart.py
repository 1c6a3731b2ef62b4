"""What Compose does for one machine, done on several: a file and an engine each, in phases.

A container is made first, gets its secrets, and is started then. On one machine its secrets are files that the engine
finds by their paths; another machine's engine does not, and they must not lie there for others to read: they go through
the engine into the container alone, whose file system is root's there.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from pgha.errors import NotRendered, ToolFailed
from pgha.project.project import SECRETS, Project
from pgha.remote import shell
from pgha.remote.engines import Engine, at_once, by_engine, engine_of, engines
from pgha.remote.readiness import require_compose
from pgha.tools import archives, docker
from pgha.tools.command import Answer

RUNNING = ("running", "paused", "restarting")

ENVIRONMENT = {"COMPOSE_PROGRESS": "plain", "COMPOSE_ANSI": "never"}
"""v2's default build and progress output moves the cursor; v1 knows no such variable."""

Line = Callable[[str], None] | None


@dataclass(frozen=True)
class Run:
    """Compose, asked once for a whole project."""

    project: Project
    message: str
    timeout: float
    line: Line

    def on(self, engine: Engine, *arguments: str) -> Answer:
        """Compose for the part of one machine, or of this host. Raises ToolFailed with `message` and its words."""
        file = self.project.compose_file(engine.machine)
        command = require_compose().command(file, self.project.name, *arguments, timeout=self.timeout)
        answer = shell.run(command, environment={**ENVIRONMENT, **engine.environment}, line=self.line)
        if not answer.ok:
            raise ToolFailed(self.message, answer.words)
        return answer

    def everywhere(self, *arguments: str) -> None:
        at_once(engines(self.project), lambda engine: self.on(engine, *arguments))


def compose(run: Run, *arguments: str) -> None:
    """As Compose with these arguments, on every machine. Raises ToolFailed."""
    verb, *rest = arguments
    if verb == "up":
        names = [name for name in rest if run.project.topology.host(name)]
        _up(run, [option for option in rest if option not in (*names, "--detach")], names)
    elif verb == "start":
        _start(run, states(run.project))
    elif verb == "stop":
        _stop(run)
    elif verb == "down":
        _stop(run)
        run.everywhere(*arguments)
    else:
        run.everywhere(*arguments)


def phases(project: Project, hosts: Iterable[str]) -> list[list[str]]:
    """These hosts in the order in which they start: etcd, the repository, the nodes. They stop the other way round:
    Patroni releases its lock, and Postgres archives its last segment, while those are there."""
    topology, wanted = project.topology, set(hosts)
    kinds = (topology.etcd, (topology.repository,) if topology.repository else (), topology.nodes)
    found = [[host.name for host in kind if host.name in wanted] for kind in kinds]
    return [phase for phase in found if phase]


def states(project: Project) -> dict[str, str]:
    """Host -> the state of its container. Raises MachineUnreachable."""

    def ask(engine: Engine) -> list[docker.Container]:
        names = engine.must(docker.containers(project.name)).stdout.split()
        if not names:
            return []
        return list(docker.parse_containers(engine.must(docker.inspect("container", names)).stdout))

    found = {c.service: c.state for there in at_once(engines(project), ask) for c in there}
    return {host.name: found[host.name] for host in project.topology.hosts if host.name in found}


def _up(run: Run, options: Sequence[str], names: Collection[str]) -> None:
    project = run.project
    wanted = names or [host.name for host in project.topology.hosts]
    places = {engine: [h for h in wanted if engine_of(project, h) == engine] for engine in engines(project)}
    every = [engine for engine, here in places.items() if here]
    at_once(every, lambda engine: run.on(engine, "up", "--no-start", *options, *(places[engine] if names else ())))
    _start(run, {host: state for host, state in states(project).items() if host in wanted})


def _start(run: Run, seen: dict[str, str]) -> None:
    """Start what does not run, each with its secrets as they are now."""
    idle = [host for host, state in seen.items() if state not in RUNNING]
    deliver(run.project, idle)
    for phase in phases(run.project, idle):
        for engine, names in by_engine(run.project, phase).items():
            answer = engine.run(docker.signal("start", names))
            if not answer.ok:
                raise ToolFailed(run.message, answer.words)


def _stop(run: Run) -> None:
    up = [host for host, state in states(run.project).items() if state in RUNNING]
    for phase in reversed(phases(run.project, up)):
        stop_together(run.project, phase, run.message)


def stop_together(project: Project, hosts: Iterable[str], message: str = "") -> None:
    """Stop the containers of these hosts, all at the same time. Raises ToolFailed."""
    places = by_engine(project, hosts)
    at_once(places, lambda engine: engine.must(docker.signal("stop", places[engine]), message))


def take_away(project: Project, hosts: Collection[str]) -> None:
    """Remove the containers of these hosts, stopped in phases, where there are any; their volumes stay."""
    seen = states(project) if hosts else {}
    there = [host for host in hosts if host in seen]
    for phase in reversed(phases(project, there)):
        stop_together(project, phase)
    for engine, names in by_engine(project, there).items():
        engine.must(docker.remove(*names))


def deliver(project: Project, hosts: Collection[str]) -> None:
    """Give the containers of these hosts their secrets, as the files here are now; nothing without machines, whose
    engine finds them. Raises NotRendered, ToolFailed."""
    if not project.topology.machines or not hosts:
        return
    held = _secrets(project)
    for host in hosts:
        if host in held:
            bring(project, engine_of(project, host), project.container(host), held[host])


def bring(project: Project, engine: Engine, container: str, secrets: dict[str, str]) -> None:
    """Give a container its secrets: name inside -> path here. Raises ToolFailed."""
    engine.must(archives.unpack_into(container), given=pack(project, secrets))


def _secrets(project: Project) -> dict[str, dict[str, str]]:
    try:
        found: dict[str, dict[str, str]] = json.loads((project.folder / SECRETS).read_text())
    except (OSError, ValueError):
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv up") from None
    return found


def pack(project: Project, secrets: dict[str, str]) -> bytes:
    """The secrets of a container as a tar archive: root's files, with the modes they have here, as an engine of this
    host would show them in `/run/secrets`."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        folder = tarfile.TarInfo("run/secrets")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for name, path in secrets.items():
            file = (project.folder / path).resolve()
            entry = tarfile.TarInfo(f"run/secrets/{name}")
            content = file.read_bytes()
            entry.size, entry.mode = len(content), file.stat().st_mode & 0o777
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()
