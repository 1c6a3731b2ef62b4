"""The report of a series: JSON for programs, and one HTML page with plots that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from pgha import ROOT
from pgha.cluster.view import node_names
from pgha.drills.ledger import ACKNOWLEDGED
from pgha.drills.result import Result
from pgha.drills.scenario_alerts import EXPECTED
from pgha.drills.summary import Spread, Summary
from pgha.errors import NotReady, PghaError
from pgha.model.words import json_time, time_of
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import etcd, postgres
from pgha.tools.command import Command

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BIN = 0.25
"""Seconds of one bar of writes."""

ROLE_COLOURS = {"leader": "#1f6fb4", "replica": "#c9d7e3", "": "#e8b4ae"}


def require_plots() -> None:
    """Raises Missing when this Python has no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise NotReady(f"The drill's report needs matplotlib ({error})", "pip install -e '.[drill]'") from None


def write(document: dict[str, Any], results: Sequence[Result], folder: Path) -> None:
    """`report.json` and `report.html` in the folder."""
    write_file(folder / "report.json", json.dumps(document, indent=1) + "\n")
    write_file(folder / "report.html", page(document, results))


def as_document(
    project: Project, summaries: Sequence[Summary], results: Sequence[Result], skipped: dict[str, str],
    ended_early: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Everything but the single writes; `ended_early` says why not everything was played."""
    s = project.settings
    return {
        "project": project.name,
        "durability": s.durability,
        "topology": {
            "data_centers": s.data_centers,
            "nodes_per_data_center": s.nodes,
            "sites": {site.name: [host.name for host in project.topology.at(site)] for site in project.topology.sites},
            "standbys_that_acknowledge": project.topology.synchronous_node_count if s.durability == "quorum" else 0,
        },
        "patroni": {"ttl": s.ttl, "loop_wait": s.loop_wait, "retry_timeout": s.retry_timeout},
        "versions": versions(project),
        "scenarios": [_summary_document(summary) for summary in summaries],
        "runs": [_run_document(result) for result in results],
        "skipped": skipped,
        "ended_early": ended_early,
    }


def versions(project: Project) -> dict[str, str]:
    """What runs in the nodes, as each tool tells it."""
    asked = {
        "PostgreSQL": postgres.query("show server_version"),
        "Patroni": Command(("patroni", "--version")),
        "etcd": etcd.version(),
        "pgBackRest": Command(("pgbackrest", "version")),
    }
    found = {}
    for name, command in asked.items():
        try:
            answer = connect(project).first(node_names(project), command, str)[1]
            number = re.search(r"\d[\w.]*", answer)
            found[name] = number[0] if number else answer.strip()
        except PghaError as error:
            found[name] = f"unknown ({error.message.splitlines()[0]})"
    return found


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return {"median": round(spread.median, 3), "worst": round(spread.worst, 3)} if spread else None


def _summary_document(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.scenario.name,
        "breaks": summary.scenario.breaks,
        "promise": summary.scenario.promise,
        "runs": summary.runs,
        "objective_seconds": summary.objective,
        "objective_setting": summary.scenario.objective,
        "write_gap_seconds": _spread(summary.write_gap),
        "read_gap_seconds": _spread(summary.read_gap),
        "new_leader_seconds": _spread(summary.new_leader),
        "redundant_seconds": _spread(summary.redundant),
        "never_whole": summary.never_whole,
        "stale_seconds": round(summary.stale, 3),
        "acknowledged": summary.acknowledged,
        "lost": summary.lost,
        "unknown": summary.unknown,
        "phantom": summary.phantom,
        "duplicates": summary.duplicates,
        "two_leaders": summary.two_leaders,
        "alerts": summary.alerts or None,
        "alerts_named": {e.name: e.within for e in EXPECTED.get(summary.scenario.name, ())} if summary.alerts else None,
        "missed": list(summary.missed),
    }


def _run_document(result: Result) -> dict[str, Any]:
    return {
        "scenario": result.scenario,
        "run": result.run,
        "began_at": json_time(time_of(round(result.began_at, 3))),
        "leader": result.leader,
        "marks": {name: None if at is None else round(at, 3) for name, at in asdict(result.marks).items()},
        "write_gap": {"begins": round(result.write_gap.begins, 3), "seconds": round(result.write_gap.seconds, 3)},
        "read_gap_seconds": round(result.read_gap.seconds, 3) if result.read_gap else None,
        "new_leader_seconds": None if result.new_leader is None else round(result.new_leader, 3),
        "redundant_seconds": None if result.redundant_after is None else round(result.redundant_after, 3),
        "lost": list(result.verdict.lost),
        "phantom": list(result.verdict.phantom),
        "duplicates": list(result.verdict.duplicates),
        "two_leaders": list(result.verdict.two_leaders),
        "shared_timelines": list(result.verdict.shared_timelines),
        "unknown": len(result.verdict.unknown),
        "unknown_present": result.verdict.unknown_present,
        "acknowledged": result.verdict.acknowledged,
        "probed": result.verdict.probed,
        "roles": {member: [[round(at, 3), role] for at, role in roles] for member, roles in result.roles.items()},
        "asked": list(result.asked),
        "alerts": _alerts_document(result),
        "missed": list(result.missed),
    }


def _alerts_document(result: Result) -> list[dict[str, Any]] | None:
    """In seconds from the fault; nothing without monitoring."""
    if result.alerts is None:
        return None
    fault = result.marks.injected or 0.0
    return [
        {
            "name": fired.name,
            "hosts": list(fired.hosts),
            "seconds": round(fired.first - fault, 1),
            "gone_seconds": None if fired.gone is None else round(fired.gone - fault, 1),
        }
        for fired in result.alerts
    ]


# The page ---------------------------------------------------------------------------------------------------


def page(document: dict[str, Any], results: Sequence[Result]) -> str:
    """One HTML page; its plots are inside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"), undefined=jinja2.StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    plots: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        plots.setdefault(result.scenario, []).append({"run": result.run, "image": plot(result)})
    return environment.get_template("drills.html.j2").render(document=document, plots=plots)


def plot(result: Result) -> str:
    """A run as an SVG image in a data URL: writes per second above, who leads below."""
    from matplotlib.figure import Figure

    # No pyplot: it keeps every figure and looks for a display.
    figure = Figure(figsize=(11, 2.6 + 0.22 * len(result.roles)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, max(1.0, 0.35 * len(result.roles))])
    _plot_writes(above, result)
    _plot_roles(below, result)
    for axes in (above, below):
        _plot_marks(axes, result)
        axes.set_xlim(0, result.marks.ended)
    below.set_xlabel("seconds since the clients started")
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue().encode()).decode()


