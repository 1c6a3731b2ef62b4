"""The containers' addresses, computed from the project's block, so that none depends on which container starts first.

The block is cut into networks of 256 addresses. A host's address ends with the same number in each of its networks:

    1           the gateway
    9           the monitoring
    10          the repository
    11 - 99     etcd1, etcd2, ...
    111 - 199   Postgres nodes: pg1-node1 is 111, pg2-node1 is 121
    224 - 254   what comes and goes: the engine gives these to containers without an address of their own

Networks and numbers are those of sites and hosts, not of their order: with more of them no address changes. The network
of the monitoring is the last one of the block.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

from pgha.model.rules import NETWORK_PREFIX, OTHER_NETWORKS
from pgha.model.topology import WAN, Host, Site, Topology

BLOCK_PREFIX = 20

FIRST, LAST = IPv4Address("172.20.0.0"), IPv4Address("172.30.255.255")
"""Where a block is chosen from. Docker has its own default networks there, too."""

REPOSITORY_NUMBER = 10

MONITORING_NUMBER = 9

DYNAMIC_PREFIX = 27


@dataclass(frozen=True)
class Network:
    """One network of a project."""

    subnet: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        return self.subnet[1]

    @property
    def dynamic(self) -> IPv4Network:
        """The last addresses, for containers without one of their own."""
        return list(self.subnet.subnets(new_prefix=DYNAMIC_PREFIX))[-1]


def block_of(text: str) -> IPv4Network:
    """The block that a setting or a record names: of a larger network its beginning."""
    network = IPv4Network(text)
    return network if network.prefixlen >= BLOCK_PREFIX else next(network.subnets(new_prefix=BLOCK_PREFIX))


def candidates(name: str) -> Iterator[IPv4Network]:
    """Every block there is, from one on that depends on the project's name: two projects that choose at the same
    moment do not meet."""
    size = 1 << (32 - BLOCK_PREFIX)
    count = (int(LAST) - int(FIRST) + 1) // size
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    for index in range(count):
        yield IPv4Network((int(FIRST) + (first + index) % count * size, BLOCK_PREFIX))


def fits(topology: Topology, block: IPv4Network) -> bool:
    """Whether every network of these sites has room in the block."""
    return OTHER_NETWORKS + _last(topology) + bool(topology.monitoring) <= _room(block)


def networks(topology: Topology, block: IPv4Network) -> dict[str, Network]:
    """Network (a site's name, or `wan`) -> what it is."""
    pieces = list(islice(block.subnets(new_prefix=NETWORK_PREFIX), _room(block)))
    places = {WAN: 0, **{site.name: _place(site) for site in topology.sites}}
    return {name: Network(pieces[place]) for name, place in places.items()}


def _room(block: IPv4Network) -> int:
    """Networks it holds."""
    return 1 << (NETWORK_PREFIX - block.prefixlen)


def _place(site: Site) -> int:
    if site.kind == "data center":
        return OTHER_NETWORKS + _ordinal(site.name) - 1
    return {"backup": 1, "witness": 2, "monitoring": -1}[site.kind]


def _last(topology: Topology) -> int:
    return max((_ordinal(site.name) for site in topology.data_centers), default=0)


def _ordinal(name: str) -> int:
    """The number a name ends with: some of the others may have been given up."""
    return int(re.sub(r".*?(\d+)$", r"\1", name))


def number(topology: Topology, host: Host) -> int:
    """What a host's addresses end with."""
    if host == topology.repository:
        return REPOSITORY_NUMBER
    if host == topology.monitoring:
        return MONITORING_NUMBER
    if host in topology.etcd:
        return REPOSITORY_NUMBER + _ordinal(host.name)
    return 100 + 10 * _ordinal(host.site.name) + _ordinal(host.name)


def addresses(topology: Topology, block: IPv4Network, host: Host) -> dict[str, IPv4Address]:
    """Network -> this host's address in it."""
    every = networks(topology, block)
    return {name: every[name].subnet[number(topology, host)] for name in (host.site.name, WAN)}
