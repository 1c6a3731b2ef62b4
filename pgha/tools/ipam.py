"""Which addresses are in use: the networks of the engine, and this host's routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pgha.errors import ToolFailed
from pgha.tools import docker
from pgha.tools.command import Command

ROUTES = "/proc/net/route"
"""proc(5)"""

HALF_OF_ALL = 1
"""A VPN that takes everything sets two routes with this prefix in place of the default route."""

OVERLAPS = (
    "Pool overlaps with other one on this address space",
    "networks have overlapping IPv4",
    "failed to allocate gateway",
)
"""What the engine says of a network whose subnet another one has. Engine 20.10, asked for a range of the subnet, only
notices it in its bridge driver, or by the gateway when the subnet is the very same."""


@dataclass(frozen=True)
class LiveNetwork:
    """A network of the engine."""

    id: str
    name: str
    project: str
    """the Compose project it was made for"""
    subnets: tuple[IPv4Network, ...] = ()
    ranges: tuple[IPv4Network, ...] = ()
    """where containers without an address of their own get one"""

    def has(self, address: str) -> bool:
        """Whether a container may have this address in it."""
        return any(IPv4Address(address) in subnet for subnet in self.subnets)


def listed() -> Command:
    """The id of every network."""
    return docker.docker("network", "ls", "--quiet", "--no-trunc")


def inspected(ids: Sequence[str]) -> Command:
    """The others are printed even when one of them is gone meanwhile; only the exit code is another one then."""
    return docker.inspect("network", ids)


def parse_networks(text: str) -> tuple[LiveNetwork, ...]:
    """The answer to `inspected`."""
    try:
        return tuple(
            sorted((_network(entry) for entry in docker.parse_inspect(text)), key=lambda network: network.name)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToolFailed(f"docker network inspect lacks {error}", text[:2000]) from error


def _network(entry: dict[str, Any]) -> LiveNetwork:
    configs = (entry.get("IPAM") or {}).get("Config") or []

    def of(key: str) -> tuple[IPv4Network, ...]:
        texts = [config.get(key) or "" for config in configs]
        return tuple(IPv4Network(text, strict=False) for text in texts if text and ":" not in text)

    project = (entry.get("Labels") or {}).get(docker.PROJECT_LABEL, "")
    return LiveNetwork(entry["Id"], entry["Name"], project, of("Subnet"), of("IPRange"))


def disconnect(network: str, container: str) -> Command:
    return docker.docker("network", "disconnect", network, container)


def connect(network: str, container: str, alias: str, address: str = "") -> Command:
    """With this address; without one the engine chooses."""
    fixed = ["--ip", address] if address else []
    return docker.docker("network", "connect", *fixed, "--alias", alias, network, container)


def is_overlap(words: str) -> bool:
    """Whether that is why a network could not be made."""
    return any(told in words for told in OVERLAPS)


def parse_routes(text: str) -> frozenset[IPv4Network]:
    """The networks this host has a route to, without the default route."""
    found = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, mask = (IPv4Address(int.from_bytes(bytes.fromhex(fields[n]), "little")) for n in (1, 7))
        network = IPv4Network(f"{destination}/{mask}", strict=False)
        if network.prefixlen > HALF_OF_ALL:
            found.add(network)
    return frozenset(found)
