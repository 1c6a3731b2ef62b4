"""What stands between Invoke and the library: the executor, the settings of a call, and the reports in words."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

import invoke
from invoke.exceptions import Exit

from pgha import clones, connections, console, restores, scheduling, verification
from pgha.cluster import Handover
from pgha.console import Progress
from pgha.errors import BadSettings, BadValue, Missing, PghaError, ToolFailed
from pgha.host import Part
from pgha.images import Built
from pgha.plan import Outage, Plan
from pgha.project import Project, open_project
from pgha.settings import ENVIRONMENT, environment_layer
from pgha.stack import RenderReport
from pgha.survey import Survey, archiving_word
from pgha.targets import Request
from pgha.tools import cron, patroni, pgbackrest, postgres, wal
from pgha.tools.pgbackrest import Backup
from pgha.topology import Host

INTERRUPTED = 130

_environment: dict[str, str] = {}


class Executor(invoke.Executor):  # type: ignore[misc]
    """Closes every connection at the end, and turns our errors into a sentence, a hint and an exit code."""

    def execute(self, *tasks: Any) -> Any:
        # Read by `settings`, and kept from Invoke, which would cast them by the type of what they replace.
        _environment.update(environment_layer(os.environ))
        for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
            del os.environ[name]
        try:
            return super().execute(*tasks)
        except PghaError as error:
            console.error(error.message, error.hint)
            raise Exit(code=error.exit_code) from None
        except KeyboardInterrupt:
            console.error("Interrupted", "the same command completes what it began")
            raise Exit(code=INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise Exit(code=1) from None
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            console.error(f"This host refused: {error.strerror or error}{where}", "df -h, ls -l")
            raise Exit(code=ToolFailed.exit_code) from None
        finally:
            connections.close_all()


def project_of(context: invoke.Context, flags: dict[str, str] | None = None) -> Project:
    """The project this call means; `flags` are those of `render`, None for what the last render was given."""
    configured = context.config.get("pgha", {})
    try:
        layer = {str(key): value for key, value in dict(configured).items()}
    except (TypeError, ValueError):
        raise BadSettings(["pgha: is not a table of settings"]) from None
    return open_project([layer, _environment], flags)


def exit_with(code: int) -> None:
    """End the line with another program's exit code, unless that is 0."""
    if code:
        raise Exit(code=code)


def require_host(project: Project, name: str, hosts: tuple[Host, ...], usage: str) -> None:
    """Raises BadValue when no such host is among these."""
    names = [host.name for host in hosts]
    if name not in names:
        what = f"{name} is not a host of project {project.name}" if name else "A host has to be named"
        raise BadValue(what, f"{usage}: one of {', '.join(names)}")


def parsed_json(text: str, what: str) -> Any:
    """Raises ToolFailed when a tool's JSON is none."""
    try:
        return json.loads(text)
    except ValueError:
        raise ToolFailed(f"{what} did not print JSON", text) from None


# Reports ----------------------------------------------------------------------------------------------------


def show_view(title: str, project: Project, view: patroni.ClusterView) -> None:
    rows = []
    for member in view.members:
        host = project.topology.host(member.name)
        site = host.site.name if host else ""
        rows.append((member.name, site, member.role, member.state, member.timeline or ""))
    console.show(console.table(title, ("Member", "Data center", "Role", "State", "TL"), rows))


def lag_text(lag: int | None) -> str:
    """Bytes in words; nothing for the leader."""
    return "" if lag is None else size_text(lag)


def size_text(size: int) -> str:
    """Bytes with a binary unit, as pgBackRest writes them."""
    value = float(size)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}GB"


def time_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(seconds))


def show_parts(parts: list[Part]) -> None:
    rows = [(part.name, "lacks" if part.problem else "ok", part.problem or part.found) for part in parts]
    console.show(console.table("", ("Part", "State", ""), rows))


def show_backup(made: Backup, asked: str) -> None:
    if made.type != asked:
        console.show(f"there was no backup a {asked} one could be based on, so it is a {made.type} one")
    console.show(
        f"{made.type} backup {made.label}: {made.stop - made.start} s, database {size_text(made.database_size)}, "
        f"added to the repository {size_text(made.repository_size)}"
    )


def show_images(built: list[Built]) -> None:
    console.show(console.table("", ("Image", "Size"), [(b.name, f"{b.size / 1e6:.0f}MB") for b in built]))


