"""Reports on upgrades: what is newer, what would be done to whom, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgha import console
from pgha.cli.show_rollout import rollout_document, show_rollout
from pgha.cluster.rollout import Plan
from pgha.project.project import Project
from pgha.stack.upgrading import Looked, Upgraded, Versions
from pgha.tools.packages import PARTS, Newer

NOTHING = "the package mirror has nothing newer"


def show_upgrade_plan(project: Project, looked: Looked, plan: Plan, json: bool) -> None:
    """What is newer and what would be done; nothing was."""
    if json:
        hosts = {host: {"runs": dict(versions)} for host, versions in looked.runs.items()}
        document = {"hosts": hosts, "newer": _newer_document(looked.newer), "rollout": rollout_document(project, plan)}
        console.print_json({"project": project.name, **document})
        return
    _show_versions(looked.runs, looked.runs)
    _show_newer(looked.newer)
    show_rollout(project, plan, json=False)


def show_upgrade(project: Project, upgraded: Upgraded, json: bool) -> None:
    """What was done, with the versions before and after."""
    handover = upgraded.up.rolled.handover if upgraded.up and upgraded.up.rolled else None
    if json:
        hosts = {
            host: {"before": dict(upgraded.before.get(host, {})), "after": dict(versions)}
            for host, versions in upgraded.after.items()
        }
        switchover = handover and {
            "from": handover.old, "to": handover.new, "seconds": round(handover.leader_seconds, 1)
        }  # fmt: skip
        console.print_json(
            {
                "project": project.name,
                "newer": _newer_document(upgraded.newer),
                "hosts": hosts,
                "made_again": list(upgraded.made_again),
                "switchover": switchover,
                "notes": list(upgraded.up.notes) if upgraded.up else [],
            }
        )
        return
    _show_versions(upgraded.before, upgraded.after)
    if not upgraded.newer:
        console.show(NOTHING)
    if upgraded.up is None:
        console.show("no container is made again")
        return
    for note in upgraded.up.notes:
        console.show(note)
    if handover:
        console.show(f"switchover {handover.old} -> {handover.new}: leads after {handover.leader_seconds:.1f} s")
    made = f"made again: {', '.join(upgraded.made_again)}" if upgraded.made_again else "no container was made again"
    console.show(f"{made}; every member streams after {upgraded.up.seconds:.1f} s")


def _show_versions(before: Mapping[str, Versions], after: Mapping[str, Versions]) -> None:
    rows = [(host, *(_cell(before.get(host, {}), after[host], part) for part in PARTS)) for host in after]
    console.show(console.table("", ("Host", *PARTS), rows))


def _cell(before: Versions, after: Versions, part: str) -> str:
    was, now = before.get(part, ""), after.get(part, "")
    return now if was in ("", now) else f"{was} -> {now}"


def _show_newer(newer: Mapping[str, tuple[Newer, ...]]) -> None:
    if not newer:
        console.show(NOTHING)
        return
    rows = [(image, n.package, n.installed, n.offered) for image, found in newer.items() for n in found]
    console.show(console.table("", ("Image", "Package", "Has", "The mirror has"), rows))


def _newer_document(newer: Mapping[str, tuple[Newer, ...]]) -> dict[str, Any]:
    return {
        image: [{"package": n.package, "installed": n.installed or None, "offered": n.offered} for n in found]
        for image, found in newer.items()
    }
