"""Reports on the cluster."""

from __future__ import annotations

from datetime import UTC, datetime

from pgha import console
from pgha.cli.words import lags_text, result_text
from pgha.cluster.handover import Handover
from pgha.errors import PghaError
from pgha.model.words import counted, size_text, time_of, time_text
from pgha.project.project import Project
from pgha.status.bundle import Bundle
from pgha.status.document import archiving_word, monitoring_document
from pgha.status.seen import Seen
from pgha.status.survey import Survey
from pgha.tools import beside, etcd, patroni, postgres, wal


def show_view(title: str, project: Project, view: patroni.ClusterView) -> None:
    rows = []
    for member in view.members:
        host = project.topology.host(member.name)
        site = host.site.name if host else ""
        rows.append((member.name, site, member.role, member.state, member.timeline or ""))
    console.show(console.table(title, ("Member", "Data center", "Role", "State", "TL"), rows))


def show_change(project: Project, before: patroni.ClusterView | None, after: patroni.ClusterView) -> None:
    """The members as they are, with an arrow from what they were where that differs."""
    if before is None:
        show_view("", project, after)
        return
    rows = []
    for name in sorted({member.name for view in (before, after) for member in view.members}):
        host = project.topology.host(name)
        was, now = before.member(name), after.member(name)
        parts = [(m.role, m.state, m.timeline) if m else (None, None, None) for m in (was, now)]
        cells = map(_arrow, *parts, ("gone", "", ""))
        rows.append((name, host.site.name if host else "", *cells))
    console.show(console.table("", ("Member", "Data center", "Role", "State", "TL"), rows))


def _arrow(was: str | int | None, now: str | int | None, gone: str) -> str:
    if was == now or was is None:
        return str(now or "")
    return f"{was} -> {now or gone}".removesuffix(" -> ")


def show_handover(project: Project, handover: Handover) -> None:
    show_change(project, handover.before, handover.after)
    all_stream = "" if handover.waiting_for else f", all stream after {handover.streaming_seconds:.1f} s"
    console.show(
        f"{handover.verb} {handover.old or '(no leader)'} -> {handover.new}: leads after "
        f"{handover.leader_seconds:.1f} s{all_stream}"
    )
    if handover.waiting_for:
        console.err().print(f"does not stream yet: {', '.join(handover.waiting_for)}")
        console.hint("inv up brings back what does not run; inv status")


def show_survey(project: Project, survey: Survey) -> None:
    rows = [
        (
            m.name,
            m.data_center,
            m.role,
            m.state,
            m.timeline or "",
            lags_text(m.lag, m.replay_lag),
            m.postgres_port,
            m.ssh_port,
        )
        for m in survey.seen.members
    ]
    title = f"{project.name}: cluster pgha_cluster ({survey.seen.system_id or 'unknown'})"
    if survey.seen.paused:
        title += ", paused"
    columns = ("Member", "Data center", "Role", "State", "TL", "Lag", "Port", "SSH")
    console.show(console.table(title, columns, rows))
    console.show(*_lock_lines(survey.seen), _etcd_line(survey.seen), *_backup_lines(survey.seen))
    console.show(*_monitoring_lines(survey.seen), *_clone_lines(survey.seen))
    console.show(f'ports on {_addresses(project)}; connect with: psql "$(inv dsn)"')
    for problem in survey.problems:
        console.show(f"! {problem}")
    if survey.problems:
        console.hint(survey.hint)


def _addresses(project: Project) -> str:
    machines = project.topology.machines
    return ", ".join(m.address for m in machines) if machines else project.settings.client_address


def _lock_lines(seen: Seen) -> list[str]:
    """How long nobody else can lead."""
    if not isinstance(seen.lock, etcd.Lock) or seen.lock.seconds is None:
        return []
    return [f"leader: none; the lock of {seen.lock.holder} expires in {seen.lock.seconds} s"]