def show_topology(project: Project, report: RenderReport) -> None:
    topology, rows = project.topology, []
    for host in topology.hosts:
        rows.append((host.name, host.site.name, project.container(host.name),
                     report.ports["postgres"].get(host.name, ""), report.ports["ssh"].get(host.name, "")))  # fmt: skip
    release = project.settings.release
    title = f"{project.name}: PostgreSQL {project.settings.postgres} on {release.base_image}"
    console.show(console.table(title, ("Host", "Site", "Container", "Postgres port", "SSH port"), rows))
    console.show(f"etcd: {len(topology.etcd)} members, quorum {topology.etcd_quorum}. " + _durability_text(project))
    for line in report.moved:
        console.err().print(f"port taken, the next free one is used: {line}", markup=False)
    folder = project.folder.relative_to(project.folder.parent.parent)
    console.err().print(
        f"{len(report.changed)} files written to {folder}/" if report.changed else f"{folder}/ is up to date"
    )


def _durability_text(project: Project) -> str:
    count = project.topology.synchronous_node_count
    if count == 0:
        return "Durability: one node, nothing to wait for."
    if project.settings.durability == "async":
        return "Durability: async, a failover may lose the newest commits."
    return f"Durability: a commit waits for {count} standby{'s' if count > 1 else ''}."


def _outage(outage: Outage) -> str:
    if outage.longest is None:
        return "until somebody acts"
    return f"{outage.shortest:.0f} to {outage.longest:.0f} s"


def show_plan(title: str, plan: Plan) -> None:
    words = {True: "yes", False: "NO", None: "-"}
    rows = []
    for outcome in plan.outcomes:
        if outcome.kind in ("site", "two sites") or not outcome.survived:
            answers = (outcome.etcd_quorum, outcome.candidate, outcome.acknowledged_safe, outcome.backups)
            rows.append((outcome.loss, *(words[answer] for answer in answers), words[outcome.survived]))
    for kind in ("one node", "two nodes"):
        of_kind = [outcome for outcome in plan.outcomes if outcome.kind == kind]
        fine = sum(outcome.survived for outcome in of_kind)
        if of_kind:
            rows.append((f"any {kind}", "", "", "", "", f"{fine} of {len(of_kind)}"))
    columns = ("Lost", "etcd quorum", "Leader", "Acknowledged writes kept", "Backups reachable", "Survived")
    console.show(console.table(title, columns, rows))
    outages = [(o.failure, _outage(o), o.because) for o in plan.outages]
    console.show(console.table("Expected write outage", ("Failure", "Writes stop for", "Because"), outages))
    for warning in plan.warnings:
        console.show(f"! {warning}")
    console.show(plan.sentence)


def run_restore(project: Project, request: Request, half_done: restores.Record | None, yes: bool) -> restores.Report:
    """Check, ask, and restore; or complete what an interrupted command left.

    Raises BadValue when another point is asked for than the half-done restore goes to.
    """
    progress = Progress()
    if half_done:
        asked = Request(**half_done.request)
        if request not in (Request(), asked):
            raise BadValue(f"A restore to {asked} is half done, not to {request}", restores.way_on(half_done))
        console.confirm(f"Complete the restore to {asked}, which is at stage {half_done.stage}?", yes)
        return restores.resume(project, half_done, progress)
    prepared = prepare(project, request, progress)
    console.confirm(
        f"Restore project {project.name} to {request} from backup {prepared.target.backup.label}? "
        "What was committed after that point goes.",
        yes,
    )
    return restores.restore(project, prepared, progress)


def prepare(project: Project, request: Request, progress: Progress) -> restores.Prepared:
    """Resolve a point, and say what has to be known about it before anything happens."""
    prepared = restores.prepare(project, request, progress)
    for note in prepared.target.notes:
        progress.note(note)
    return prepared


def abort_restore(project: Project, half_done: restores.Record | None, yes: bool) -> None:
    """Raises Missing when no restore is half done."""
    if half_done is None:
        raise Missing("No restore is half done", "inv status")
    console.confirm(f"Bring the old cluster of project {project.name} back?", yes)
    view = restores.abort(project, half_done, Progress())
    show_view("", project, view)
    console.show("the restore is undone: the old cluster is back")


def show_restore(report: restores.Report) -> None:
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


def show_verification(proof: pgbackrest.Proof) -> None:
    rows = [
        (database, table, number) for database, tables in proof.rows.items() for table, number in sorted(tables.items())
    ]
    if rows:
        console.show(console.table("", ("Database", "Table", "Rows"), rows))
    stages = ", ".join(f"{stage} {seconds:g} s" for stage, seconds in proof.seconds.items())
    console.show(
        f"backup {proof.label} is good: restored on {proof.node} ({size_text(proof.bytes)}), recovered to consistency, "
        f"pg_amcheck found nothing; {stages}"
    )


def show_schedule(jobs: list[scheduling.Job], results: dict[str, cron.Result]) -> None:
    if not jobs:
        console.show("nothing is scheduled")
        console.hint("inv schedule runs it at the times in the settings (schedule_full, schedule_verify, ...)")
        return
    now = datetime.now(UTC)
    rows = []
    for job in jobs:
        where = "repository" if job.name != "prove" else "a standby"
        rows.append(
            (job.name, where, job.times, f"{job.next_run(now):%Y-%m-%d %H:%M}", result_text(results.get(job.name)))
        )
    console.show(console.table("", ("Job", "Where", "Times (UTC)", "Next run", "Last result"), rows))


