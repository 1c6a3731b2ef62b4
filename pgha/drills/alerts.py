"""What Alertmanager says during a drill: asked once a second, and held against what the scenario names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pgha.drills.scenario_alerts import EXPECTED, GONE_WITHIN, Expected
from pgha.errors import PghaError
from pgha.tools.prometheus import Alert

INTERVAL = 1.0


@dataclass(frozen=True)
class Fired:
    """An alert of a drill, on whichever hosts: in seconds since the clients started."""

    name: str
    hosts: tuple[str, ...]
    first: float
    """when Alertmanager had it"""
    gone: float | None
    """when it had it no more"""


@dataclass
class Watch:
    """The alerts since it began; those that fired before are none of the drill's."""

    read: Callable[[], Sequence[Alert]]
    clock: Callable[[], float]
    seen: dict[str, Fired] = field(default_factory=dict)
    _before: frozenset[str] | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()

    def _go_on(self) -> None:
        while not self._over.is_set():
            self.look()
            self._over.wait(INTERVAL)

    def look(self) -> None:
        """Ask once. While Alertmanager does not answer nothing is known, and nothing changes."""
        try:
            now = self.read()
        except PghaError:
            return
        at = self.clock()
        if self._before is None:
            self._before = frozenset(alert.name for alert in now)
        active: dict[str, list[str]] = {}
        for alert in now:
            if alert.name not in self._before:
                active.setdefault(alert.name, []).append(alert.host)
        for name, hosts in active.items():
            known = self.seen.get(name, Fired(name, (), at, None))
            every = tuple(sorted({*known.hosts, *filter(None, hosts)}))
            self.seen[name] = replace(known, hosts=every, gone=None)
        for name, fired in list(self.seen.items()):
            if name not in active and fired.gone is None:
                self.seen[name] = replace(fired, gone=at)

    @property
    def fired(self) -> tuple[Fired, ...]:
        """Every one so far, the first before the others."""
        return tuple(sorted(self.seen.values(), key=lambda fired: fired.first))

    def lacking(self, scenario: str) -> list[Expected]:
        """Those that the scenario names and that have not fired."""
        return [expected for expected in EXPECTED.get(scenario, ()) if expected.name not in self.seen]


def await_named(watch: Watch, scenario: str, fault: float, go_on: Callable[[float], None]) -> list[str]:
    """Look on until each alert that the scenario names has fired, or its time is over; sentences for those that were
    late or never came."""
    named = EXPECTED.get(scenario, ())
    while any(watch.clock() - fault <= expected.within for expected in watch.lacking(scenario)):
        go_on(INTERVAL / 2)
    late = []
    for expected in named:
        fired = watch.seen.get(expected.name)
        if fired is None:
            late.append(f"the alert {expected.name} did not fire within {expected.within:.0f} s")
        elif fired.first - fault > expected.within:
            seconds = fired.first - fault
            late.append(f"the alert {expected.name} fired after {seconds:.0f} s, not within {expected.within:.0f} s")
    return late


def await_quiet(watch: Watch, go_on: Callable[[float], None]) -> list[str]:
    """Look on until every alert of the drill is over, for GONE_WITHIN at most; a sentence for each that is not."""
    until = watch.clock() + GONE_WITHIN

    def left() -> list[str]:
        return [fired.name for fired in watch.fired if fired.gone is None]

    while left() and watch.clock() < until:
        go_on(INTERVAL / 2)
    return [f"the alert {name} still fires {GONE_WITHIN:.0f} s after all was whole" for name in left()]


def words_of(scenario: str, runs: Sequence[tuple[float, Sequence[Fired]]]) -> str:
    """A scenario's alerts over its runs, each with the moment of its fault: `no_leader 12 / 14` are the seconds from
    the fault, at least and at most; one that the scenario does not name stands behind a `+`."""
    named = [expected.name for expected in EXPECTED.get(scenario, ())]
    found: dict[str, list[float]] = {name: [] for name in named}
    for fault, alerts in runs:
        for fired in alerts:
            found.setdefault(fired.name, []).append(fired.first - fault)
    parts = []
    for name, seconds in found.items():
        mark = "" if name in named else "+"
        if not seconds:
            parts.append(f"{name} NEVER")
        elif len(runs) == 1:
            parts.append(f"{mark}{name} {seconds[0]:.0f}")
        else:
            count = "" if len(seconds) == len(runs) else f" ({len(seconds)} of {len(runs)})"
            parts.append(f"{mark}{name} {min(seconds):.0f} / {max(seconds):.0f}{count}")
    return ", ".join(parts) or "none"
