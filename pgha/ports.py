"""Published ports: the settings' first ports, unless something else on this host has them."""

from __future__ import annotations

import socket
from collections.abc import Callable

from pgha.project import Project, other_projects, read_record
from pgha.settings import Settings
from pgha.topology import Topology

Ports = dict[str, dict[str, int]]
"""kind (`postgres`, `ssh`) -> host name -> port on the published address."""


def choose_ports(settings: Settings, topology: Topology, recorded: Ports, is_free: Callable[[int], bool]) -> Ports:
    """A port for every host: the recorded one while it is free, else the next free one from the settings' first.

    Pure apart from `is_free`.
    """
    taken: set[int] = set()

    def pick(first: int, wished: int | None) -> int:
        candidates = [wished] if wished else []
        port: int = next(port for port in (*candidates, *range(first, 65536)) if port not in taken and is_free(port))
        taken.add(port)
        return port

    hosts = {"postgres": topology.nodes, "ssh": topology.ssh_hosts}
    first = {"postgres": settings.postgres_port, "ssh": settings.ssh_port}
    return {
        kind: {
            host.name: pick(first[kind] + index, _wished(recorded, kind, host.name))
            for index, host in enumerate(members)
        }
        for kind, members in hosts.items()
    }


def _wished(recorded: Ports, kind: str, host: str) -> int | None:
    return recorded.get(kind, {}).get(host)


def reserved_by_others(project: Project) -> set[int]:
    """Ports other projects of this checkout were given, running or not."""
    reserved: set[int] = set()
    for name in other_projects(project.name):
        for entries in read_record(name).ports.values():
            reserved.update(entries.values())
    return reserved


def can_bind(address: str, port: int) -> bool:
    """Whether the port can be published right now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
