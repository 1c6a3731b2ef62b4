"""Published ports: the settings' first ports, unless something else on this host has them."""

from __future__ import annotations

import socket
from collections.abc import Callable

from pgha.errors import Missing
from pgha.model.settings import Settings
from pgha.model.topology import Topology
from pgha.project.project import Project
from pgha.project.record import other_records

Ports = dict[str, dict[str, int]]
"""kind (`postgres`, `ssh`, `prometheus`, `alertmanager`) -> host name -> port on the published address, those of the
monitoring on loopback."""

LOOPBACK = "127.0.0.1"
"""Where Prometheus and Alertmanager are published: they let in whoever asks."""


def choose_ports(settings: Settings, topology: Topology, recorded: Ports, is_free: Callable[[int], bool]) -> Ports:
    """A port for every host: the recorded one, else the settings' first plus its index, else the next free one.

    A host whose port is taken moves behind; the others stay where they are. Pure but for `is_free`.
    """
    hosts = {"postgres": topology.nodes, "ssh": topology.ssh_hosts}
    if topology.monitoring:
        hosts |= dict.fromkeys(("prometheus", "alertmanager"), (topology.monitoring,))
    first = settings.first_ports
    if topology.machines:
        # The others have to know them: they follow from the settings alone.
        return {kind: {h.name: topology.urls.port(h.name, first[kind]) for h in members}
                for kind, members in hosts.items()}  # fmt: skip
    wished = {
        (kind, host.name): recorded.get(kind, {}).get(host.name, first[kind] + index)
        for kind, members in hosts.items()
        for index, host in enumerate(members)
    }
    chosen: dict[tuple[str, str], int] = {}
    # The recorded ones first: a host that is new must not take the port of one that has it already.
    for (kind, name), port in sorted(wished.items(), key=lambda item: item[0][1] not in recorded.get(item[0][0], {})):
        if port not in chosen.values() and is_free(port):
            chosen[kind, name] = port
    for key in wished:
        if key not in chosen:
            chosen[key] = next_free(first[key[0]], {*wished.values(), *chosen.values()}, is_free)
    return {kind: {host.name: chosen[kind, host.name] for host in members} for kind, members in hosts.items()}


def next_free(start: int, taken: set[int], is_free: Callable[[int], bool]) -> int:
    """The first free port from `start` on. Raises Missing when there is none."""
    for port in range(start, 65536):
        if port not in taken and is_free(port):
            return port
    raise Missing(f"No port from {start} on is free on this host", "set postgres_port, ssh_port and monitoring_port")


def reserved_by_others(project: Project) -> set[int]:
    """Ports other projects of this checkout were given, running or not."""
    records = other_records(project.root, project.name)
    return {port for record in records for entries in record.ports.values() for port in entries.values()}


def can_bind(address: str, port: int) -> bool:
    """Whether the port can be published right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
