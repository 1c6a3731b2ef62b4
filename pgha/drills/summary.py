"""The numbers of a scenario over its runs, and whether they keep its promise. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgha.drills.alerts import words_of
from pgha.drills.result import Result
from pgha.drills.scenario import Scenario
from pgha.drills.scenarios import SCENARIOS
from pgha.model.settings import Settings


@dataclass(frozen=True)
class Spread:
    """Median and worst of the runs, in seconds."""

    median: float
    worst: float


@dataclass(frozen=True)
class Summary:
    """One scenario over all its runs."""

    scenario: Scenario
    runs: int
    objective: float
    """Seconds without an acknowledged write that are allowed (median of the runs)."""
    write_gap: Spread
    read_gap: Spread | None
    new_leader: Spread | None
    redundant: Spread | None
    never_whole: int
    """Runs after which the cluster did not become whole by itself; `redundant` has no seconds of theirs."""
    stale: float
    acknowledged: int
    lost: int
    unknown: int
    phantom: int
    duplicates: int
    two_leaders: int
    missed: tuple[str, ...]
    alerts: str = ""
    """what fired, and when; nothing without monitoring"""
    alerts_left: tuple[str, ...] = ()
    """which of them still fired after all was whole"""


def summarize(settings: Settings, results: Sequence[Result]) -> list[Summary]:
    """One summary for each scenario that was played, in the order of the scenarios."""
    made = []
    for scenario in SCENARIOS:
        own = [result for result in results if result.scenario == scenario.name]
        if own:
            made.append(_summary(settings, scenario, own))
    return made


def _summary(settings: Settings, scenario: Scenario, results: Sequence[Result]) -> Summary:
    objective = scenario.allowed(settings)
    gap = _spread(result.write_gap.seconds for result in results)
    assert gap is not None
    missed = [f"run {result.run}: {sentence}" for result in results for sentence in result.missed]
    if gap.median > objective:
        missed.append(f"writes stopped for {gap.median:.1f} s, promised is {objective:g} s ({scenario.objective})")

    def total(name: str) -> int:
        return sum(len(getattr(result.verdict, name)) for result in results)

    return Summary(
        scenario=scenario,
        runs=len(results),
        objective=objective,
        write_gap=gap,
        read_gap=_spread(result.read_gap.seconds for result in results if result.read_gap),
        new_leader=_spread(result.new_leader for result in results if result.new_leader is not None),
        redundant=_spread(result.redundant_after for result in results if result.redundant_after is not None),
        never_whole=sum(not result.whole for result in results),
        stale=max(result.stale for result in results),
        acknowledged=sum(result.verdict.acknowledged for result in results),
        lost=total("lost"),
        unknown=total("unknown"),
        phantom=total("phantom"),
        duplicates=total("duplicates"),
        two_leaders=total("two_leaders"),
        missed=tuple(missed),
        alerts=_alerts(scenario.name, results),
        alerts_left=tuple(sorted({f.name for result in results for f in result.alerts or () if f.gone is None})),
    )


def _alerts(scenario: str, results: Sequence[Result]) -> str:
    watched = [(result.marks.injected or 0.0, result.alerts) for result in results if result.alerts is not None]
    return words_of(scenario, watched) if watched else ""


def _spread(values: Iterable[float]) -> Spread | None:
    seconds = list(values)
    return Spread(statistics.median(seconds), max(seconds)) if seconds else None
