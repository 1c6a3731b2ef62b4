"""A series of drills: which scenarios, how often, and the report of what was seen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgha.console import Progress
from pgha.drills import report, runner, shape
from pgha.drills.health import require_healthy
from pgha.drills.result import Result
from pgha.drills.scenario import Scenario
from pgha.drills.scenarios import BY_NAME, SCENARIOS
from pgha.drills.summary import Summary, summarize
from pgha.errors import BadValue, Missed, PghaError
from pgha.failures import broken
from pgha.model.words import counted
from pgha.project.project import Project

MAX_RUNS = 100


@dataclass(frozen=True)
class Series:
    """What was played, what could not be played here and why, and where the report lies."""

    summaries: tuple[Summary, ...]
    skipped: dict[str, str]
    folder: Path
    error: PghaError | None = None
    """Why it ended early; the cluster was not whole, or a drill had no verdict."""


def choose(project: Project, name: str, all_: bool) -> tuple[list[Scenario], dict[str, str]]:
    """The scenarios to play, and for `all` those this topology cannot play, each with its reason.

    Raises BadValue unless one known scenario is named, or all are asked for.
    """
    if bool(name) == all_:
        raise BadValue(
            "Name a scenario, or ask for all", "inv drill.list; inv drill --name leader-killed; inv drill --all"
        )
    if name:
        if name not in BY_NAME:
            raise BadValue(f"{name} is not a scenario", f"one of {', '.join(BY_NAME)}")
        return [BY_NAME[name]], {}
    reasons = {s.name: s.lacking(project.settings, project.topology) or s.only_by_name for s in SCENARIOS}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    return [scenario for scenario in SCENARIOS if scenario.name not in skipped], skipped


def drill(project: Project, name: str, all_: bool, runs: int, progress: Progress) -> Series:
    """Play scenarios one after another and write the report, also of a series that ends early.

    The caller holds the lock. Raises BadValue, and Missing for a cluster that is not healthy.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise BadValue(f"{runs} runs are not between 1 and {MAX_RUNS}", "inv drill --all --runs 5")
    scenarios, skipped = choose(project, name, all_)
    require_healthy(project)
    report.require_plots()
    folder = project.reports / time.strftime("%Y%m%d-%H%M%SZ", time.gmtime())
    results: list[Result] = []
    early: PghaError | None = None
    why = "it was interrupted"
    try:
        for scenario in scenarios:
            for run in range(1, runs + 1):
                results.append(runner.play(project, scenario, run, folder, progress))
                if not results[-1].whole or broken.read(project) or shape.is_changed(project):
                    runner.make_whole(project, progress)
        why = ""
    except PghaError as error:
        early, why = error, error.message
    finally:
        summaries = tuple(summarize(project.settings, results))
        if results:
            report.write(report.as_document(project, summaries, results, skipped, why), results, folder)
    return Series(summaries, skipped, folder, early)


def require_kept(played: Series, document: dict[str, Any] | None = None) -> None:
    """Raises Missed and names every promise that was not kept; without any, what ended the series early.

    The error carries the report's document where one is given.
    """
    missed = [f"{summary.scenario.name}: {sentence}" for summary in played.summaries for sentence in summary.missed]
    error = played.error
    if missed:
        count = counted(len(missed), "promise", "was", "were")
        early = [f"The series ended early: {error.message}"] if error else []
        error = Missed(
            "\n  ".join([f"{count} not kept:", *missed, *early]),
            f"see {played.folder}/report.html and the logs in the folders beside it",
        )
    if error:
        error.document = document or {}
        raise error
