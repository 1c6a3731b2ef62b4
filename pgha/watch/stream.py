"""One stream of snapshots, which every view is fed from."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pgha.errors import NotRendered, NotUp, PghaError, Unreachable
from pgha.model.words import json_time, time_of
from pgha.project.project import Project
from pgha.status.document import error_document, survey_document
from pgha.status.survey import Survey
from pgha.watch import picture
from pgha.watch.events import Event, changes
from pgha.watch.looking import Looker
from pgha.watch.probe import Probe
from pgha.watch.writes import History, Writes

EVERY = 0.5
"""Seconds from one look to the next."""

KEPT = 200
"""Events that are remembered for a view that begins later."""


@dataclass(frozen=True)
class Snapshot:
    """What there is to show at one moment."""

    at: float
    """seconds since 1970"""
    document: Mapping[str, Any]
    """what `inv status --json` prints"""
    events: tuple[Event, ...]
    """what changed since the one before"""
    recent: tuple[Event, ...]
    """the last changes, the newest last"""
    sites: tuple[picture.SiteBox, ...] = ()
    lines: tuple[picture.Line, ...] = ()
    writes: Writes | None = None
    """None without a probe"""

    def as_document(self) -> dict[str, Any]:
        """For the page; without secrets, as all it is made of."""
        return {
            "at": json_time(time_of(round(self.at, 3))),
            "status": dict(self.document),
            "sites": [asdict(site) for site in self.sites],
            "lines": [asdict(line) for line in self.lines],
            "writes": asdict(self.writes) if self.writes else None,
            "events": [event.as_document() for event in self.recent],
        }


class Looks(Protocol):
    """What snapshots are made of."""

    @property
    def project(self) -> Project | None: ...

    def look(self, patience: float) -> Survey | PghaError | None: ...


def snapshots(
    looker: Looks, probe: Probe | None, over: threading.Event, clock: Callable[[], float] = time.time
) -> Iterator[Snapshot]:
    """A snapshot every EVERY seconds, until `over`. A project that is not up is waited for.

    Raises what keeps the first look from seeing anything for another reason.
    """
    known: dict[str, Any] | None = None
    recent: deque[Event] = deque(maxlen=KEPT)
    history: History | None = None
    began = time.monotonic()
    while not over.is_set():
        seen = looker.look(patience=0.8 * EVERY)
        if seen is not None:
            if (
                known is None
                and isinstance(seen, PghaError)
                and not isinstance(seen, (NotUp, NotRendered, Unreachable))
            ):
                raise seen
            document = _document(looker, seen)
            now = clock()
            events = changes(known, document, now)
            if probe and isinstance(seen, Survey) and looker.project:
                probe.follow(looker.project)
                history = history or History(now)
            if probe and history:
                events = sorted([*events, *history.add(probe.acknowledged(), now)], key=lambda event: event.at)
            recent += events
            known = document
            yield Snapshot(
                now, document, tuple(events), tuple(recent), *_drawn(looker, seen),
                history.shown(now, probe.table) if probe and history else None,
            )  # fmt: skip
        began += EVERY
        late = time.monotonic() - began
        began += max(0.0, late)
        over.wait(max(0.0, -late))


def _document(looker: Looks, seen: Survey | PghaError) -> dict[str, Any]:
    if isinstance(seen, PghaError) or looker.project is None:
        assert isinstance(seen, PghaError)
        return dict(error_document(seen))
    return survey_document(looker.project, seen)


def _drawn(looker: Looks, seen: Survey | PghaError) -> tuple[tuple[picture.SiteBox, ...], tuple[picture.Line, ...]]:
    if isinstance(seen, PghaError) or looker.project is None:
        return (), ()
    topology = looker.project.topology
    return picture.sites(topology, seen.seen), picture.lines(topology, seen.seen)


def look_at(reopen: Callable[[], Project], probe: Probe | None, over: threading.Event) -> Iterator[Snapshot]:
    """`snapshots` of this project."""
    return snapshots(Looker(reopen), probe, over)
