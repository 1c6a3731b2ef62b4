"""The sites, their hosts and the lines between them, from what was seen. Pure; the page only draws it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from pgha.errors import PghaError
from pgha.failures.broken import Mechanism
from pgha.model.topology import MONITORING, Topology
from pgha.status.seen import Seen


@dataclass(frozen=True)
class Box:
    """A host in its site."""

    name: str
    kind: str
    """postgres, etcd, repository or monitoring"""
    state: str
    """of a member as in `status`; of an etcd member healthy, not healthy or unknown; else of the container"""
    role: str = ""


@dataclass(frozen=True)
class SiteBox:
    """A site."""

    name: str
    kind: str
    """data center, witness, backup or monitoring"""
    hosts: tuple[Box, ...]


@dataclass(frozen=True)
class Line:
    """What lies between two sites."""

    a: str
    b: str
    cut: bool
    """chaos cut it, or what is at one end is seen to be cut off"""
    streams: int
    """standbys at one end that stream from the leader at the other"""


def sites(topology: Topology, seen: Seen) -> tuple[SiteBox, ...]:
    """Every site with its hosts."""
    members = {member.name: member for member in seen.members}

    def box(name: str) -> Box:
        if name in members:
            return Box(name, "postgres", members[name].state, members[name].role)
        if any(member.name == name for member in topology.etcd):
            return Box(name, "etcd", _etcd_state(seen, name))
        return Box(name, "monitoring" if name == MONITORING else "repository", seen.state_of(name))

    return tuple(
        SiteBox(site.name, site.kind, tuple(box(host.name) for host in topology.at(site))) for site in topology.sites
    )


def lines(topology: Topology, seen: Seen) -> tuple[Line, ...]:
    """A line between any two sites."""
    names = [site.name for site in topology.sites]
    cut = {frozenset(pair) for pair in (*_cut_by_chaos(seen, names), *_seen_cut(seen, names))}
    at = seen.hosts.get(seen.leader or "")
    streaming = [member.data_center for member in seen.members if member.state == "streaming"]
    return tuple(
        Line(a, b, frozenset((a, b)) in cut, sum(site in (a, b) for site in streaming if at in (a, b) and site != at))
        for a, b in combinations(names, 2)
    )


def _etcd_state(seen: Seen, name: str) -> str:
    if seen.state_of(name) != "running":
        return f"container {seen.state_of(name)}"
    if isinstance(seen.etcd, PghaError):
        return "unknown"
    return "healthy" if name in seen.etcd.healthy else "not healthy"


def _cut_by_chaos(seen: Seen, names: list[str]) -> Iterator[tuple[str, str]]:
    """The cuts that are written down; a node that was cut off alone leaves its site's line whole."""
    for entry in () if isinstance(seen.broken, PghaError) else seen.broken:
        if entry.mechanism == Mechanism.PARTITION:
            yield from ((entry.sites[0], other) for other in entry.sites[1:] if other in names)


def _seen_cut(seen: Seen, names: list[str]) -> Iterator[tuple[str, str]]:
    """A site all of whose members are cut off has no line to any site that is not; nothing is known of one without
    members."""
    off = {site for host, site in seen.hosts.items() if host in seen.told and seen.is_site_cut_off(host)}
    others = {seen.hosts[name] for name in seen.told} - off
    yield from ((site, other) for site in off for other in names if other in others)
