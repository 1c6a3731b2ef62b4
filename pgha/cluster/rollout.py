"""A rolling change, decided: what is done to whom, and in which order. Nothing here looks or acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pgha.errors import PghaError
from pgha.model.topology import Topology

NOT_THERE, NOT_RUNNING = "it is not there", "it does not run"
"""Why a host is brought up rather than made again."""


class Part(StrEnum):
    """What a host is for the cluster, in the order in which a rollout comes to them."""

    ETCD = "etcd member"
    REPOSITORY = "repository"
    MONITORING = "monitoring"
    REPLICA = "replica"
    LEADER = "leader"


@dataclass(frozen=True)
class Step:
    """One host's turn."""

    host: str
    part: Part
    because: str = ""


class Turn(NamedTuple):
    """A line of a plan."""

    turn: int
    host: str
    part: str
    action: str
    because: str


def order(
    topology: Topology,
    hosts: Collection[str],
    *,
    leader: str,
    etcd_leader: str = "",
    because: Mapping[str, str] | None = None,
    leader_first: bool = False,
) -> tuple[Step, ...]:
    """Whose turn comes when: etcd's members, its leader last, so that it elects once; the repository; the
    monitoring; the replicas; the leader. With `leader_first` the leader is before the replicas.
    """
    etcd = [member.name for member in topology.etcd]
    nodes = [node.name for node in topology.nodes]
    turns = [(name, Part.ETCD) for name in sorted(etcd, key=lambda name: name == etcd_leader)]
    if topology.repository:
        turns.append((topology.repository.name, Part.REPOSITORY))
    if topology.monitoring:
        turns.append((topology.monitoring.name, Part.MONITORING))
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

    @property
    def turns(self) -> list[Turn]:
        """A host's turns; those at once have the same number."""
        begun = {**self.first, **self.together}
        rows = [
            Turn(1, host, "", "brought up" if why in (NOT_THERE, NOT_RUNNING) else self.action, why)
            for host, why in begun.items()
        ]
        number = 1 if rows else 0
        for step in self.steps:
            number += 1
            action = self.action
            if step.part == Part.LEADER and self.hands_over:
                over = "hands over (switchover)"
                if self.by_switchover:
                    action = f"{over}, and is {action} with that"
                else:
                    rows.append(Turn(number, step.host, step.part, over, ""))
                    number += 1
            rows.append(Turn(number, step.host, step.part, action, step.because))
        return rows

    @property
    def sentences(self) -> list[str]:
        """What holds for the whole of it, a line each."""
        said = {
            "all at once": self.at_once,
            "the leader does not hand over": self.in_place,
            "done before": ", ".join(self.done),
        }
        lines = [f"{what}: {words}" for what, words in said.items() if words]
        return [*lines, f"nothing is to be {self.action}" if self.empty else self.outage]

    def describe(self) -> list[str]:
        """A line a thing, for the log of the command."""
        over = "a switchover, " if self.hands_over else ""
        names = [f"{over if step.part == Part.LEADER else ''}{step.host}" for step in self.steps]
        groups = {
            "first, at once": self.first,
            f"{self.action} together": self.together,
            f"{self.action} one after another": names,
        }
        lines = [f"{what}: {', '.join(hosts)}" for what, hosts in groups.items() if hosts]
        return [*self.notes, *lines, *self.sentences]