def result_text(result: cron.Result | None) -> str:
    """How a scheduled job ended."""
    if result is None:
        return "has not run yet"
    ended = f"{datetime.fromtimestamp(result.ended, UTC):%Y-%m-%d %H:%M:%S}"
    word = "ok" if result.exit_code == 0 else f"FAILED with exit code {result.exit_code}"
    return f"{word} at {ended}, {result.ended - result.started} s"


def show_handover(project: Project, handover: Handover) -> None:
    show_view("Before", project, handover.before)
    show_view("After", project, handover.after)
    console.show(
        f"{handover.verb} {handover.old or '(no leader)'} -> {handover.new}: leads after "
        f"{handover.leader_seconds:.1f} s, all stream after {handover.streaming_seconds:.1f} s"
    )
    if handover.waiting_for:
        console.err().print(f"does not stream yet: {', '.join(handover.waiting_for)}")


def show_survey(project: Project, survey: Survey) -> None:
    rows = [
        (
            m.name,
            m.data_center,
            m.role,
            m.state,
            m.timeline or "",
            lag_text(m.lag),
            m.postgres_port,
            m.ssh_port,
        )
        for m in survey.members
    ]
    title = f"{project.name}: cluster pgha_cluster ({survey.system_id or 'unknown'})"
    if survey.paused:
        title += ", paused"
    columns = ("Member", "Data center", "Role", "State", "TL", "Lag", "Postgres port", "SSH port")
    console.show(console.table(title, columns, rows))
    console.show(_etcd_line(survey), *_backup_lines(survey))
    console.show(f'ports on {project.settings.client_address}; connect with: psql "$(inv dsn)"')
    for problem in survey.problems:
        console.show(f"! {problem}")
    if survey.problems:
        console.hint(survey.hint)


def _etcd_line(survey: Survey) -> str:
    view = survey.etcd
    if isinstance(view, PghaError):
        return "etcd: unknown"
    more = f"{view.may_fail} more may fail" if view.has_quorum else "QUORUM LOST"
    return f"etcd: {len(view.healthy)} of {view.members} healthy, quorum {view.quorum}, {more}"


def _backup_lines(survey: Survey) -> list[str]:
    stanza = survey.stanza
    if stanza is None:
        return ["backup: off (pgbackrest: off)"]
    if isinstance(stanza, PghaError):
        return [f"backup: the repository cannot be read, archiving {_archiving_text(survey)}"]
    if stanza.missing:
        return ["backup: no stanza yet, archiving off (inv stanza)"]
    newest = stanza.newest
    last = f"last {newest.type} {newest.label} at {time_text(newest.stop)}" if newest else "no backup yet"
    lines = [
        f"backup: stanza {'ok' if stanza.ok else stanza.message}, {last}, {_proof_text(survey)}",
        f"archiving: {_archiving_text(survey)}",
    ]
    return lines + _schedule_lines(survey)


def _archiving_text(survey: Survey) -> str:
    """Whether WAL arrives, and what waits."""
    archiver = survey.archiver
    word = archiving_word(archiver)
    if not isinstance(archiver, postgres.Archiver):
        return word
    last = f" ({archiver.last_archived})" if archiver.last_archived else ""
    if not archiver.waiting:
        return f"{word}{last}, nothing waits"
    size = size_text(archiver.waiting * wal.SEGMENT_SIZE)
    return f"{word}{last}, {archiver.waiting} segments ({size}) wait, the oldest for {archiver.waiting_seconds:.0f} s"


def _proof_text(survey: Survey) -> str:
    """When the newest backup was last restored and looked at."""
    stanza, kept = survey.stanza, survey.kept
    newest = stanza.newest if isinstance(stanza, pgbackrest.StanzaView) else None
    if newest is None or not isinstance(kept, verification.Kept):
        return "not verified"
    proof = kept.proof_of(newest.label)
    if proof is None:
        return "not verified yet (inv verify)"
    return f"{'verified' if proof.ok else 'NOT GOOD'} at {time_text(proof.ended)} on {proof.node}"


def _schedule_lines(survey: Survey) -> list[str]:
    if not survey.jobs:
        return []
    results = survey.kept.results if isinstance(survey.kept, verification.Kept) else {}
    now = datetime.now(UTC)
    parts = [
        f"{job.name} next {job.next_run(now):%Y-%m-%d %H:%M}, {result_text(results.get(job.name))}"
        for job in survey.jobs
    ]
    return [f"schedule: {'; '.join(parts)}"]
