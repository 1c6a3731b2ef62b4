"""The certificates: whose, for which names, and how long they hold."""

from __future__ import annotations

from pgha import console
from pgha.errors import NotRendered
from pgha.model.words import json_time, time_text
from pgha.project.project import Project
from pgha.project.successors import terms


def show_certificates(project: Project, json: bool) -> None:
    """The first to end first. Raises NotRendered when there are none, Damaged."""
    held = terms(project)
    if json:
        console.print_json({
            "project": project.name,
            "tls": project.settings.tls,
            "certificates": [
                {"whose": term.whose, "made": json_time(term.made), "ends": json_time(term.ends),
                 "days_left": term.days_left, "names": list(term.names)}
                for term in held
            ],
        })  # fmt: skip
        return
    if not held:
        raise NotRendered(f"Project {project.name} has no certificates", "inv keys makes them, or inv up")
    rows = [(t.whose, time_text(t.ends, "minutes"), f"{t.days_left}", " ".join(t.names)) for t in held]
    console.show(console.table("", ("Whose", "Ends", "Days left", "Names"), rows))
