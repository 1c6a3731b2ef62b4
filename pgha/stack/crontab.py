"""The schedule: which job cron runs where and when. The jobs run inside the containers, without any operator's host."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cronsim import CronSim

from pgha.errors import BadValue, Missing, PghaError, ToolFailed
from pgha.model.topology import REPOSITORY, Host
from pgha.project.project import Project
from pgha.project.repositories import in_use
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.tools import cron, pgbackrest
from pgha.tools.command import Answer

ORDER = ("full", "diff", "incr", "verify-repository", "verify-backup")


@dataclass(frozen=True)
class Job:
    """One job of the schedule."""

    name: str
    """full, diff, incr, verify-repository (its files) or verify-backup (a real restore)"""
    times: str
    """five fields as in crontab(5), in the containers' time zone, UTC"""

    def next_run(self, now: datetime) -> datetime:
        return next(CronSim(self.times, now.astimezone(UTC)))


def jobs_of(project: Project, host: Host) -> list[tuple[Job, cron.Entry]]:
    """What cron runs on this host; nothing while the schedule is off."""
    if not project.record().scheduled:
        return []
    settings = project.settings
    if project.topology.repository is None:
        return []
    if host == project.topology.repository:
        folder, repo = cron.REPOSITORY_FOLDER, in_use(project)
        found = [
            (Job(name, times), pgbackrest.backup(name, repo=repo))
            for name, times in (
                ("full", settings.schedule_full),
                ("diff", settings.schedule_diff),
                ("incr", settings.schedule_incr),
            )
        ]
        found.append((Job("verify-repository", settings.schedule_verify), pgbackrest.verify_repository(repo=repo)))
    else:
        # Every node has the job; the first member that streams does it.
        folder = cron.NODE_FOLDER
        command = pgbackrest.verify_backup_if_chosen(settings.scratch_preload_libraries)
        found = [(Job("verify-backup", settings.schedule_verify), command)]
    return [(job, cron.Entry(job.times, folder, job.name, command)) for job, command in found if job.times]


def switch(project: Project, on: bool) -> None:
    """Remember whether cron runs the schedule; the next rendering writes the crontabs accordingly."""
    project.write_record(replace(project.record(), scheduled=on))


def install(project: Project, hosts: Collection[str]) -> None:
    """Give these hosts, those whose containers run, their rendered crontabs; the others take them when they start.

    Raises the first host's failure, when all others have theirs.
    """
    tables = {host.name: (project.folder / host.name / "crontab").read_text() for host in project.topology.ssh_hosts}
    commands = {name: cron.install(text) for name, text in tables.items() if name in hosts}
    engine.deliver(project, list(commands))
    for name, answer in connect(project).everywhere(commands).items():
        if isinstance(answer, PghaError):
            raise answer
        if not answer.ok:
            raise ToolFailed(f"cron on {name} did not take its table", answer.words, "inv schedule")


def jobs(project: Project) -> list[Job]:
    """The whole schedule, each job once; empty while it is off."""
    found: dict[str, Job] = {}
    for host in project.topology.ssh_hosts:
        found.update({job.name: job for job, _ in jobs_of(project, host)})
    return _in_order(found)


def running(project: Project) -> list[Job]:
    """What cron runs, as it is installed in the containers that can be asked."""
    hosts = [host.name for host in project.topology.ssh_hosts]
    found: dict[str, Job] = {}
    for answer in connect(project).everywhere(dict.fromkeys(hosts, cron.table())).values():
        if isinstance(answer, Answer):
            found.update({name: Job(name, times) for name, times in cron.parse_table(answer.stdout).items()})
    return _in_order(found)


def _in_order(found: dict[str, Job]) -> list[Job]:
    """A crontab that an older version installed may have jobs of other names; they come last."""
    return sorted(found.values(), key=lambda job: ORDER.index(job.name) if job.name in ORDER else len(ORDER))


def read_log(project: Project, name: str) -> str:
    """What a scheduled job said when it ran last, wherever that was. Raises BadValue, or Missing when it never ran."""
    if name not in ORDER:
        raise BadValue(f"{name} is not a job of the schedule", f"--job: one of {', '.join(ORDER)}")
    if name == "verify-backup":
        commands = {node.name: cron.log(cron.NODE_FOLDER, name) for node in project.topology.nodes}
    else:
        commands = {REPOSITORY: cron.log(cron.REPOSITORY_FOLDER, name)}
    answers = connect(project).everywhere(commands)
    texts = [f"{host}:\n{a.stdout}" for host, a in answers.items() if isinstance(a, Answer) and a.ok]
    if not texts:
        raise Missing(f"The job {name} has not run yet", "inv schedule --show")
    return "\n".join(texts)
