"""A restore as an operator meets it: checked, asked for, begun, completed or undone."""

from __future__ import annotations

from pgha import console
from pgha.backup import abort, members, preparation, restore
from pgha.backup.restore_record import NO_WAY_BACK, Record, way_on
from pgha.backup.targets import Request
from pgha.cli.show_status import show_view
from pgha.console import Progress
from pgha.errors import BadValue, Missing
from pgha.project.project import Project


def run_restore(project: Project, request: Request, half_done: Record | None, yes: bool) -> restore.Report:
    """Check, ask, and restore; or complete what an interrupted command left.

    Raises BadValue when another point is asked for than the half-done restore goes to.
    """
    progress = Progress()
    if half_done:
        asked = Request(**half_done.request)
        if request not in (Request(), asked):
            raise BadValue(f"A restore to {asked} is half done, not to {request}", way_on(half_done))
        console.confirm(f"Complete the restore to {asked}, which is at stage {half_done.stage}?", yes)
        if half_done.stage not in NO_WAY_BACK:
            members.require_together(project)
        return restore.resume(project, half_done, progress)
    prepared = prepare(project, request, progress)
    members.require_together(project)
    for warning in preparation.warnings(project):
        progress.note(warning)
    console.confirm(
        f"Restore project {project.name} to {request} from backup {prepared.target.backup.label}? "
        "What was committed after that point goes.",
        yes,
    )
    return restore.restore(project, prepared, progress)


def prepare(project: Project, request: Request, progress: Progress) -> preparation.Prepared:
    """Resolve a point, and say what has to be known about it before anything happens."""
    prepared = preparation.prepare(project, request, progress)
    for note in prepared.target.notes:
        progress.note(note)
    return prepared


def abort_restore(project: Project, half_done: Record | None, yes: bool) -> None:
    """Raises Missing when no restore is half done."""
    if half_done is None:
        raise Missing("No restore is half done", "inv status")
    console.confirm(f"Bring the old cluster of project {project.name} back?", yes)
    view = abort.abort(project, half_done, Progress())
    show_view("", project, view)
    console.show("the restore is undone: the old cluster is back")
