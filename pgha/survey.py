"""One look at everything, for `inv status`: it shows what can be seen, whatever is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pgha import backups, broken, cluster, engine, restores, scheduling, stack, verification
from pgha.connections import connect
from pgha.errors import Missing, PghaError, Unreachable
from pgha.project import Project
from pgha.scheduling import Job
from pgha.tools import docker, etcd, patroni, pgbackrest, postgres

T = TypeVar("T")


@dataclass(frozen=True)
class MemberState:
    """A Postgres node: what the cluster says of it, or why it says nothing."""

    name: str
    data_center: str
    role: str
    state: str
    timeline: int | None
    lag: int | None
    """Bytes behind the leader."""
    postgres_port: int | None
    ssh_port: int | None


@dataclass(frozen=True)
class Survey:
    """The whole project at one moment. A part that could not be read has its error instead."""

    members: tuple[MemberState, ...]
    leader: str | None
    system_id: str | None
    paused: bool
    etcd: etcd.EtcdView | PghaError
    stanza: pgbackrest.StanzaView | PghaError | None
    archiver: postgres.Archiver | PghaError | None
    kept: verification.Kept | PghaError | None
    """what is known of verifications and scheduled jobs"""
    jobs: tuple[Job, ...]
    """the schedule; empty while it is off"""
    problems: tuple[str, ...]
    hint: str

    @property
    def healthy(self) -> bool:
        return not self.problems


def take(project: Project) -> Survey:
    """Ask everyone at once.

    Raises Missing when nothing is up, and the first node's error when no node at all can be asked.
    """
    engine.require_engine()
    containers = stack.container_names(project)
    running = [name for name, container in containers.items() if container.state == "running"]
    if not running:
        state = "stopped" if containers else "not up"
        raise Missing(f"Project {project.name} is {state}", "inv start" if containers else "inv up")
    half_done = restores.read_record(project)
    with ThreadPoolExecutor(max_workers=5) as pool:
        nodes_ = pool.submit(cluster.read_nodes, project)
        etcd_ = pool.submit(_or_error, lambda: cluster.read_etcd(project))
        stanza_ = pool.submit(_or_error, lambda: backups.read_stanza(project)) if project.topology.repository else None
        kept_ = pool.submit(_or_error, lambda: verification.read_kept(project)) if stanza_ else None
        nodes = nodes_.result()
        errors = [node for node in nodes.values() if isinstance(node, (Unreachable, Missing))]
        if len(errors) == len(nodes):
            raise errors[0]
        view = _or_error(lambda: _view(project, nodes))
        leader = _leader(view, nodes)
        archiver = _or_error(lambda: backups.read_archiver(project, leader)) if leader and stanza_ else None
        etcd_view, stanza = etcd_.result(), stanza_.result() if stanza_ else None
        kept = kept_.result() if kept_ else None
    states = {name: container.state for name, container in containers.items()}
    chaos = _broken(project, containers)
    members = _members(project, view, nodes, states, leader)
    return Survey(
        members=members,
        leader=leader,
        system_id=next((n.system_id for n in nodes.values() if isinstance(n, patroni.NodeState) and n.system_id), None),
        paused=isinstance(view, patroni.ClusterView) and view.paused,
        etcd=etcd_view,
        stanza=stanza,
        archiver=archiver,
        kept=kept,
        jobs=tuple(scheduling.jobs(project)),
        problems=(
            *([restores.describe(half_done)] if half_done else []),
            *_problems(project, view, members, leader, etcd_view, stanza, archiver, states),
            *chaos,
            *_verification_problems(stanza, kept),
        ),
        hint=restores.way_on(half_done) if half_done else _hint(project, members, states, chaos),
    )


def _or_error(read: Callable[[], T]) -> T | PghaError:
    try:
        return read()
    except PghaError as error:
        return error


def _view(project: Project, nodes: dict[str, patroni.NodeState | PghaError]) -> patroni.ClusterView:
    answering = [name for name, node in nodes.items() if isinstance(node, patroni.NodeState)]
    if not answering:
        raise Missing("No member answers", "inv logs --node <name>")
    view = connect(project).first(answering, patroni.get("cluster"), patroni.parse_cluster)[1]
    if view.leader is None:
        return view
    said = nodes.get(view.leader.name)
    if isinstance(said, patroni.NodeState):
        return patroni.confirm_streaming(view, said)
    return patroni.without_answer(view, view.leader.name)


def _leader(view: patroni.ClusterView | PghaError, nodes: dict[str, patroni.NodeState | PghaError]) -> str | None:
    if isinstance(view, patroni.ClusterView):
        return view.leader.name if view.leader else None
    for name, node in nodes.items():
        if isinstance(node, patroni.NodeState) and node.role == "leader" and node.state == "running":
            return name
    return None


def _members(
    project: Project,
    view: patroni.ClusterView | PghaError,
    nodes: dict[str, patroni.NodeState | PghaError],
    containers: dict[str, str],
    leader: str | None,
) -> tuple[MemberState, ...]:
    ports = project.record().ports
    members = []
    for host in project.topology.nodes:
        seen = view.member(host.name) if isinstance(view, patroni.ClusterView) else None
        own = nodes[host.name]
        role, state, timeline, lag = "", "", None, None
        if seen:
            role, state, timeline = seen.role, seen.state, seen.timeline
        elif isinstance(own, patroni.NodeState):
            role, state, timeline = own.role, own.state, own.timeline
        if isinstance(own, patroni.NodeState) and host.name != leader:
            lag = _lag(own, nodes.get(leader or ""))
        if isinstance(own, PghaError):
            container = containers.get(host.name, "missing")
            away = "unreachable" if isinstance(own, Unreachable) else "Patroni does not answer"
            state = away if container == "running" else f"container {container}"
        members.append(
            MemberState(
                host.name, host.site.name, role, state, timeline, lag,
                ports.get("postgres", {}).get(host.name), ports.get("ssh", {}).get(host.name),
            )
        )  # fmt: skip
    return tuple(members)


def _lag(replica: patroni.NodeState, leader: patroni.NodeState | PghaError | None) -> int | None:
    """Bytes of WAL the replica has not received; what the DCS says of it may be a loop_wait old."""
    if not isinstance(leader, patroni.NodeState) or leader.location is None or replica.location is None:
        return None
    return max(0, leader.location - replica.location)


def _problems(
    project: Project,
    view: patroni.ClusterView | PghaError,
    members: tuple[MemberState, ...],
    leader: str | None,
    etcd_view: etcd.EtcdView | PghaError,
    stanza: pgbackrest.StanzaView | PghaError | None,
    archiver: postgres.Archiver | PghaError | None,
    containers: dict[str, str],
) -> list[str]:
    """What an operator should know, the gravest first."""
    found = []
    if isinstance(etcd_view, PghaError):
        found.append(f"etcd cannot be asked: {etcd_view.message.splitlines()[0]}")
    else:
        if not etcd_view.has_quorum:
            found.append("etcd has lost its quorum: no member can be promoted")
        found += [f"{n} is not healthy" for n in etcd_view.unhealthy if containers.get(n) == "running"]
    if leader is None:
        found.append("there is no leader: writes are not accepted")
    if isinstance(view, PghaError):
        found.append(f"the DCS view is not available: {view.message.splitlines()[0]}")
    unwell = {m.name: m.state or "unknown" for m in members if m.name != leader and m.state != "streaming"}
    found += [f"{n}: {'running, but it does not stream' if s == 'running' else s}" for n, s in unwell.items()]
    shown = {member.name for member in members}
    if isinstance(view, patroni.ClusterView):
        strangers = [m.name for m in view.members if m.name not in shown]
        found += [f"{name} is a member, but not one of the rendered settings: inv render" for name in strangers]
    for host in project.topology.hosts:
        state = containers.get(host.name, "missing")
        if state != "running" and host.name not in shown:
            found.append(f"{host.name}: container {state}")
    if isinstance(stanza, PghaError):
        found.append(f"the repository cannot be read: {stanza.message.splitlines()[0]}")
    if isinstance(archiver, postgres.Archiver) and archiver.failing:
        found.append(f"archiving fails at {archiver.last_failed}")
    return found


def _broken(project: Project, containers: Mapping[str, docker.Container]) -> list[str]:
    """What chaos broke and nobody healed yet."""
    entries = _or_error(lambda: broken.still(project, containers.values()))
    if isinstance(entries, PghaError):
        return [entries.message]
    return [f"broken by chaos: {entry}" for entry in entries]


def _verification_problems(
    stanza: pgbackrest.StanzaView | PghaError | None, kept: verification.Kept | PghaError | None
) -> list[str]:
    """Backups that did not prove good, and scheduled jobs that failed."""
    if not isinstance(kept, verification.Kept):
        return []
    found = []
    newest = stanza.newest if isinstance(stanza, pgbackrest.StanzaView) else None
    proof = kept.proof_of(newest.label) if newest else None
    if proof and not proof.ok:
        lines = proof.error.strip().splitlines() or ["no reason given"]
        found.append(f"backup {proof.label} is not good: {lines[-1]}")
    found += [
        f"the job {job} ended with exit code {result.exit_code}: inv schedule --show, inv verify"
        for job, result in kept.results.items()
        if result.exit_code
    ]
    return found


def _hint(project: Project, members: tuple[MemberState, ...], containers: dict[str, str], chaos: Sequence[str]) -> str:
    """The next command when something is wrong."""
    if chaos:
        return "inv chaos.heal"
    if any(containers.get(host.name) != "running" for host in project.topology.hosts):
        return "inv up brings back what does not run"
    unwell = [m for m in members if m.role != "leader" and m.state != "streaming"]
    # One that says nothing before one that is on its way.
    unwell.sort(key=lambda m: m.state not in ("unreachable", "Patroni does not answer"))
    return f"inv logs --node {unwell[0].name if unwell else '<name>'}"


def as_document(project: Project, survey: Survey) -> dict[str, Any]:
    """The survey for `--json`."""
    return {
        "project": project.name,
        "healthy": survey.healthy,
        "problems": list(survey.problems),
        "system_identifier": survey.system_id,
        "leader": survey.leader,
        "paused": survey.paused,
        "members": [
            {
                "name": m.name,
                "data_center": m.data_center,
                "role": m.role,
                "state": m.state,
                "timeline": m.timeline,
                "lag_bytes": m.lag,
                "postgres_port": m.postgres_port,
                "ssh_port": m.ssh_port,
            }
            for m in survey.members
        ],
        "etcd": _etcd_document(survey.etcd),
        "backup": _backup_document(survey),
        "address": project.settings.publish_address,
    }


def _etcd_document(view: etcd.EtcdView | PghaError) -> dict[str, Any]:
    if isinstance(view, PghaError):
        return {"error": view.message}
    return {
        "members": view.members,
        "healthy": len(view.healthy),
        "unhealthy": list(view.unhealthy),
        "quorum": view.quorum,
        "has_quorum": view.has_quorum,
        "may_fail": view.may_fail,
    }


def _backup_document(survey: Survey) -> dict[str, Any] | None:
    stanza, archiver = survey.stanza, survey.archiver
    if stanza is None:
        return None
    if isinstance(stanza, PghaError):
        waiting = archiver.waiting if isinstance(archiver, postgres.Archiver) else None
        return {"error": stanza.message, "archiving": archiving_word(archiver), "waiting_segments": waiting}
    newest = stanza.newest
    kept = survey.kept if isinstance(survey.kept, verification.Kept) else verification.Kept((), {})
    proof = kept.proof_of(newest.label) if newest else None
    archived = archiver if isinstance(archiver, postgres.Archiver) else None
    return {
        "stanza": "ok" if stanza.ok else stanza.message,
        "backups": len(stanza.backups),
        "last": {"label": newest.label, "type": newest.type, "stop": newest.stop} if newest else None,
        "archiving": archiving_word(archiver),
        "last_archived": archived.last_archived if archived else None,
        "waiting_segments": archived.waiting if archived else None,
        "waiting_seconds": archived.waiting_seconds if archived else None,
        "verified": {"ok": proof.ok, "ended": proof.ended, "node": proof.node} if proof else None,
        "schedule": [
            {
                "job": job.name,
                "times": job.times,
                "next_run": job.next_run(datetime.now(UTC)).isoformat(),
                "last_ended": kept.results[job.name].ended if job.name in kept.results else None,
                "last_exit_code": kept.results[job.name].exit_code if job.name in kept.results else None,
            }
            for job in survey.jobs
        ],
    }


def archiving_word(archiver: postgres.Archiver | PghaError | None) -> str:
    """on, off, failing or unknown."""
    if not isinstance(archiver, postgres.Archiver):
        return "unknown"
    if archiver.command != pgbackrest.archive_command():
        return "off"
    return "failing" if archiver.failing else "on"
