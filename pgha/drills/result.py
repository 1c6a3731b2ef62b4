"""One run of a drill: when each part happened, and what the clients saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgha.drills.alerts import Fired
from pgha.drills.ledger import Gap, Read, Verdict, Write
from pgha.model.settings import Settings
from pgha.model.words import counted


@dataclass
class Marks:
    """When each part of a drill happened, in seconds since its clients started; None when it did not come."""

    injected: float | None = None
    """The fault began."""
    broken: float | None = None
    """It was complete."""
    served: float | None = None
    """Writes were acknowledged again, by whom they should be."""
    healing: float | None = None
    healed: float | None = None
    redundant: float | None = None
    """Every member streams again, every etcd member is healthy."""
    ended: float = 0.0


@dataclass
class Notes:
    """What comes up in a run beside its numbers."""

    broken: list[str] = field(default_factory=list)
    """Promises that were not kept."""
    asked: list[str] = field(default_factory=list)
    """What was asked on the way, and the answer."""


@dataclass(frozen=True)
class Result:
    """One run of one scenario."""

    scenario: str
    run: int
    leader: str
    began_at: float
    """Seconds since 1970."""
    marks: Marks
    verdict: Verdict
    write_gap: Gap
    read_gap: Gap | None
    stale: float
    """Seconds the oldest write a standby did not show had been acknowledged."""
    new_leader: float | None
    """Seconds from the fault until a newer timeline acknowledged a write."""
    missed: tuple[str, ...]
    """Promises that were not kept."""
    writes: tuple[Write, ...] = field(repr=False)
    reads: tuple[Read, ...] = field(repr=False)
    roles: Mapping[str, list[tuple[float, str]]] = field(repr=False)
    asked: tuple[str, ...] = ()
    """What was asked on the way, and the answers."""
    alerts: tuple[Fired, ...] | None = None
    """What Alertmanager said; None without monitoring."""

    @property
    def whole(self) -> bool:
        """Whether the cluster became whole again by itself."""
        return self.marks.redundant is not None

    @property
    def redundant_after(self) -> float | None:
        """Seconds from the beginning of healing until full redundancy."""
        if self.marks.redundant is None or self.marks.healing is None:
            return None
        return self.marks.redundant - self.marks.healing


def broken_promises(settings: Settings, verdict: Verdict, *, may_lose: bool = False) -> list[str]:
    """What the ledger shows that was promised not to happen; in async acknowledged writes may be lost, and where a
    scenario `may_lose` them."""
    found = []
    if settings.durability == "quorum" and not may_lose and len(verdict.lost) > settings.drill_lost_writes:
        lost = counted(len(verdict.lost), "acknowledged write", "is", "are")
        found.append(f"{lost} lost, at most {settings.drill_lost_writes} may be")
    if settings.durability == "quorum" and verdict.two_leaders:
        found.append(f"two members accepted writes at once ({counted(len(verdict.two_leaders), 'write')})")
    found += [f"two members began the timeline {timeline}" for timeline in verdict.shared_timelines]
    if verdict.phantom:
        phantom = counted(len(verdict.phantom), "write", "is there that was", "are there that were")
        found.append(f"{phantom} refused or never made")
    if verdict.duplicates:
        found.append(f"{counted(len(verdict.duplicates), 'write', 'is', 'are')} there twice")
    return found
