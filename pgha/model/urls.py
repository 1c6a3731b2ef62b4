"""Where the parts are asked: their schemes and ports stand here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLIENT, PEER, REST, POSTGRES, PGBACKREST, EXPORTER = 2379, 2380, 8008, 5432, 8432, 9100
"""Ports: of etcd for its clients and between its members, of Patroni's REST API, of Postgres, of pgBackRest, of the
exporter on every host."""

STEP = 10
"""From a port of one host to that of the next one on the same machine."""


@dataclass(frozen=True)
class Urls:
    """How the parts are asked, by their hosts' names."""

    tls: bool
    slots: Mapping[str, int] = field(default_factory=dict, hash=False)
    """host -> how many of its kind are before it on its machine; nothing where each container has ports of its own"""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def port(self, host: str, port: int) -> int:
        """Where a host's service listens, and is found by every other host. On one machine that is the service's own
        port: names lead to the containers themselves. Among several a name leads to its machine, where each host has
        ports of its own. The one place that knows the difference."""
        return port + STEP * self.slots.get(host, 0)

    def etcd(self, member: str, name: str = "") -> str:
        """What etcd's clients ask; by another name where that is given."""
        return f"{self.scheme}://{name or member}:{self.port(member, CLIENT)}"

    def peer(self, member: str, name: str = "") -> str:
        """What the other members of etcd ask."""
        return f"{self.scheme}://{name or member}:{self.port(member, PEER)}"

    def patroni(self, host: str = "localhost") -> str:
        """Patroni's REST API."""
        return f"{self.scheme}://{host}:{self.port(host, REST)}"
