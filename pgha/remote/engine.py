"""The container engines: are they there, what runs on them, and Compose in whichever version there is.

Every call names its engine, by the host (container) it is about or by the machine. There is one engine, this host's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.project.project import Project
from pgha.remote import shell
from pgha.remote.readiness import engine_problem as engine_problem
from pgha.remote.readiness import require_compose
from pgha.remote.readiness import require_engine as require_engine
from pgha.tools import docker
from pgha.tools.command import Answer, Command
from pgha.waiting import wait_until

PORT_TAKEN = "address already in use"

PORT_PATIENCE = 90
"""Seconds to wait for a port that another connection had: TIME-WAIT lasts 60 on Linux (tcp(7))."""


@dataclass(frozen=True)
class Engine:
    """The container engine of one machine."""

    machine: str = ""
    """nothing: this host"""

    def run(self, command: Command, line: Callable[[str], None] | None = None) -> Answer:
        """Run a docker command, whatever its exit code. Raises TimedOut, and Missing without docker."""
        return shell.run(command, line=line)

    def must(self, command: Command, message: str = "", hint: str = "") -> Answer:
        """As `run`. Raises ToolFailed with docker's words when the exit code is not 0."""
        return shell.must(command, message or f"docker failed: {command}", hint)

    def has_image(self, name: str) -> bool:
        return self.run(docker.image_exists(name)).ok


HERE = Engine()
"""The engine of this host; images are built here."""


def engine_of(project: Project, host: str) -> Engine:
    """The engine on which this host's container runs."""
    return HERE


def engines(project: Project) -> tuple[Engine, ...]:
    """Every engine of the project."""
    return (HERE,)


def together(project: Project, commands: Mapping[str, Command]) -> list[Answer]:
    """One command for each of these hosts, at the same time; raises the first failure when all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(commands))) as pool:
        running = [pool.submit(engine_of(project, host).must, command) for host, command in commands.items()]
        return [future.result() for future in running]


def signal(project: Project, mechanism: str, hosts: Iterable[str]) -> None:
    """Stop, kill, pause, unpause or start the containers of these hosts: on each engine all with one command."""
    for engine, names in _by_engine(project, hosts).items():
        engine.must(docker.signal(mechanism, names))


def _by_engine(project: Project, hosts: Iterable[str]) -> dict[Engine, list[str]]:
    """Engine -> the names of these hosts' containers on it."""
    found: dict[Engine, list[str]] = {}
    for host in hosts:
        found.setdefault(engine_of(project, host), []).append(project.container(host))
    return found


@dataclass(frozen=True)
class Volume:
    """A named volume of a project and what it was made for."""

    name: str
    shape: str
    passwords: str
    passphrase: str = ""
    """the mark of what a repository is encrypted with"""
    engine: Engine = HERE


def compose(
    project: Project,
    message: str,
    *arguments: str,
    timeout: float = 300,
    line: Callable[[str], None] | None = None,
) -> Answer:
    """Compose on the project's rendered file. Raises ToolFailed with `message` and Compose's words."""
    command = require_compose().command(project.compose_file(), project.name, *arguments, timeout=timeout)
    # v2's default build and progress output moves the cursor; v1 knows no such variable.
    answer = shell.run(command, environment={"COMPOSE_PROGRESS": "plain", "COMPOSE_ANSI": "never"}, line=line)
    if not answer.ok:
        raise ToolFailed(message, answer.words)
    return answer


def revive(project: Project) -> None:
    """Resume paused containers: one that is paused answers no signal and would block Compose."""
    if any(container.state == "paused" for container in containers(project).values()):
        compose(project, "Compose could not resume paused containers", "unpause")


def start(project: Project, hosts: Iterable[str], hint: str) -> None:
    """Start the containers of these hosts. While they did not run, a client's outgoing connection may have got one of
    their ports; when it ends, the kernel keeps that for another minute (TIME-WAIT).

    Raises TimedOut with `hint` when a port is not free after PORT_PATIENCE seconds, ToolFailed for what else is wrong.
    """
    for engine, names in _by_engine(project, hosts).items():
        _start(engine, docker.signal("start", names), hint)