def _plot_writes(axes: Axes, result: Result) -> None:
    edges = [i * BIN for i in range(int(result.marks.ended / BIN) + 2)]
    for outcome, colour in ((ACKNOWLEDGED, "#2f7d4f"), ("unknown", "#d98b00"), ("refused", "#b3362b")):
        moments = [write.ended for write in result.writes if write.outcome == outcome]
        axes.hist(moments, bins=edges, weights=[1 / BIN] * len(moments), color=colour, label=outcome, stacked=False,
                  histtype="stepfilled" if outcome == ACKNOWLEDGED else "bar")  # fmt: skip
    gap = result.write_gap
    axes.axvspan(gap.begins, gap.ends, color="#b3362b", alpha=0.15, label=f"gap {gap.seconds:.1f} s")
    axes.set_ylabel("writes/s")
    axes.legend(loc="lower right", fontsize="small", ncols=4)


def _plot_roles(axes: Axes, result: Result) -> None:
    members = sorted(result.roles, reverse=True)
    for height, member in enumerate(members):
        changes = [*result.roles[member], (result.marks.ended, "")]
        for (since, role), (until, _) in pairwise(changes):
            axes.barh(height, max(0.0, until - since), left=since, height=0.7, color=ROLE_COLOURS[role])
    axes.set_yticks(range(len(members)), members, fontsize="small")


def _plot_marks(axes: Axes, result: Result) -> None:
    marks = result.marks
    for name, at, colour in (
        ("broken", marks.injected, "#b3362b"),
        ("served", marks.served, "#2f7d4f"),
        ("healed", marks.healed, "#1f6fb4"),
        ("whole", marks.redundant, "#555555"),
    ):
        if at is not None:
            axes.axvline(at, color=colour, linewidth=1, linestyle="--")
            if axes.get_subplotspec() and axes.get_subplotspec().is_first_row():  # type: ignore[union-attr]
                axes.annotate(name, (at, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                              fontsize="small", color=colour)  # fmt: skip
