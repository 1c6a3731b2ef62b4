"""Whose a project is: containers and volumes carry their checkout's id, and only that one changes or destroys them."""

from __future__ import annotations

from dataclasses import replace

from pgha.errors import OtherCheckout
from pgha.project.checkout import checkout_id, root_of
from pgha.project.project import Project
from pgha.remote import engine


def require_ours(project: Project) -> None:
    """Raises OtherCheckout when a container or volume of this name belongs to another checkout.

    One without the label is older than the label, and anybody's. Without an engine there is nothing to change; of
    several those that answer tell.
    """
    if not project.topology.machines and engine.engine_problem(project) is not None:
        return
    containers, volumes = engine.owners(project), engine.volume_owners(project)
    if not {*containers, *volumes} - {""}:
        return
    ours = {"", checkout_id(project.root)}
    # Whoever took the project over made its containers again. A volume keeps the label of its first owner.
    foreign = {owner: folder for owner, folder in containers.items() if owner not in ours}
    foreign |= dict.fromkeys(volumes - ours - {*project.record().taken, *foreign}, "")
    if foreign:
        where = next((f", {root_of(folder)}," for folder in foreign.values() if folder), "")
        raise OtherCheckout(
            f"Project {project.name} belongs to another checkout{where} and not to {project.root}",
            "use that checkout, or choose another name: INVOKE_PGHA_PROJECT=...; "
            "inv up --take-over makes the project this checkout's (docs/settings.md)",
        )


def take_over(project: Project) -> None:
    """From now on the project is this checkout's. A volume's label cannot be changed: whose it was is written down."""
    record = project.record()
    others = engine.volume_owners(project) - {"", checkout_id(project.root)}
    project.write_record(replace(record, taken=tuple(sorted({*record.taken, *others}))))
