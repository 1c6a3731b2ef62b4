"""The networks of the engines, and every container on its own ones at its own addresses."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

from pgha.model.addresses import addresses, block_of
from pgha.model.topology import WAN, Host
from pgha.project.project import Project
from pgha.project.subnets import Taken
from pgha.remote.engine import containers, engine_of, engine_problem
from pgha.remote.engines import engines
from pgha.tools import ipam
from pgha.tools.ipam import LiveNetwork


def networks_of(project: Project, host: Host) -> tuple[str, str]:
    """The networks a host's container belongs to: its site's, and the one between the sites."""
    return f"{project.name}_{host.site.name}", f"{project.name}_{WAN}"


def every_network(project: Project) -> tuple[LiveNetwork, ...]:
    """Every network there is, of whomever."""
    found: list[LiveNetwork] = []
    for engine in engines(project):
        ids = engine.must(ipam.listed()).stdout.split()
        if ids:
            found += ipam.parse_networks(engine.run(ipam.inspected(ids)).stdout)
    return tuple(found)


def taken(project: Project) -> Taken:
    """Which addresses this project cannot have. Without an engine only this host's routes tell."""
    live = every_network(project) if engine_problem(project) is None else ()
    own = {subnet for network in live if network.project == project.name for subnet in network.subnets}
    foreign = {
        subnet: network.name for network in live if network.project != project.name for subnet in network.subnets
    }
    return Taken(frozenset(own), foreign, _routes(project))


def _routes(project: Project) -> frozenset[IPv4Network]:
    """Where packets go that must not go to a container: of this host, or to the machines themselves."""
    if project.topology.machines:
        return frozenset(IPv4Network(machine.address) for machine in project.topology.machines)
    # Only Linux has it; elsewhere the engine runs in a machine of its own.
    with suppress(OSError):
        return ipam.parse_routes(Path(ipam.ROUTES).read_text())
    return frozenset()


def reconnect(project: Project) -> list[str]:
    """Bring every container that runs back on its networks, at its own addresses; returns which were not there. Compose
    does not look at that."""
    there = {name: container for name, container in containers(project).items() if container.state == "running"}
    wrong = [
        (host, network, own)
        for host in project.topology.hosts
        if host.name in there
        for network, own in _own_addresses(project, host).items()
        if (now := there[host.name].addresses.get(network)) is None or own not in ("", now)
    ]
    live = {network.name: network for network in every_network(project)} if wrong else {}
    found = []
    for host, network, own in wrong:
        # A network that is older than the record has other addresses: `up` makes it again.
        address = own if own and network in live and live[network].has(own) else ""
        container, on = there[host.name], engine_of(project, host.name)
        if network in container.addresses:
            if not address:
                continue
            on.must(ipam.disconnect(network, container.name))
        on.must(ipam.connect(network, container.name, host.name, address))
        found.append(host.name)
    return list(dict.fromkeys(found))


def _own_addresses(project: Project, host: Host) -> dict[str, str]:
    """Network -> this host's address in it; nothing in the place of one that `up` has not chosen yet."""
    subnet = project.record().subnet
    if not subnet:
        return dict.fromkeys(networks_of(project, host), "")
    own = addresses(project.topology, block_of(subnet), host)
    return {f"{project.name}_{network}": str(address) for network, address in own.items()}
