"""Before the first containers are made: whether the machines reach each other where these will listen.

A firewall between them would otherwise show itself by a cluster that does not come, minutes later.
"""

from __future__ import annotations

from collections.abc import Collection

from pgha.console import Progress
from pgha.errors import Parted, PortTaken, ToolFailed
from pgha.model.machines import Machine
from pgha.model.urls import CLIENT, PEER, PGBACKREST, POSTGRES, REST
from pgha.project.ports import Ports
from pgha.project.project import Project
from pgha.remote.engines import Engine, at_once, engines
from pgha.tools import beside, docker, probe

HELP = 'docs/machines.md, "What has to be open"'


def require_reach(project: Project, new: Collection[str], ports: Ports, progress: Progress) -> None:
    """When all hosts are new, let a container of each machine listen, and one of each other machine ask it.

    Raises PortTaken for a port that something else has there, Parted for one that is not reached.
    """
    every = engines(project)
    if len(every) < 2 or set(new) != {host.name for host in project.topology.hosts}:
        return
    wanted = {engine: ports_of(project, engine.machine, ports) for engine in every if engine.machine}
    with progress.stage("see whether the machines reach each other"):
        try:
            at_once(wanted, lambda engine: _listen(project, engine, wanted[engine]))
            found = dict(zip(wanted, at_once(wanted, lambda engine: _ask(project, engine, wanted)), strict=True))
        finally:
            at_once(wanted, lambda engine: engine.run(docker.remove(_name(project))))
    names = {engine.machine.address: engine.machine.name for engine in wanted if engine.machine}
    for engine, silent in found.items():
        if silent:
            first = silent[0]
            closed = ", ".join(str(s.port) for s in silent if s.address == first.address)
            machine = engine.machine.name if engine.machine else ""
            raise Parted(
                f"{machine} does not reach {names[first.address]} at {first.address}, ports {closed}: {first.words}",
                f"open them between the machines: {HELP}",
            )


def ports_of(project: Project, machine: Machine | None, ports: Ports) -> list[int]:
    """Everything that is published on a machine."""
    topology, found = project.topology, []
    for host in topology.hosts:
        if host.machine != machine:
            continue
        services = [CLIENT, PEER] if host in topology.etcd else [PGBACKREST] if topology.repository else []
        services += [POSTGRES, REST] if host in topology.nodes else []
        found += [topology.urls.port(host.name, service) for service in services]
        if host.name in ports["ssh"]:
            found.append(ports["ssh"][host.name])
    return sorted(found)


def _name(project: Project) -> str:
    return project.container("probe")


def _listen(project: Project, engine: Engine, ports: Collection[int]) -> None:
    assert engine.machine is not None
    label, image = beside.label(project.name), project.settings.release.patroni_image
    engine.run(docker.remove(_name(project)))
    answer = engine.run(probe.listen(_name(project), image, label, engine.machine.address, sorted(ports)))
    if answer.ok:
        return
    if taken := docker.taken_ports(answer.words):
        which = ", ".join(taken)
        raise PortTaken(
            f"Port {which} of {engine.machine.name} is taken by another program or project there",
            f"ssh there, and ss -tlnp tells who has it; {HELP}",
        )
    raise ToolFailed(f"Nothing can listen at {engine.machine.address} of {engine.machine.name}", answer.words)


def _ask(project: Project, engine: Engine, wanted: dict[Engine, list[int]]) -> tuple[probe.Silent, ...]:
    places = [
        f"{other.machine.address}:{port}"
        for other, ports in wanted.items()
        if other != engine and other.machine
        for port in ports
    ]
    command = probe.ask(project.settings.release.patroni_image, beside.label(project.name), places)
    return probe.parse_silent(engine.must(command).stdout)
