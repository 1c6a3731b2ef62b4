"""What clients wrote and read, and what became of it. Pure: the same events and rows give the same verdict."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

ACKNOWLEDGED = "acknowledged"
REFUSED = "refused"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Write:
    """One write as its client saw it. Times are seconds since the drill began."""

    number: int
    began: float
    ended: float
    outcome: str
    """`acknowledged`: the commit was confirmed. `refused`: the server said no. `unknown`: nobody knows."""
    server: str = ""
    timeline: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Read:
    """One read on a standby, and the newest number it saw (0: none)."""

    began: float
    ended: float
    server: str
    newest: int


@dataclass(frozen=True)
class Verdict:
    """The ledger compared with the rows of the database at the end; each a list of write numbers."""

    acknowledged: int
    lost: tuple[int, ...]
    """Acknowledged, and not there."""
    phantom: tuple[int, ...]
    """There, although it was refused or no client ever wrote it."""
    unknown: tuple[int, ...]
    """In doubt: the connection ended before the answer came."""
    unknown_present: int
    """How many of those are there."""
    duplicates: tuple[int, ...]
    """There more than once."""
    two_leaders: tuple[int, ...]
    """Acknowledged on an old timeline after a newer one had acknowledged: two members accepted writes at once."""
    probed: int = 0
    """Writes acknowledged by a member that was asked by itself."""
    shared_timelines: tuple[int, ...] = ()
    """Timelines on which more than one member acknowledged: two promotions took the same number."""


def check(writes: Sequence[Write], rows: Iterable[int], probes: Sequence[Write] = ()) -> Verdict:
    """Compare every write with what the database holds.

    `probes` are writes sent to one member each. They are held against the same promises; only `acknowledged` and
    `unknown` count what the clients alone saw.
    """
    present = Counter(rows)
    outcome = {write.number: write.outcome for write in (*writes, *probes)}
    unknown = tuple(write.number for write in writes if write.outcome == UNKNOWN)
    return Verdict(
        acknowledged=sum(write.outcome == ACKNOWLEDGED for write in writes),
        lost=tuple(sorted(n for n, what in outcome.items() if what == ACKNOWLEDGED and n not in present)),
        phantom=tuple(sorted(n for n in present if outcome.get(n, REFUSED) == REFUSED)),
        unknown=tuple(sorted(unknown)),
        unknown_present=sum(number in present for number in unknown),
        duplicates=tuple(sorted(number for number, times in present.items() if times > 1)),
        two_leaders=two_leaders((*writes, *probes)),
        probed=sum(probe.outcome == ACKNOWLEDGED for probe in probes),
        shared_timelines=shared_timelines((*writes, *probes)),
    )


def shared_timelines(writes: Iterable[Write]) -> tuple[int, ...]:
    """Each promotion begins a timeline with a number of its own; two with one number are two databases, and the archive
    takes one of them only."""
    servers: dict[int, set[str]] = {}
    for write in writes:
        if write.outcome == ACKNOWLEDGED:
            servers.setdefault(write.timeline, set()).add(write.server)
    return tuple(sorted(timeline for timeline, names in servers.items() if len(names) > 1))


def two_leaders(writes: Sequence[Write]) -> tuple[int, ...]:
    """Writes that began after a newer timeline had acknowledged one, and were acknowledged on an older one.

    Each promotion begins a timeline (PostgreSQL 25.3.6), so an older one has no business accepting after that.
    Two members on the same timeline are two leaders as well.
    """
    done = sorted((w for w in writes if w.outcome == ACKNOWLEDGED), key=lambda w: w.ended)
    ends = [w.ended for w in done]
    newest = list(accumulate((w.timeline for w in done), max))
    owner: dict[int, str] = {}
    for write in done:
        owner.setdefault(write.timeline, write.server)
    found = []
    for write in done:
        before = bisect_right(ends, write.began)
        if (before and newest[before - 1] > write.timeline) or owner[write.timeline] != write.server:
            found.append(write.number)
    return tuple(sorted(found))


@dataclass(frozen=True)
class Gap:
    """The longest time without an event, in seconds since the drill began."""

    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        return self.ends - self.begins


def numbered_on(
    writes: Sequence[Write], probes: Sequence[Write], moment: float
) -> tuple[tuple[Write, ...], tuple[Write, ...]]:
    """The same, with the timelines of a database that began anew after that moment numbered on: what pg_upgrade made
    has timeline 1 again. It begins with the first acknowledgement after the longest gap."""
    acknowledged = [write for write in (*writes, *probes) if write.outcome == ACKNOWLEDGED]
    times = [write.ended for write in acknowledged]
    if not times or max(times) <= moment:
        return tuple(writes), tuple(probes)
    begins = longest_gap(times, moment, max(times)).ends
    before = max((write.timeline for write in acknowledged if write.ended < begins), default=0)

    def moved(entries: Sequence[Write]) -> tuple[Write, ...]:
        return tuple(
            replace(write, timeline=write.timeline + before) if write.timeline and write.ended >= begins else write
            for write in entries
        )

    return moved(writes), moved(probes)


def longest_gap(moments: Iterable[float], begins: float, ends: float) -> Gap:
    """The longest gap between two events, or between an event and either end of the time watched."""
    inner = sorted(moment for moment in moments if begins <= moment <= ends)
    gaps = [Gap(a, b) for a, b in pairwise([begins, *inner, ends])]
    return max(gaps, key=lambda gap: gap.seconds)


def acknowledged_at(writes: Iterable[Write]) -> list[float]:
    """When each acknowledgement came."""
    return [write.ended for write in writes if write.outcome == ACKNOWLEDGED]


def new_leader_after(writes: Iterable[Write], moment: float) -> float | None:
    """Seconds from a moment until a member acknowledged a write that began after it on a newer timeline.

    None when no newer timeline acknowledged any.
    """
    acknowledged = [write for write in writes if write.outcome == ACKNOWLEDGED]
    old = max((write.timeline for write in acknowledged if write.ended <= moment), default=0)
    newer = [write.ended - moment for write in acknowledged if write.timeline > old and write.ended > moment]
    return min(newer, default=None)


def staleness(reads: Iterable[Read], writes: Iterable[Write]) -> float:
    """The longest time a write had been acknowledged when a read that began later did not see it, in seconds."""
    acknowledged = sorted((w.number, w.ended) for w in writes if w.outcome == ACKNOWLEDGED)
    numbers = [number for number, _ in acknowledged]
    # From each place on: when the first of the later numbers was acknowledged.
    earliest = list(accumulate((ended for _, ended in reversed(acknowledged)), min))[::-1]
    worst = 0.0
    for read in reads:
        place = bisect_right(numbers, read.newest)
        if place < len(earliest) and earliest[place] < read.began:
            worst = max(worst, read.began - earliest[place])
    return worst
