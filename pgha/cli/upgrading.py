"""An upgrade as an operator meets it: checked, asked for, begun, completed or undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgha import console
from pgha.cli.show_status import show_view
from pgha.cli.show_upgrade import show_upgrade, show_upgrade_plan
from pgha.console import Progress
from pgha.errors import BadValue, Missing
from pgha.project.project import Project
from pgha.project.upgrade_record import Record, read_upgrade, refuse_half_upgraded, way_on
from pgha.stack import upgrading
from pgha.status.document import view_document
from pgha.upgrade import abort, gates, major
from pgha.upgrade.gates import Checked


@dataclass(frozen=True)
class Asked:
    """The flags of `upgrade`."""

    minor: bool = False
    major: str = ""
    abort: bool = False
    drop_slots: bool = False

    def __post_init__(self) -> None:
        """Raises BadValue unless it is one of the three."""
        if sum((self.minor, bool(self.major), self.abort)) != 1:
            raise BadValue(
                "upgrade is one of --minor, --major and --abort", "inv upgrade --minor, inv upgrade --major 18"
            )


def plan_upgrade(project: Project, asked: Asked, json: bool) -> None:
    """What would be done; nothing is."""
    if asked.abort:
        raise BadValue("--abort has no plan", "inv status tells how far an upgrade has come")
    if asked.minor:
        looked = upgrading.look(project, Progress())
        show_upgrade_plan(project, looked, upgrading.plan(project, looked), json)
        return
    refuse_half_upgraded(project)
    checked = gates.check(project, gates.wanted(asked.major), drop_slots=asked.drop_slots)
    if checked and gates.is_built(checked):
        gates.require_extensions(checked)
    _show_plan(project, checked, asked, json)


def run_upgrade(project: Project, asked: Asked, progress: Progress, yes: bool, json: bool) -> None:
    """Do it, go on with it, or go back. The caller holds the lock."""
    half_done = read_upgrade(project)
    if asked.abort:
        _abort(project, half_done, progress, yes, json)
    elif asked.minor:
        refuse_half_upgraded(project)
        show_upgrade(project, upgrading.upgrade(project, progress), json)
    else:
        _major(project, asked, half_done, progress, yes, json)


def _major(project: Project, asked: Asked, half_done: Record | None, progress: Progress, yes: bool, json: bool) -> None:
    """Raises BadValue when another major is asked for than the half-done upgrade goes to."""
    wanted = gates.wanted(asked.major)
    if half_done:
        if wanted != half_done.new:
            raise BadValue(f"An upgrade to {half_done.new} is half done, not to {wanted}", way_on(half_done))
        console.confirm(f"Complete the upgrade to {wanted}, which is at stage {half_done.stage}?", yes)
        _show(project, major.resume(project, half_done, progress), json)
        return
    checked = gates.check(project, wanted, drop_slots=asked.drop_slots)
    if checked is None:
        _show_plan(project, None, asked, json)
        return
    console.confirm(
        f"Upgrade project {project.name} from PostgreSQL {checked.old} to {checked.new}? Writes stop meanwhile, and "
        "every replica is made again.",
        yes,
    )
    _show(project, major.upgrade(checked, progress), json)


def _abort(project: Project, half_done: Record | None, progress: Progress, yes: bool, json: bool) -> None:
    if half_done is None:
        raise Missing("No major upgrade is half done", "inv status")
    if half_done.may_go_back:
        console.confirm(f"Bring the cluster of PostgreSQL {half_done.old} of project {project.name} back?", yes)
    view = abort.abort(project, half_done, progress)
    if json:
        console.print_json({"project": project.name, "postgres": half_done.old, **view_document(view)})
        return
    show_view("", project, view)
    console.show(f"the upgrade is undone: the cluster of PostgreSQL {half_done.old} is back")


STEPS = (
    "images of PostgreSQL {new}, where they are not built, and one with the programs of both",
    "pg_upgrade of a copy of the schemas: what it refuses is known before anything is touched",
    "an incremental backup",
    "writes stop: Patroni and Postgres are stopped on every member, {leader} last",
    "pg_upgrade --check, then --link, with the data of {leader}; beside it containers of PostgreSQL {new} are made",
    "{leader} leads, writes go on; from here on there is no way back",
    "stanza-upgrade; every other member is made again; vacuumdb --analyze-in-stages; a full backup",
    "etcd's containers are made again, one after another; the old data is removed",
)


def _show_plan(project: Project, checked: Checked | None, asked: Asked, json: bool) -> None:
    steps = [step.format(new=checked.new, leader=checked.leader) for step in STEPS] if checked else []
    if json:
        slots = list(checked.facts.slots) if checked else []
        document: dict[str, Any] = {
            "project": project.name,
            "to": int(asked.major),
            "steps": steps,
            "slots_lost": slots,
        }
        console.print_json(document)
        return
    if checked is None:
        console.show(f"{project.name} runs PostgreSQL {asked.major}: nothing is to be upgraded")
        return
    console.show(f"PostgreSQL {checked.old} to {checked.new}")
    for number, step in enumerate(steps, 1):
        console.show(f"{number}. {step}")
    if checked.facts.slots:
        console.show(f"logical slots that are lost: {', '.join(checked.facts.slots)}")


def _show(project: Project, report: major.Report, json: bool) -> None:
    record = report.record
    if json:
        console.print_json(
            {
                "project": project.name,
                "from": record.old,
                "to": record.new,
                "leader": record.leader,
                "backup_before": record.label or None,
                "seconds": record.seconds,
                "outage_seconds": report.outage,
                "notes": list(report.notes),
                **{key: value for key, value in view_document(report.view).items() if key != "leader"},
            }
        )
        return
    show_view("", project, report.view)
    for note in report.notes:
        console.show(f"! {note}")
    told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record.seconds.items())
    console.show(f"PostgreSQL {record.old} -> {record.new}; writes stopped for about {report.outage:.0f} s ({told})")
    console.hint(f"set postgres: {record.new} in your settings; until then every inv render needs -v {record.new}")
