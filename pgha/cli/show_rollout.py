"""Reports on rollouts: what would be done to whom, and what was."""

from __future__ import annotations

from typing import Any

from pgha import console
from pgha.cluster.restart import Restarted
from pgha.cluster.rollout import Plan
from pgha.errors import BadValue
from pgha.project.project import Project
from pgha.status.document import error_document


def require_plan(plan: bool) -> None:
    """Raises BadValue for `up --json`, which is for the plan alone."""
    if not plan:
        raise BadValue("--json is for the plan", "inv up --plan --json")


def show_rollout(project: Project, plan: Plan, json: bool) -> None:
    """What would be done; nothing was."""
    if json:
        console.print_json(rollout_document(project, plan))
        return
    for note in plan.notes:
        console.show(note)
    if not plan.empty:
        console.show(console.table("", ("Turn", "Host", "Is", "What", "Why"), plan.turns))
    console.show(*plan.sentences)
    for error in plan.refusals:
        console.show(f"! it would not begin now: {error.message.splitlines()[0]}")
    if plan.refusals:
        console.hint(plan.refusals[0].hint)


def rollout_document(project: Project, plan: Plan) -> dict[str, Any]:
    """The plan for `--json`."""
    return {
        "project": project.name,
        "verb": plan.verb,
        "way": plan.way,
        "at_once_because": plan.at_once or None,
        "in_place_because": plan.in_place or None,
        "switchover": plan.hands_over,
        "turns": [{key: value or None for key, value in turn._asdict().items()} for turn in plan.turns],
        "done_before": list(plan.done),
        "notes": list(plan.notes),
        "refused": [error_document(error) for error in plan.refusals],
    }


def show_restart(project: Project, restarted: Restarted, json: bool) -> None:
    """What was restarted."""
    handover = restarted.rolled.handover
    if json:
        console.print_json(
            {
                "project": project.name,
                "restarted": list(restarted.rolled.done),
                "done_before": [name for name in restarted.done if name not in restarted.rolled.done],
                "switchover": {"from": handover.old, "to": handover.new, "seconds": round(handover.leader_seconds, 1)}
                if handover
                else None,
                "pending_restart": {name: list(parameters) for name, parameters in restarted.still_pending.items()},
            }
        )
        return
    if not restarted.rolled.done:
        before = f": {', '.join(restarted.done)} have been since it began" if restarted.done else ""
        console.show(f"no member is to be restarted{before}")
        return
    if handover:
        console.show(f"switchover {handover.old} -> {handover.new}: leads after {handover.leader_seconds:.1f} s")
    console.show(f"restarted: {', '.join(restarted.rolled.done)}; every member streams")
    for name, parameters in restarted.still_pending.items():
        console.show(f"! {name}: a restart is still pending for {', '.join(parameters)}")
