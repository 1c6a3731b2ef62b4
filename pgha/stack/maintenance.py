"""Hosts stopped for maintenance, and started again: planned, so nothing is lost and nobody takes it for a failure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pgha.cluster import leaving
from pgha.cluster.handover import Handover
from pgha.cluster.quorum import read_etcd, weigh_etcd
from pgha.cluster.view import read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import NotUp, PghaError, Unhealthy
from pgha.failures import broken
from pgha.model.topology import REPOSITORY, Host
from pgha.model.words import named
from pgha.project import maintenance
from pgha.project.maintenance import Stopped
from pgha.project.project import Project
from pgha.remote import connections, engine
from pgha.stack import silencing
from pgha.stack.rollout import without_network
from pgha.tools import docker, patroni
from pgha.tools.etcd import EtcdView
from pgha.waiting import Stopwatch, wait_until

AWAY = ("exited", "created", "dead")


@dataclass(frozen=True)
class Report:
    """What became of these hosts, and of the cluster."""

    hosts: tuple[str, ...]
    changed: tuple[str, ...]
    """those that were not stopped, or did not run, before"""
    handover: Handover | None
    before: patroni.ClusterView | None
    after: patroni.ClusterView
    etcd: EtcdView
    seconds: float


def stopped(project: Project, containers: dict[str, docker.Container]) -> tuple[Stopped, ...]:
    """Who is stopped on purpose: what was started since, by whomever, or still runs, is not."""
    entries = maintenance.still(project, {name: c.started for name, c in containers.items()})
    return tuple(entry for entry in entries if containers[entry.host].state in AWAY)


def names_stopped(project: Project) -> tuple[str, ...]:
    """The hosts that are stopped on purpose."""
    return tuple(entry.host for entry in stopped(project, engine.containers(project)))


def require_undisturbed(project: Project, containers: dict[str, docker.Container]) -> None:
    """Raises Unhealthy when chaos broke something, or a host is stopped on purpose."""
    _refuse_broken(project, containers)
    away = stopped(project, containers)
    if away:
        raise Unhealthy(f"{away[0].host} is stopped for maintenance", f"inv start --node {away[0].host}")


def stop_hosts(project: Project, hosts: Sequence[Host], progress: Progress, *, degraded: bool) -> Report:
    """Stop these containers, the leader's after a switchover to a member that stays. The caller holds the lock.

    They stay stopped when the engine is started again (the restart policy `unless-stopped`), and are written down
    before. Idempotent; what was interrupted is completed.

    Raises, before anything is touched, LosesQuorum, LosesStandbys unless `degraded`, NoLeader, Unhealthy for a pause
    and for what chaos broke, NotUp for a host without a container.
    """
    containers = _containers(project, hosts)
    names = [host.name for host in hosts]
    _refuse_broken(project, containers, names)
    clock = Stopwatch()
    done = {entry.host for entry in stopped(project, containers)}
    todo = [name for name in names if name not in done]
    before = read_view(project)
    if not todo:
        return Report(tuple(names), (), None, before, before, read_etcd(project), clock.seconds)
    leaving.require_quorum_without(weigh_etcd(project, names), names)
    nodes = [host.name for host in hosts if host in project.topology.nodes]
    if nodes:
        leaving.require_not_paused(before)
        leaving.require_standbys_without(
            project, before, nodes, degraded=degraded, usage=f"inv stop {_named(project, hosts)} --degraded"
        )
    if REPOSITORY in todo:
        progress.note(
            "the repository is among them: until it is back WAL waits on the leader, and there are no backups"
        )
    handover = leaving.lead_elsewhere(project, before, nodes, progress) if nodes else None
    if nodes:
        leaving.wait_for_synchronous(project, nodes, progress)
    maintenance.add(project, [Stopped(name, containers[name].started, int(time.time())) for name in todo])
    silencing.begin(project, todo, progress)
    _end(project, containers, todo, progress)
    after = _wait_for_the_rest(project, names, progress)
    return Report(tuple(names), tuple(todo), handover, before, after, read_etcd(project), clock.seconds)


def _containers(project: Project, hosts: Sequence[Host]) -> dict[str, docker.Container]:
    """Raises NotUp when one of these hosts has no container, or nothing runs."""
    engine.require_engine(project)
    containers = engine.containers(project)
    missing = [host.name for host in hosts if host.name not in containers]
    if missing:
        raise NotUp(f"{named(missing, 'has', 'have')} no container", "inv up")
    if not any(container.state == "running" for container in containers.values()):
        raise NotUp(f"Project {project.name} is stopped", "inv start")
    return containers


def _refuse_broken(
    project: Project, containers: dict[str, docker.Container], names: Sequence[str] | None = None
) -> None:
    """What chaos broke, on these hosts or anywhere, is healed first: heal would start what was stopped meanwhile."""
    held = [entry for entry in broken.still(project, containers.values()) if names is None or entry.host in names]
    if held:
        raise Unhealthy(f"Broken by chaos: {'; '.join(map(str, held))}", "inv chaos.heal")


def _named(project: Project, hosts: Sequence[Host]) -> str:
    """The flag that means these hosts."""
    return f"--node {hosts[0].name}" if len(hosts) == 1 else f"--dc {hosts[0].site.name}"


def _end(project: Project, containers: dict[str, docker.Container], names: Sequence[str], progress: Progress) -> None:
    """Nodes before the repository and etcd: Patroni releases what it holds, and Postgres archives its last segment."""
    nodes = {node.name for node in project.topology.nodes}
    for some in ([name for name in names if name in nodes], [name for name in names if name not in nodes]):
        if some:
            with progress.stage(f"stop {', '.join(some)}"):
                engine.signal(project, "stop", some)
    connections.close_all()


def _wait_for_the_rest(project: Project, hosts: Sequence[str], progress: Progress) -> patroni.ClusterView:
    """Wait until those that streamed and stay still do, under one leader."""
    before = read_view(project)
    names = [m.name for m in before.members if m.name not in hosts and (m == before.leader or m.streams)]
    with progress.stage("wait until the others stream"):
        return wait_until(
            lambda: read_view(project),
            lambda view: view.leader is not None and not view.not_streaming(names),
            "The others stream",
            timeout=project.settings.up_timeout,
            explain=lambda view: f"not streaming: {', '.join(view.not_streaming(names))}",
            hint="inv status",
        )


def start_hosts(project: Project, hosts: Sequence[Host], progress: Progress) -> Report:
    """Start these containers again; returns when their members stream and their etcd members are healthy.

    Idempotent. Raises NotUp for a host without a container or network, Unhealthy in a pause, TimedOut.
    """
    containers = _containers(project, hosts)
    names = [host.name for host in hosts]
    lost = [name for name in without_network(project) if name in names]
    if lost:
        raise NotUp(f"The network of {', '.join(lost)} is gone", "inv up makes it and them again; all data stay")
    frozen = [name for name in names if containers[name].state == "paused"]
    if frozen:
        raise Unhealthy(f"{named(frozen, 'is', 'are')} paused by chaos", "inv chaos.heal")
    clock = Stopwatch()
    before = _view_if_any(project)
    nodes = [host.name for host in hosts if host in project.topology.nodes]
    members = [host.name for host in hosts if host in project.topology.etcd]
    if nodes and before:
        leaving.require_not_paused(before)
    away = [name for name in names if containers[name].state in AWAY]
    with broken.ended_by_start(project):
        # etcd first: a Patroni that finds none gives up for five seconds at a time.
        for some in ([name for name in away if name not in nodes], [name for name in away if name in nodes]):
            if some:
                with progress.stage(f"start {', '.join(some)}"):
                    engine.start(project, some, hint="the same command again")
    maintenance.remove(project, names)
    connections.close_all()
    if members:
        _wait_for_etcd(project, members, progress)
    with progress.stage(f"wait until {named(nodes, 'streams', 'stream') if nodes else 'there is a leader'}"):
        after = wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail, names=nodes)
    silencing.end(project, names, progress)
    return Report(tuple(names), tuple(away), None, before, after, read_etcd(project), clock.seconds)


def _view_if_any(project: Project) -> patroni.ClusterView | None:
    try:
        return read_view(project)
    except PghaError:
        return None


def _wait_for_etcd(project: Project, members: Sequence[str], progress: Progress) -> None:
    with progress.stage(f"wait until {', '.join(members)} can commit"):
        wait_until(
            lambda: read_etcd(project),
            lambda view: not set(members) & set(view.unhealthy),
            "The etcd members are healthy",
            timeout=project.settings.up_timeout,
            explain=lambda view: f"not healthy: {', '.join(view.unhealthy)}",
            hint=f"inv logs --node {members[0]}",
        )
