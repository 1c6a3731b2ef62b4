"""Recovery by hand: a backup in a data directory, Postgres on it without listener or archiving, the point it reached.

The same steps serve a restore of the cluster (on a node whose Patroni is held back) and a throwaway clone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pgha.backup.targets import Target, is_reached
from pgha.console import Progress
from pgha.errors import ToolFailed
from pgha.model.words import time_text
from pgha.tools import pgbackrest, postgres, wal
from pgha.tools.command import Answer, Command
from pgha.waiting import wait_until

PATIENCE = 7 * 24 * 3600
"""Seconds a recovery may take: as long as there is progress only the operator can tell that it is too long."""

START_PATIENCE = 600


class Place(Protocol):
    """Where a recovery runs: a node or the clone's container."""

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> str:
        """The data directory."""
        ...

    @property
    def preload(self) -> str:
        """Libraries that Postgres loads although it is a copy."""
        ...

    @property
    def options(self) -> tuple[str, ...]:
        """What `pgbackrest restore` has to know of this place."""
        ...

    def run(self, command: Command, line: Callable[[str], None] | None = None) -> Answer: ...


@dataclass(frozen=True)
class Point:
    """Where a recovery stopped."""

    lsn: int
    last_transaction: datetime | None
    timeline: int

    def __str__(self) -> str:
        last = self.last_transaction
        when = f"last transaction {time_text(last)}" if last else "no transaction since"
        return f"{wal.lsn_text(self.lsn)}, timeline {self.timeline}, {when}"


def must(place: Place, command: Command, message: str, line: Callable[[str], None] | None = None) -> Answer:
    """Raises ToolFailed with the tool's words."""
    answer = place.run(command, line)
    if not answer.ok:
        raise ToolFailed(f"{message} (on {place.name}, exit code {answer.exit_code})", answer.words)
    return answer


def put_backup(place: Place, target: Target, progress: Progress) -> None:
    """pgbackrest restore into the data directory; a delta when something is there."""
    must(place, postgres.clear_way(place.data), "The data directory could not be made ready")
    command = pgbackrest.restore(place.data, target.backup.label, *place.options, *target.options)
    must(place, command, "pgbackrest restore failed", progress.detail)


def read_state(place: Place) -> postgres.RecoveryState:
    return postgres.parse_recovery_state(place.run(postgres.recovery_state(place.data)))


def recover(place: Place, target: Target, progress: Progress) -> Point:
    """Start Postgres if it does not run, wait until it stops at the target, and check where that is.

    Raises ToolFailed with Postgres' own words when it ended, or stopped somewhere else.
    """
    state = _arrive(place, progress)
    problem = is_reached(target, state.lsn, state.last_transaction)
    if problem:
        raise ToolFailed(f"Recovery on {place.name} did not stop where it should: {problem}")
    return Point(state.lsn, state.last_transaction, target.history.timeline_at(state.lsn))


def _arrive(place: Place, progress: Progress) -> postgres.RecoveryState:
    """Wait until the server pauses at its target, or is promoted already; start it when it does not run."""
    if not read_state(place).running:
        must(place, postgres.start_aside(place.data, place.preload), "Postgres does not start on the restored data")

    def explain(state: postgres.RecoveryState) -> str:
        text = f"replayed up to {wal.lsn_text(state.lsn)}" if state.lsn else "Postgres starts"
        progress.detail(text)
        return text

    state = wait_until(
        lambda: read_state(place),
        lambda seen: seen.paused or not seen.running or not seen.in_recovery,
        f"Recovery on {place.name} reaches its target",
        timeout=PATIENCE,
        interval=0.3,
        explain=explain,
    )
    if not state.running:
        raise ToolFailed(f"Recovery ended before it reached the target (on {place.name})", state.words)
    return state


def promote(place: Place, progress: Progress) -> int:
    """Let the recovered server become a primary, still without archiving; returns its new timeline."""
    state = _arrive(place, progress)
    if state.in_recovery:
        must(place, postgres.end_recovery(), "The recovered server could not be promoted")
        state = wait_until(
            lambda: read_state(place),
            lambda seen: not seen.in_recovery or not seen.running,
            f"The recovered server on {place.name} is promoted",
            timeout=START_PATIENCE,
            interval=0.3,
        )
    if not state.running:
        raise ToolFailed(f"The recovered server on {place.name} ended while it was promoted", state.words)
    return state.timeline


def stop(place: Place) -> None:
    must(place, postgres.stop(place.data), "Postgres could not be stopped")
