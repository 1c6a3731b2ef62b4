"""Reports on rotations: what can be rotated, what would be done, and what was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pgha import console
from pgha.cli.show_passphrase import former_document, show_former
from pgha.model.words import json_time, time_text
from pgha.project.coming import PASSPHRASE, PASSWORDS
from pgha.project.passwords import GIVEN
from pgha.project.project import Project
from pgha.stack.rotatable import Age, ages
from pgha.stack.rotating import Rotated, RotationPlan
from pgha.status.document import error_document


def show_rotatable(project: Project, json: bool) -> None:
    """What can be rotated, how old it is, and how long it holds."""
    found = ages(project)
    if json:
        console.print_json({"project": project.name, "rotatable": [_age_document(age) for age in found]})
        return
    rows = [(age.what, _these(age), _made(age.made), _left(age), f"inv rotate --what {age.what}") for age in found]
    console.show(console.table("", ("What", "These", "Made", "Days left", "Replaced by"), rows))


def _these(age: Age) -> str:
    return ", ".join(age.replaces) if age.what in (PASSWORDS, PASSPHRASE) else f"{len(age.replaces)} {age.what}"


def _made(made: datetime | None) -> str:
    if made is None:
        return "not written down"
    days = (datetime.now(UTC) - made).days
    return f"{time_text(made, 'seconds')}, {days} day{'s' * (days != 1)} ago"


def _left(age: Age) -> str:
    return f"{age.terms[0].days_left} ({age.terms[0].whose})" if age.terms else ""


def _age_document(age: Age) -> dict[str, Any]:
    return {
        "what": age.what,
        "replaces": list(age.replaces),
        "made": json_time(age.made.replace(microsecond=0)) if age.made else None,
        "certificates": [
            {"whose": term.whose, "ends": json_time(term.ends), "days_left": term.days_left} for term in age.terms
        ]
        if age.terms
        else None,
    }


def show_rotation_plan(project: Project, plan: RotationPlan, json: bool) -> None:
    """What would be done; nothing was."""
    if json:
        console.print_json({
            "project": project.name,
            "what": plan.what,
            "resumed": plan.resumed,
            "replaces": list(plan.replaces),
            "given_by_settings": list(plan.given),
            "steps": [{"does": step.does, "hosts": list(step.hosts)} for step in plan.steps],
            "when_they_start": list(plan.later),
            "refused": [error_document(error) for error in plan.refusals],
        })  # fmt: skip
        return
    if plan.resumed:
        console.show(f"a rotation of the {plan.what} is half done: it would go on with it")
    console.show(f"replaces {', '.join(plan.replaces)}" if plan.steps else NOTHING)
    rows = [(n, step.does, ", ".join(step.hosts)) for n, step in enumerate(plan.steps, 1)]
    if rows:
        console.show(console.table("", ("Step", "What", "Hosts"), rows))
        console.show("no container is made again, no Postgres restarted")
    _show_rest(plan, console.show)
    for error in plan.refusals:
        console.show(f"! it would not begin now: {error.message.splitlines()[0]}")
    if plan.refusals:
        console.hint(plan.refusals[0].hint)


NOTHING = "nothing to do: the settings name every password, and those hold"


def show_rotated(project: Project, rotated: Rotated, json: bool) -> None:
    """What `rotate` did."""
    if json:
        console.print_json({
            "project": project.name,
            "what": rotated.what,
            "rotated": list(rotated.done),
            "given_by_settings": list(rotated.given),
            "resumed": rotated.resumed,
            "hosts": list(rotated.hosts),
            "when_they_start": list(rotated.later),
            "seconds": round(rotated.seconds, 1),
            **(former_document(project) if rotated.what == PASSPHRASE else {}),
        })  # fmt: skip
        return
    if rotated.what == PASSPHRASE:
        show_former(project, rotated)
    elif not rotated.done:
        console.show(NOTHING)
    else:
        console.show(f"other {rotated.what}: {', '.join(rotated.done)}; on {', '.join(rotated.hosts) or 'this host'}")
        where = f"; {project.relative(project.pgpass)} has the new one" if rotated.what == PASSWORDS else ""
        console.show(f"done in {rotated.seconds:.1f} s{where}")
    _show_rest(rotated, console.show)


def _show_rest(report: Rotated | RotationPlan, show: Callable[[str], None]) -> None:
    if report.later:
        show(f"not running: {', '.join(report.later)}; each takes it when it starts")
    if report.given:
        names = ", ".join(GIVEN[name] for name in report.given)
        show(f"as the settings say: {names}; set another one there and rotate again")