def _monitoring_lines(seen: Seen) -> list[str]:
    """Nothing without monitoring."""
    found = monitoring_document(seen)
    if found is None:
        return []
    up = "nobody can be asked" if found["targets"] is None else f"{found['up']} of {found['targets']} targets answer"
    return [f"monitoring: {up}, {found['prometheus']} and {found['alertmanager']} (alerts)"]


def _clone_lines(seen: Seen) -> list[str]:
    """A clone that is there, because it takes room until somebody removes it."""
    if not isinstance(seen.clone, beside.Beside):
        return []
    where = f" on port {seen.clone.port}" if seen.clone.port else ""
    return [f"clone: {seen.clone.name} {seen.clone.state}{where}; inv clone --remove"]


def _etcd_line(seen: Seen) -> str:
    view = seen.etcd
    if isinstance(view, PghaError):
        return "etcd: unknown"
    lost = f"ALARM {view.alarm}" if view.alarm else "QUORUM LOST"
    more = f"{view.may_fail} more may fail" if view.has_quorum else lost
    return f"etcd: {len(view.healthy)} of {view.members} healthy, quorum {view.quorum}, {more}"


def _backup_lines(seen: Seen) -> list[str]:
    stanza = seen.stanza
    if stanza is None:
        return ["backup: off (pgbackrest: off)"]
    if isinstance(stanza, PghaError):
        return [f"backup: the repository cannot be read, archiving {_archiving_text(seen)}"]
    if stanza.missing:
        return ["backup: no stanza yet, archiving off (inv stanza)"]
    newest = seen.newest
    last = f"last {newest.type} {newest.label} at {time_text(time_of(newest.stop))}" if newest else "no backup yet"
    lines = [
        f"backup: stanza {'ok' if stanza.ok else stanza.message}, {last}",
        *([f"        {_verified_text(seen)}"] if newest else []),
        f"archiving: {_archiving_text(seen)}",
    ]
    if seen.former:
        lines.append(f"repository: the former one (repo{seen.former}) is kept; inv rotate --what passphrase tells more")
    return lines + _schedule_lines(seen)


def _archiving_text(seen: Seen) -> str:
    """Whether WAL arrives, and what waits."""
    archiver = seen.archiver
    word = archiving_word(archiver)
    if not isinstance(archiver, postgres.Archiver):
        return word
    last = f" ({archiver.last_archived})" if archiver.last_archived else ""
    if not archiver.waiting:
        return f"{word}{last}, nothing waits"
    size = size_text(archiver.waiting * wal.SEGMENT_SIZE)
    waits = counted(archiver.waiting, "segment", f"({size}) waits", f"({size}) wait")
    return f"{word}{last}, {waits}, the oldest for {archiver.waiting_seconds:.0f} s"


def _verified_text(seen: Seen) -> str:
    """When the newest backup was last restored and looked at."""
    found = seen.verified
    if found is None:
        return "not verified yet (inv verify)"
    verdict = "verified" if found.ok else "NOT GOOD" if found.checked else "could not be checked"
    return f"{verdict} at {time_text(time_of(found.ended))} on {found.node}"


def _schedule_lines(seen: Seen) -> list[str]:
    if not seen.jobs:
        return []
    now = datetime.now(UTC)
    parts = [
        f"{job.name} next {time_text(job.next_run(now), 'minutes')}, {result_text(seen.results.get(job.name))}"
        for job in seen.jobs
    ]
    return [f"{'' if number else 'schedule:':9} {part}" for number, part in enumerate(parts)]


def show_bundle(project: Project, bundle: Bundle, json: bool) -> None:
    """What `report` wrote."""
    if json:
        console.print_json({
            "path": str(bundle.path),
            "bytes": bundle.size,
            "files": list(bundle.files),
            "missing": dict(bundle.missing),
        })  # fmt: skip
        return
    for name, why in bundle.missing.items():
        console.err().print(f"without {name}: {why.splitlines()[0]}", markup=False)
    files = counted(len(bundle.files), "file")
    console.show(f"{project.relative(bundle.path)}: {files}, {size_text(bundle.size)}, no secrets")
