"""Reports on backups, restores and the schedule."""

from __future__ import annotations

from datetime import UTC, datetime

from pgha import console
from pgha.backup import catalogue, clones, restore
from pgha.backup.targets import Request
from pgha.cli.words import result_text
from pgha.model.words import size_text, time_text
from pgha.project.project import Project
from pgha.project.repositories import former
from pgha.stack import crontab
from pgha.tools import cron, pgbackrest
from pgha.tools.repository import Backup


def show_backup(made: Backup, asked: str) -> None:
    if made.type != asked:
        console.show(f"there was no backup a {asked} one could be based on, so it is a {made.type} one")
    console.show(
        f"{made.type} backup {made.label}: {made.stop - made.start} s, database {size_text(made.database_size)}, "
        f"added to the repository {size_text(made.repository_size)}"
    )


def show_windows(project: Project) -> None:
    """What can be restored, from the repository in use and from the former one that is kept."""
    console.show(f"can be restored: {catalogue.read_window(project) or 'nothing yet'}")
    kept = former(project)
    if kept:
        console.show(f"from the former repository (repo{kept}): {catalogue.read_window(project, kept) or 'nothing'}")


def show_restore(report: restore.Report) -> None:
    rows = []
    for member in report.view.members:
        made = "restored" if member.name == report.leader else report.methods.get(member.name, "")
        rows.append((member.name, member.role, member.state, member.timeline or "", made))
    console.show(console.table("", ("Member", "Role", "State", "TL", "Made by"), rows))
    console.show(
        f"requested: {report.requested}",
        f"reached:   {report.reached}, now on timeline {report.timeline}",
        f"set:       {report.label}",
        "seconds:   " + ", ".join(f"{name} {seconds:g}" for name, seconds in report.seconds.items()),
    )
    for note in report.notes:
        console.show(f"note:      {note}")
    if report.idle_slots:
        console.show(f"! slots that nobody uses: {', '.join(report.idle_slots)}")
    console.hint("inv backup: a new backup makes later restores independent of this point")


def show_clone(project: Project, request: Request, made: clones.Report) -> None:
    console.show(
        f"{project.name}-clone: {request} from backup {made.label}",
        f"reached: {made.point}",
        f'connect with: psql "{made.conninfo}"',
    )
    console.hint("inv clone --remove")


def show_verification(made: pgbackrest.Verification) -> None:
    rows = [
        (database, table, number) for database, tables in made.rows.items() for table, number in sorted(tables.items())
    ]
    if rows:
        console.show(console.table("", ("Database", "Table", "Rows"), rows))
    stages = ", ".join(f"{stage} {seconds:g} s" for stage, seconds in made.seconds.items())
    console.show(
        f"backup {made.label} is good: restored on {made.node} ({size_text(made.bytes)})",
        f"recovered to consistency, pg_amcheck found nothing; {stages}",
    )


def show_schedule(jobs: list[crontab.Job], results: dict[str, cron.Result]) -> None:
    if not jobs:
        console.show("nothing is scheduled")
        console.hint("inv schedule runs it at the times in the settings (schedule_full, schedule_verify, ...)")
        return
    now = datetime.now(UTC)
    rows = []
    for job in jobs:
        where = "repository" if job.name != "verify-backup" else "a standby"
        rows.append(
            (job.name, where, job.times, time_text(job.next_run(now), "minutes"), result_text(results.get(job.name)))
        )
    console.show(console.table("", ("Job", "Where", "Times (UTC)", "Next run", "Last result"), rows))
