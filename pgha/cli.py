"""What stands between Invoke and the library: the executor, the settings of a call, and the reports in words."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import invoke
from invoke.exceptions import Exit

from pgha import connections, console
from pgha.cluster import Handover
from pgha.errors import BadSettings, BadValue, PghaError, ToolFailed
from pgha.host import Part
from pgha.images import Built
from pgha.plan import Plan
from pgha.project import Project, open_project
from pgha.settings import ENVIRONMENT, environment_layer
from pgha.stack import RenderReport
from pgha.survey import Survey, archiving_word
from pgha.tools import patroni, postgres
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


def show_backup(made: Backup) -> None:
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
    outages = [(o.failure, f"{o.shortest:.0f} to {o.longest:.0f} s", o.because) for o in plan.outages]
    console.show(console.table("Expected write outage", ("Failure", "Writes stop for", "Because"), outages))
    for warning in plan.warnings:
        console.show(f"! {warning}")
    console.show(plan.sentence)


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
        return ["backup: unknown"]
    if stanza.missing:
        return ["backup: no stanza yet, archiving off (inv stanza)"]
    newest = stanza.newest
    last = f"last {newest.type} {newest.label} at {time_text(newest.stop)}" if newest else "no backup yet"
    archived = survey.archiver.last_archived if isinstance(survey.archiver, postgres.Archiver) else None
    archiving = archiving_word(survey.archiver) + (f" ({archived})" if archived else "")
    return [f"backup: stanza {'ok' if stanza.ok else stanza.message}, {last}, archiving {archiving}"]
