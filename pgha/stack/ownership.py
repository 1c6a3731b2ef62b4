"""Whose a project is: containers and volumes carry their checkout's id, and only that one changes or destroys them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pgha.errors import OtherCheckout
from pgha.project.checkout import checkout_id
from pgha.project.project import Project
from pgha.remote import engine


def require_ours(project: Project) -> None:
    """Raises OtherCheckout when a container or volume of this name belongs to another checkout.

    One without the label is older than the label, and anybody's. Without an engine there is nothing to change.
    """
    if engine.engine_problem() is not None:
        return
    owners = _foreign(project)
    if owners:
        where = next((f", {Path(folder).parent.parent}," for folder in owners.values() if folder), "")
        raise OtherCheckout(
            f"Project {project.name} belongs to another checkout{where} and not to {project.root}",
            "use that checkout, or choose another name: INVOKE_PGHA_PROJECT=...; "
            "inv up --take-over makes the project this checkout's (docs/settings.md)",
        )


def take_over(project: Project) -> None:
    """From now on the project is this checkout's. A volume's label cannot be changed: whose it was is written down."""
    record = project.record()
    taken = {*record.taken, *_foreign(project)}
    project.write_record(replace(record, taken=tuple(sorted(taken))))


def _foreign(project: Project) -> dict[str, str]:
    """Other checkouts that own a part of the project: id -> the folder its compose file was in, when that is known."""
    owners = engine.owners(project)
    if not owners.keys() - {""}:
        return {}
    ours = {"", checkout_id(project.root), *project.record().taken}
    return {owner: folder for owner, folder in owners.items() if owner not in ours}
