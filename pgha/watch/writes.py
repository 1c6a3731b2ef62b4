"""How many writes were acknowledged in each second, and when there was none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pgha.watch.events import Event

SECONDS = 60
"""How far back is shown."""

STOPPED = 2.0
"""Seconds without an acknowledgement after which writes have stopped: that is told."""


@dataclass(frozen=True)
class Writes:
    """The probe's writes as they are shown."""

    per_second: tuple[int | None, ...]
    """acknowledged in each of the last SECONDS whole seconds, the oldest first; None before it began"""
    total: int
    longest_gap: float
    """seconds between two acknowledgements, at most, since it began; the present gap too"""
    stopped_for: float
    """seconds since the last one; 0 while writes are acknowledged"""
    table: str = ""


@dataclass
class History:
    """What is remembered of the writes of a probe that began at this time (seconds since 1970)."""

    began: float
    total: int = 0
    last: float | None = None
    _gap: float = 0.0
    _stopped: bool = False
    _counts: Counter[int] = field(default_factory=Counter)

    def add(self, acknowledged: Iterable[float], now: float) -> list[Event]:
        """Remember when writes were acknowledged; tells when they have stopped, and when they came again."""
        events = []
        for moment in sorted(acknowledged):
            since = self.began if self.last is None else self.last
            if moment - since > STOPPED:
                events += [] if self._stopped else [self._stop(since)]
                events.append(_again(moment, moment - since))
            self._stopped = False
            self._gap = max(self._gap, moment - since) if self.last is not None else self._gap
            self.last = max(moment, since)
            self.total += 1
            self._counts[int(moment)] += 1
        since = self.began if self.last is None else self.last
        if now - since > STOPPED and not self._stopped:
            events.append(self._stop(since))
            self._stopped = True
        for second in [second for second in self._counts if second < now - SECONDS - 2]:
            del self._counts[second]
        return events

    def shown(self, now: float, table: str = "") -> Writes:
        """The last SECONDS whole seconds before this moment."""
        seconds = range(int(now) - SECONDS, int(now))
        bars = tuple(self._counts[second] if second >= int(self.began) else None for second in seconds)
        waiting = now - (self.began if self.last is None else self.last)
        stopped = waiting if waiting > STOPPED else 0.0
        return Writes(bars, self.total, max(self._gap, stopped), stopped, table)

    def _stop(self, since: float) -> Event:
        return Event(since, "writes_stop", "", True, False, "no write is acknowledged any more")


def _again(at: float, gap: float) -> Event:
    return Event(at, "writes_again", "", False, round(gap, 3), f"writes are acknowledged again, after {gap:.1f} s")


BARS = "▁▂▃▄▅▆▇█"


def sparkline(per_second: Sequence[int | None]) -> str:
    """A bar a second; a dot for none, a blank for what is not known."""
    most = max((count for count in per_second if count), default=1)
    return "".join(
        " " if count is None else "·" if count == 0 else BARS[(count * len(BARS) - 1) // most] for count in per_second
    )
