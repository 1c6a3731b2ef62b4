"""`inv drill`: play a failure under load, measure it, and hold it against its promise."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence

from invoke import task

from pgha import console
from pgha.cli.changing import changing
from pgha.cli.executor import project_of
from pgha.drills.scenario_alerts import EXPECTED
from pgha.drills.scenarios import SCENARIOS
from pgha.drills.summary import Spread, Summary
from pgha.errors import BadValue


@task(
    default=True,
    name="run",
    help={
        "name": "a scenario of inv drill.list",
        "all": "every scenario this topology can play",
        "runs": "how often each is played",
        "json": "one JSON document",
    },
)
def run(c, name="", all=False, runs="1", json=False):
    """Break something under load, measure what clients see, heal, and check every write.

    Example: inv drill --name leader-killed --runs 3
    """
    from pgha.drills import series

    if not runs.isdigit():
        raise BadValue(f"--runs {runs} is not a number", "inv drill --all --runs 5")
    with changing(c, "drill") as (project, progress):
        played = series.drill(project, name, all, int(runs), progress)
    if not played.summaries:
        series.require_kept(played)
    if json:
        document = json_.loads((played.folder / "report.json").read_text())
        series.require_kept(played, document)
        console.print_json(document)
    else:
        _show(project.settings.durability, played.summaries)
        for scenario, reason in played.skipped.items():
            console.show(f"not played: {scenario} {reason}")
        console.show(f"report: {played.folder.relative_to(project.folder.parent.parent)}/report.html")
        series.require_kept(played)


@task(name="list")
def list_(c):
    """Show the scenarios: what each breaks and what it promises.

    Example: inv drill.list
    """
    project = project_of(c)
    rows = []
    for scenario in SCENARIOS:
        bound = f"{scenario.allowed(project.settings):g} s"
        lacking = scenario.lacking(project.settings, project.topology)
        apart = f"not with --all: {scenario.only_by_name}" if scenario.only_by_name else ""
        rows.append((scenario.name, scenario.breaks, scenario.promise, bound, lacking or apart))
    console.show(console.table("", ("Scenario", "Breaks", "Promises", "Write gap", "Not here"), rows))
    if project.topology.monitoring:
        named = [(s.name, e.name, f"{e.within:g} s") for s in SCENARIOS for e in EXPECTED.get(s.name, ())]
        console.show(console.table("Alerts that have to fire", ("Scenario", "Alert", "Within"), named))
    lost = project.settings.drill_lost_writes
    console.show(f"With quorum commit at most {lost} acknowledged writes may be lost; async promises nothing there.")


def _show(durability: str, summaries: Sequence[Summary]) -> None:
    columns = ("Scenario", "Write gap", "Read gap", "New leader", "Whole again", "Lost", "In doubt", "Two leaders",
               "Promise (s)")  # fmt: skip
    watched = any(s.alerts for s in summaries)
    rows = [
        (s.scenario.name, _seconds(s.write_gap), _seconds(s.read_gap), _seconds(s.new_leader), _whole(s), s.lost,
         s.unknown, s.two_leaders, f"{'MISSED' if s.missed else 'kept'} ({s.objective:g})")
        for s in summaries
    ]  # fmt: skip
    runs = " to ".join(str(number) for number in sorted({s.runs for s in summaries}))
    title = f"durability: {durability}; runs: {runs}; seconds, median/worst"
    console.show(console.table(title, columns, rows))
    if watched:
        fired = [
            (s.scenario.name, s.alerts, f"{', '.join(s.alerts_left)} stays" if s.alerts_left else "gone when whole")
            for s in summaries
        ]
        console.show(console.table("Alerts: seconds from the fault; + is not named", ("Scenario", "Fired", ""), fired))


def _whole(summary: Summary) -> str:
    """Runs that never became whole have no seconds, and must not be missing from the table."""
    parts = [_seconds(summary.redundant)] if summary.redundant else []
    if summary.never_whole:
        parts.append(f"{summary.never_whole} never")
    return "; ".join(parts)


def _seconds(spread: Spread | None) -> str:
    if spread is None:
        return ""
    median, worst = f"{spread.median:.1f}", f"{spread.worst:.1f}"
    return median if median == worst else f"{median}/{worst}"
