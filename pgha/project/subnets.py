"""The project's block of addresses: the setting's, else the recorded one, else one that nothing on this host uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from pgha.errors import SubnetTaken
from pgha.model.addresses import BLOCK_PREFIX, FIRST, LAST, block_of, candidates, fits, networks
from pgha.project.project import Project
from pgha.project.record import other_records


@dataclass(frozen=True)
class Taken:
    """Which addresses something else than this project has."""

    own: frozenset[IPv4Network] = frozenset()
    """subnets of this project's own networks"""
    foreign: Mapping[IPv4Network, str] = field(default_factory=dict)
    """subnet of another network of the engine -> that network's name"""
    routes: frozenset[IPv4Network] = frozenset()
    """where this host sends packets to, other than by its default route; its bridges are among them"""

    def holder(self, wanted: IPv4Network, *, routes: bool = True) -> str:
        """What has addresses of this network; nothing when it is free, or this project's."""
        if wanted in self.own:
            return ""
        for subnet, name in self.foreign.items():
            if subnet.overlaps(wanted):
                return f"the network {name} ({subnet})"
        for route in sorted(self.routes - self.own) if routes else ():
            if route.overlaps(wanted):
                return f"this host's route to {route}"
        return ""


def choose_block(project: Project, recorded: str, reserved: frozenset[IPv4Network], taken: Taken) -> IPv4Network:
    """The block to use. Pure: `taken` has been looked up, `reserved` are the blocks of other projects.

    Of a block that was given or is recorded, only the networks of this topology have to be free; a route of this host
    is no reason against one that was given. Raises SubnetTaken.
    """
    given = project.settings.subnet

    def holder(block: IPv4Network) -> str:
        wanted = networks(project.topology, block).values()
        found = (taken.holder(network.subnet, routes=not given) for network in wanted)
        return next(filter(None, found), "")

    if given:
        block = block_of(given)
        if who := holder(block):
            raise SubnetTaken(
                f"subnet: {given} has addresses of {who}", "set subnet to another network, or leave it empty"
            )
        return block
    if recorded:
        block = block_of(recorded)
        if fits(project.topology, block) and not holder(block):
            return block
    for block in candidates(project.name):
        if not taken.holder(block) and not any(block.overlaps(other) for other in reserved):
            return block
    raise SubnetTaken(
        f"No /{BLOCK_PREFIX} network from {FIRST} to {LAST} is free on this host",
        f"set subnet to one that is, such as 10.200.0.0/{BLOCK_PREFIX}",
    )


def reserved_by_others(project: Project) -> frozenset[IPv4Network]:
    """Blocks other projects of this checkout were given, running or not."""
    records = other_records(project.root, project.name)
    return frozenset(block_of(record.subnet) for record in records if record.subnet)