def _start(engine: Engine, command: Command, hint: str) -> None:
    answer = wait_until(
        lambda: engine.run(command),
        lambda answer: answer.ok or PORT_TAKEN not in answer.words,
        "The ports of the containers are free",
        timeout=PORT_PATIENCE,
        interval=2,
        explain=lambda answer: answer.last_words,
        hint=f"ss -tan tells who has them; {hint}",
    )
    if not answer.ok:
        raise ToolFailed(f"docker failed: {command}", answer.words)


def containers(project: Project) -> dict[str, docker.Container]:
    """The project's containers, running or not, by host name; not those of hosts that were given up."""
    return {host: container for host, container in _every(project).items() if host not in project.gone}


def given_up(project: Project) -> dict[str, docker.Container]:
    """Containers of hosts that were given up, and are there all the same: their machine came back."""
    return {host: container for host, container in _every(project).items() if host in project.gone}


def _every(project: Project) -> dict[str, docker.Container]:
    found: dict[str, docker.Container] = {}
    for engine in engines(project):
        names = _listed(engine, docker.containers(project.name))
        if names:
            seen = docker.parse_containers(engine.must(docker.inspect("container", names)).stdout)
            found.update({container.service: container for container in seen})
    return dict(sorted(found.items()))


def image_ids(names: Iterable[str]) -> dict[str, str]:
    """Image -> its id on this host's engine; they are all there."""
    wanted = sorted(set(names))
    return dict(zip(wanted, _listed(HERE, docker.image_ids(wanted)), strict=True))


def remove(project: Project, hosts: Iterable[str]) -> None:
    """Remove the containers of these hosts; their volumes stay."""
    for engine, names in _by_engine(project, hosts).items():
        engine.must(docker.remove(*names))


def volumes(project: Project) -> tuple[Volume, ...]:
    """The project's volumes."""
    found: list[Volume] = []
    for engine in engines(project):
        names = _listed(engine, docker.volumes(project.name))
        if names:
            entries = docker.parse_inspect(engine.must(docker.inspect("volume", names)).stdout)
            found += [_volume(engine, entry) for entry in entries]
    return tuple(found)


def _volume(engine: Engine, entry: dict[str, Any]) -> Volume:
    labels = entry.get("Labels") or {}
    shape, passwords, passphrase = (labels.get(f"pgha.{name}", "") for name in ("shape", "passwords", "passphrase"))
    return Volume(entry["Name"], shape, passwords, passphrase, engine)


def owners(project: Project) -> dict[str, str]:
    """Which checkouts the project's containers belong to -> the folder of the compose file."""
    found: dict[str, str] = {}
    for engine in engines(project):
        found.update(docker.parse_owners(engine.must(docker.owners_of_containers(project.name)).stdout))
    return found


def volume_owners(project: Project) -> set[str]:
    """Which checkouts the project's volumes were made by."""
    return {
        owner
        for engine in engines(project)
        for owner in docker.parse_owners(engine.must(docker.owners_of_volumes(project.name)).stdout)
    }


def remove_volumes(wanted: Iterable[Volume]) -> None:
    for volume in wanted:
        volume.engine.must(docker.remove_volumes([volume.name]))


def remove_networks(project: Project, names: Iterable[str]) -> None:
    """Remove networks that no container is on any more."""
    wanted = sorted(names)
    for engine in engines(project) if wanted else ():
        engine.must(docker.remove_networks(wanted))


def remove_rest(project: Project) -> None:
    """Every container and network that carries the project's label, whatever rendered file it came from."""
    for engine in engines(project):
        left = _listed(engine, docker.containers(project.name))
        if left:
            engine.must(docker.remove(*left))
        networks = _listed(engine, docker.networks(project.name))
        if networks:
            engine.must(docker.docker("network", "rm", *networks))


def remove_clones(project: Project) -> bool:
    """Remove the throwaway clones of this project with their data; returns whether there was one."""
    there = False
    for engine in engines(project):
        names = _listed(engine, docker.clones(project.name))
        if names:
            engine.must(docker.remove(*names))
            there = True
    return there


def log_since(project: Project, host: str, since: float) -> str:
    """What a host's container wrote since then (seconds since the epoch), each line with the engine's time."""
    answer = engine_of(project, host).must(docker.logs_since(project.container(host), int(since)))
    return answer.stdout + answer.stderr


def _listed(engine: Engine, command: Command) -> list[str]:
    return engine.must(command).stdout.split()
