"""A rolling change, decided: what is done to whom, and in which order. Nothing here looks or acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pgha.errors import PghaError
from pgha.model.topology import Topology

NOT_THERE, NOT_RUNNING = "it is not there", "it does not run"
"""Why a host is brought up rather than made again."""


class Part(StrEnum):
    """What a host is for the cluster, in the order in which a rollout comes to them."""

    ETCD = "etcd member"
    REPOSITORY = "repository"
    REPLICA = "replica"
    LEADER = "leader"


@dataclass(frozen=True)
class Step:
    """One host's turn."""

    host: str
    part: Part
    because: str = ""


def order(
    topology: Topology,
    hosts: Collection[str],
    *,
    leader: str,
    etcd_leader: str = "",
    because: Mapping[str, str] | None = None,
    leader_first: bool = False,
) -> tuple[Step, ...]:
    """Whose turn comes when: etcd's members, its leader last, so that it elects once; the repository; the replicas;
    the leader. With `leader_first` the leader is before the replicas.
    """
    etcd = [member.name for member in topology.etcd]
    nodes = [node.name for node in topology.nodes]
    turns = [(name, Part.ETCD) for name in sorted(etcd, key=lambda name: name == etcd_leader)]
    if topology.repository:
        turns.append((topology.repository.name, Part.REPOSITORY))
    first = sorted(nodes, key=lambda name: (name == leader) != leader_first)
    turns += [(name, Part.LEADER if name == leader else Part.REPLICA) for name in first]
    return tuple(Step(name, part, (because or {}).get(name, "")) for name, part in turns if name in hosts)


@dataclass(frozen=True)
class Plan:
    """What a command would do, said before it does it."""

    verb: str
    """up or restart"""
    action: str
    """what happens to a host: made again, restarted"""
    steps: tuple[Step, ...] = ()
    """one after another"""
    first: Mapping[str, str] = field(default_factory=dict)
    """host -> why: what does not run anyhow is brought up before, all at once"""
    together: Mapping[str, str] = field(default_factory=dict)
    """host -> why: all at once"""
    at_once: str = ""
    """why these are"""
    in_place: str = ""
    """why the leader does not hand over before its turn"""
    by_switchover: bool = False
    """whether a leader that hands over has had its turn with that"""
    done: tuple[str, ...] = ()
    """those that an interrupted command had done"""
    refusals: tuple[PghaError, ...] = ()
    """why it would not begin now"""
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.steps or self.first or self.together)

    @property
    def hands_over(self) -> bool:
        """Whether there is a switchover in it."""
        return not self.in_place and any(step.part == Part.LEADER for step in self.steps)

    @property
    def way(self) -> str:
        """For programs: rolling; at_once; bring_up, when nothing that runs is touched; nothing."""
        if self.steps:
            return "rolling"
        return "at_once" if self.together else "bring_up" if self.first else "nothing"

    @property
    def outage(self) -> str:
        """What clients notice."""
        if self.together:
            return "writes stop until a leader is back"
        if self.hands_over:
            return "writes stop for the switchover only"
        if any(step.part == Part.LEADER for step in self.steps):
            return "writes stop while the leader's Postgres restarts"
        return "writes go on" if self.steps else "nothing that runs is touched"

    def describe(self) -> list[str]:
        """A line a thing, for the log of the command."""
        lines = list(self.notes)
        if self.first:
            lines.append(f"first, at once: {', '.join(self.first)}")
        if self.together:
            lines.append(f"all at once ({self.at_once}): {', '.join(self.together)}")
        if self.done:
            lines.append(f"done before: {', '.join(self.done)}")
        if self.steps:
            names = [step.host for step in self.steps]
            if self.hands_over:
                place = next(i for i, step in enumerate(self.steps) if step.part == Part.LEADER)
                names.insert(place, "a switchover")
            lines.append(f"{self.action} one after another: {', '.join(names)}; {self.outage}")
        elif self.together:
            lines.append(self.outage)
        if self.in_place:
            lines.append(f"the leader does not hand over: {self.in_place}")
        return lines
