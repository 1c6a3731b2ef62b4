"""Where etcd and Patroni are asked: their schemes and ports stand here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

CLIENT, PEER, REST, EXPORTER = 2379, 2380, 8008, 9100
"""Ports: of etcd for its clients and between its members, of Patroni's REST API, of the exporter on every host."""


@dataclass(frozen=True)
class Urls:
    """How the parts are asked, by their hosts' names."""

    tls: bool

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def etcd(self, member: str) -> str:
        """What etcd's clients ask."""
        return f"{self.scheme}://{member}:{CLIENT}"

    def peer(self, member: str) -> str:
        """What the other members of etcd ask."""
        return f"{self.scheme}://{member}:{PEER}"

    def patroni(self, host: str = "localhost") -> str:
        """Patroni's REST API."""
        return f"{self.scheme}://{host}:{REST}"
