"""The dynamic configuration as an operator meets it: shown, and changed when the difference was seen and agreed to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgha import console
from pgha.cluster.config_change import Planned, Taken, apply_change, plan_change
from pgha.console import Progress
from pgha.project.project import Project

RESTART = "inv restart --pending"


def change_config(
    project: Project, sets: Sequence[str], unsets: Sequence[str], yes: bool, json: bool, progress: Progress
) -> None:
    """Check, show, ask, apply, and say what waits for a restart."""
    planned = plan_change(project, sets, unsets)
    if not planned.changes:
        if json:
            console.print_json(_document(planned, Taken({}, {}, ())))
        else:
            console.show("nothing to change: the dynamic configuration holds that")
        return
    if json:
        for line in _lines(planned):
            progress.note(line)
    else:
        console.show(console.table("", ("Key", "Before", "After", "In force"), _rows(planned)))
    console.confirm(f"Change the dynamic configuration of project {project.name}?", yes)
    taken = apply_change(project, planned, progress)
    if json:
        console.print_json(_document(planned, taken))
    _show_taken(taken, json)


def _rows(planned: Planned) -> list[tuple[str, str, str, str]]:
    return [
        (
            change.key,
            _text(change.before),
            _text(change.after),
            f"{change.in_force}{' until a restart' if change.restart else ''}",
        )
        for change in planned.changes
    ]


def _lines(planned: Planned) -> list[str]:
    return [f"{change.key}: {_text(change.before)} -> {_text(change.after)}" for change in planned.changes]


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show_taken(taken: Taken, json: bool) -> None:
    if not json:
        console.show("every member has taken it" if not taken.unaware else "every member that answers has taken it")
    for name, why in taken.unaware.items():
        console.err().print(f"{name} takes it when it is back: {why.splitlines()[0]}", markup=False)
    for line in taken.overridden:
        console.err().print(line, markup=False)
    if not taken.pending:
        return
    for name, parameters in taken.pending.items():
        if not json:
            console.show(f"{name} waits for a restart: {', '.join(parameters)}")
    console.hint(RESTART)


def _document(planned: Planned, taken: Taken) -> dict[str, Any]:
    return {
        "changes": [{"key": c.key, "before": c.before, "after": c.after} for c in planned.changes],
        "pending_restart": {name: list(parameters) for name, parameters in taken.pending.items()},
        "unaware": dict(taken.unaware),
        "overridden": list(taken.overridden),
    }
