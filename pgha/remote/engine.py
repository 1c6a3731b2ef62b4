"""What runs on the container engines of a project, and Compose in whichever version there is.

Every call names its engine, by the host (container) it is about or by the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pgha.errors import MachineUnreachable
from pgha.project.project import Project
from pgha.remote import apart
from pgha.remote.apart import bring as bring
from pgha.remote.apart import deliver as deliver
from pgha.remote.engines import HERE as HERE
from pgha.remote.engines import PORT_TAKEN as PORT_TAKEN
from pgha.remote.engines import UNREACHABLE, answering, at_once, by_engine, engines
from pgha.remote.engines import Engine as Engine
from pgha.remote.engines import engine_of as engine_of
from pgha.remote.engines import engine_problem as engine_problem
from pgha.remote.engines import require_any_engine as require_any_engine
from pgha.remote.engines import require_engine as require_engine
from pgha.tools import beside, docker
from pgha.tools.command import Answer, Command


def together(project: Project, commands: Mapping[str, Command]) -> list[Answer]:
    """One command for each of these hosts, at the same time; raises the first failure when all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(commands))) as pool:
        running = [pool.submit(engine_of(project, host).must, command) for host, command in commands.items()]
        return [future.result() for future in running]


def signal(project: Project, mechanism: str, hosts: Iterable[str]) -> None:
    """Stop, kill, pause, unpause or start the containers of these hosts: on each engine all with one command."""
    for engine, names in by_engine(project, hosts).items():
        engine.must(docker.signal(mechanism, names))


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
) -> None:
    """Compose on the project's rendered files. Raises ToolFailed with `message` and Compose's words."""
    run = apart.Run(project, message, timeout, line)
    if project.topology.machines:
        apart.compose(run, *arguments)
    else:
        run.on(HERE, *arguments)


def revive(project: Project) -> None:
    """Resume paused containers: one that is paused answers no signal and would block Compose."""
    if any(container.state == "paused" for container in containers(project).values()):
        compose(project, "Compose could not resume paused containers", "unpause")


def start(project: Project, hosts: Iterable[str], hint: str) -> None:
    """Start the containers of these hosts; on another machine each gets its secrets first. While they did not run, a
    client's outgoing connection may have got one of their ports; when it ends, the kernel keeps that for another minute
    (TIME-WAIT).

    Raises TimedOut with `hint` when a port is not free after PORT_PATIENCE seconds, ToolFailed for what else is wrong.
    """
    wanted = list(hosts)
    apart.deliver(project, wanted)
    for engine, names in by_engine(project, wanted).items():
        engine.start(docker.signal("start", names), hint)


def containers(project: Project) -> dict[str, docker.Container]:
    """The project's containers, running or not, by host name; not those of hosts that were given up."""
    return kept(project, _everywhere(project))


def kept(project: Project, listed: Iterable[Iterable[docker.Container]]) -> dict[str, docker.Container]:
    """Those of several engines, by host name and in its order; not those of hosts that were given up."""
    return {host: container for host, container in _by_host(listed).items() if host not in project.gone}


def given_up(project: Project) -> dict[str, docker.Container]:
    """Containers of hosts that were given up, and are there all the same: their machine came back."""
    return {host: container for host, container in _by_host(_everywhere(project)).items() if host in project.gone}


def _by_host(listed: Iterable[Iterable[docker.Container]]) -> dict[str, docker.Container]:
    return dict(sorted((container.service, container) for found in listed for container in found))


def _everywhere(project: Project) -> list[list[docker.Container]]:
    return at_once(engines(project, project.whole), lambda engine: containers_on(project, engine))


def containers_on(project: Project, engine: Engine) -> list[docker.Container]:
    """The project's containers on one engine; in the state UNREACHABLE when its machine does not answer."""
    try:
        names = _listed(engine, docker.containers(project.name))
        if not names:
            return []
        return list(docker.parse_containers(engine.must(docker.inspect("container", names)).stdout))
    except MachineUnreachable:
        away = [host.name for host in project.topology.hosts if host.machine == engine.machine]
        return [docker.Container(host, project.container(host), "", UNREACHABLE, "", "", ()) for host in away]


def image_ids(names: Iterable[str]) -> dict[str, str]:
    """Image -> its id on this host's engine; they are all there."""
    wanted = sorted(set(names))
    return dict(zip(wanted, _listed(HERE, docker.image_ids(wanted)), strict=True))


def remove(project: Project, hosts: Iterable[str]) -> None:
    """Remove the containers of these hosts; their volumes stay."""
    for engine, names in by_engine(project, hosts).items():
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
    for engine in answering(project):
        found.update(docker.parse_owners(engine.must(docker.owners_of_containers(project.name)).stdout))
    return found


def volume_owners(project: Project) -> set[str]:
    """Which checkouts the project's volumes were made by."""
    return {
        owner
        for engine in answering(project)
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
        names = _listed(engine, beside.listed(project.name))
        if names:
            engine.must(docker.remove(*names))
            there = True
    return there


def has_clone(project: Project) -> bool:
    """Whether a throwaway clone is beside this project's containers."""
    return bool(_listed(engine_of(project, "clone"), beside.listed(project.name)))


def log_since(project: Project, host: str, since: float) -> str:
    """What a host's container wrote since then (seconds since the epoch), each line with the engine's time."""
    answer = engine_of(project, host).must(docker.logs_since(project.container(host), int(since)))
    return answer.stdout + answer.stderr


def _listed(engine: Engine, command: Command) -> list[str]:
    return engine.must(command).stdout.split()
