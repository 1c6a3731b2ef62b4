"""Look at one project again and again.

A quick look costs each member one SSH command on a connection that stays open; what takes more (containers, the
repository, the leader's Postgres, disks) is as the last whole look saw it. A whole look, which is `inv status`, is
taken in the background now and then, and at once when a quick one sees something change. Nobody waits for a member
that does not answer: until it does, or is silent for too long, what it said last stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace

from pgha.cluster.quorum import seen_by
from pgha.cluster.view import Members, agreed_view, cut_off, hearing, node_names, read_member
from pgha.errors import PghaError, Unreachable
from pgha.failures import broken
from pgha.project.project import Project
from pgha.remote import connections
from pgha.status.problems import find_problems
from pgha.status.seen import Seen, leading, or_error
from pgha.status.survey import Survey, take
from pgha.tools import etcd, patroni
from pgha.watch.hearing import Hearing, in_background

WHOLE_EVERY, WHOLE_SOON = 10.0, 1.0
"""Seconds from one whole look to the next, and at least, when something has changed."""

SLOW, SILENT = 1.5, 6.0
"""Seconds after which a member's answer is late (its container is looked at then), and after which it is away: one that
is cut off takes up to 5 to answer."""


@dataclass(frozen=True)
class Heard:
    """A member's answer, and when it was asked (monotonic seconds)."""

    at: float
    answer: patroni.Told | PghaError


@dataclass(frozen=True)
class Whole:
    """A whole look: what was seen, or why nothing was, and when it began (monotonic seconds)."""

    began: float
    project: Project | None
    """None when the settings cannot be read"""
    found: Seen | PghaError


class Looker:
    """`reopen` gives the project as it is now: it may be destroyed and made anew meanwhile."""

    def __init__(self, reopen: Callable[[], Project], clock: Callable[[], float] = time.monotonic) -> None:
        self._reopen, self._clock = reopen, clock
        self._whole: Whole | None = None
        self._coming: Future[Whole] | None = None
        self._began = float("-inf")
        self._asking: dict[str, tuple[float, Future[patroni.Told | PghaError]]] = {}
        self._heard: dict[str, Heard] = {}
        self._hearing: Hearing | None = None
        self._known: object = None
        self._wanted = True

    @property
    def project(self) -> Project | None:
        """As the last whole look found it; None before the first."""
        return self._whole.project if self._whole else None

    def look(self, patience: float) -> Survey | PghaError | None:
        """What is seen now, waiting for answers for so many seconds; the error when nothing can be seen, None when
        nothing is known yet."""
        now = self._clock()
        self._begin_whole(now)
        if self._whole is None or isinstance(self._whole.found, PghaError):
            if self._coming:
                wait([self._coming], timeout=patience)
        elif self.project:
            self._ask(self.project, now, patience)
        self._collect_whole()
        whole = self._whole
        if whole is None or whole.project is None or isinstance(whole.found, PghaError):
            return whole.found if whole and isinstance(whole.found, PghaError) else None
        seen = self._combined(whole.project, whole.found)
        self._notice(seen)
        return Survey(seen, find_problems(seen))

    # Whole looks --------------------------------------------------------------------------------------------

    def _begin_whole(self, now: float) -> None:
        self._collect_whole()
        since = now - self._began
        if self._coming is None and (since >= WHOLE_EVERY or (self._wanted and since >= WHOLE_SOON)):
            self._wanted, self._began = False, now
            former = self.project
            self._coming = in_background(lambda: self._taken(now, former))

    def _taken(self, began: float, former: Project | None) -> Whole:
        project = former
        try:
            project = self._reopen()
            if former is not None and project != former:
                connections.close_all()
            return Whole(began, project, take(project).seen)
        except PghaError as error:
            return Whole(began, project, error)

    def _collect_whole(self) -> None:
        if self._coming is None or not self._coming.done():
            return
        coming, self._coming = self._coming, None
        whole = coming.result()
        if self._whole is None or whole.project != self._whole.project:
            self._asking, self._heard = {}, {}
            self._hearing = Hearing(hearing(whole.project)) if whole.project else None
        self._whole = whole
        if isinstance(whole.found, PghaError):
            self._wanted = True
            return
        for name, answer in whole.found.told.items():
            self._hear(name, Heard(whole.began, answer))

    # Quick looks --------------------------------------------------------------------------------------------

    def _ask(self, project: Project, now: float, patience: float) -> None:
        """Ask every member that is not being asked, and take the answers that come in time."""
        for name in node_names(project):
            if name not in self._asking:
                self._asking[name] = now, in_background(lambda name=name: read_member(project, name))  # type: ignore[misc]
        wait([future for _, future in self._asking.values()], timeout=patience)
        for name, (asked, future) in list(self._asking.items()):
            if future.done():
                del self._asking[name]
                self._hear(name, Heard(asked, future.result()))

    def _hear(self, name: str, heard: Heard) -> None:
        if name not in self._heard or self._heard[name].at <= heard.at:
            self._heard[name] = heard

    def _answer(self, name: str) -> patroni.Told | PghaError:
        waiting = self._waiting(name)
        if waiting > SILENT and isinstance(self._heard[name].answer, patroni.Told):
            return Unreachable(f"{name} has not answered for {waiting:.0f} s", f"inv logs --node {name}")
        return self._heard[name].answer

    def _waiting(self, name: str) -> float:
        """Seconds since a member is asked without an answer, and nobody else heard of it meanwhile."""
        if name not in self._asking or self._heard[name].at > self._asking[name][0]:
            return 0.0
        return self._clock() - self._asking[name][0]

    def _combined(self, project: Project, whole: Seen) -> Seen:
        """The last whole look with what the members say now."""
        told: Members = {name: self._answer(name) for name in node_names(project)}
        hear = self._hearing
        assert hear is not None
        view = or_error(lambda: agreed_view(project, told, hear))
        leader = leading(view, told)
        if isinstance(answer := told.get(leader or ""), patroni.Told):
            hear.knows(answer.node)
        seen = replace(
            whole, told=dict(told), late=cut_off(project, told), view=view, etcd=self._etcd(project, whole, told),
            broken=or_error(lambda: tuple(broken.still(project, whole.containers.values()))),
        )  # fmt: skip
        if leader == whole.leader:
            return seen
        # What is known of a Postgres is of the one that led, what is known of the lock of when nobody did.
        return replace(seen, facts=None, login=None, slots=(), lock=None)

    def _etcd(
        self, project: Project, whole: Seen, told: Mapping[str, patroni.Told | PghaError]
    ) -> etcd.EtcdView | PghaError:
        """As the members see it; the whole look asks etcd itself where they see no quorum, and knows of alarms."""
        view = seen_by(project, told)
        if view.has_quorum:
            return view
        asked = whole.etcd
        return asked if isinstance(asked, PghaError) or not asked.has_quorum else view

    def _notice(self, seen: Seen) -> None:
        """A whole look is wanted when something is not as it was."""
        slow = {
            name for name in seen.told
            if self._waiting(name) > SLOW and isinstance(seen.told[name], patroni.Told) and name not in seen.late
        }  # fmt: skip
        kinds = {name: type(answer) for name, answer in seen.told.items()}
        healthy = seen.etcd.healthy if isinstance(seen.etcd, etcd.EtcdView) else ()
        known = (seen.leader, kinds, set(seen.late), healthy, seen.broken, slow)
        if self._known is not None and known != self._known:
            self._wanted = True
        self._known = known
