"""A host that is gone with its volume, or shall be: taken out, made anew with an empty one, and whole again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from pgha.cluster import leaving
from pgha.cluster.etcd_members import let_in_again
from pgha.cluster.quorum import read_etcd, weigh_etcd
from pgha.cluster.view import read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, IsLeader
from pgha.failures import broken
from pgha.model.topology import Host
from pgha.project import maintenance
from pgha.project.project import Project
from pgha.remote import connections, engine
from pgha.stack import crontab, silencing
from pgha.stack.delivery import deliver_keys
from pgha.stack.images import require_images
from pgha.stack.remaking import make
from pgha.stack.writing import render_project
from pgha.tools import patroni, pgbackrest
from pgha.tools.etcd import EtcdView
from pgha.waiting import Stopwatch


@dataclass(frozen=True)
class Checked:
    """A host that can be replaced."""

    host: Host
    before: patroni.ClusterView
    half_done: bool
    """Whether an interrupted command has removed its data already: it goes on from there."""


@dataclass(frozen=True)
class Report:
    """A host that was made anew."""

    host: str
    method: str
    """how a node got its data, as Patroni's log says it; nothing for an etcd member, or when the log does not say"""
    before: patroni.ClusterView
    after: patroni.ClusterView
    etcd: EtcdView
    seconds: float


def target(project: Project, node: str, etcd: str) -> Host:
    """The host a node's or an etcd member's name means. Raises BadValue."""
    if bool(node) == bool(etcd):
        raise BadValue("Name either a Postgres node or an etcd member", "--node pg1-node1, or --etcd etcd2")
    hosts = project.topology.nodes if node else project.topology.etcd
    host = next((host for host in hosts if host.name == (node or etcd)), None)
    if (node or etcd) in project.gone:
        raise BadValue(f"{node or etcd} was given up when its site was lost", "inv scale makes it anew")
    if host is None:
        what = "a Postgres node" if node else "an etcd member"
        raise BadValue(f"{node or etcd} is not {what} of this project", f"one of {', '.join(h.name for h in hosts)}")
    return host


def check(project: Project, host: Host, *, degraded: bool = False) -> Checked:
    """Whether this host can be replaced; nothing is touched. The caller holds the lock.

    Raises IsLeader for the member that leads, LosesQuorum, LosesStandbys when one is replaced that others need, unless
    `degraded`; NoLeader, NoQuorum, Unhealthy in a pause, HalfDone while another host is being replaced.
    """
    engine.require_engine(project)
    require_images(project)
    other = project.record().replacing
    if other not in ("", host.name):
        flag = "etcd" if project.topology.host(other) in project.topology.etcd else "node"
        raise HalfDone(f"{other} is being replaced, and not whole again", f"inv replace --{flag} {other}")
    view = read_view(project)
    leaving.require_quorum_without(weigh_etcd(project, [host.name]), [host.name])
    if host in project.topology.nodes:
        if view.leader and view.leader.name == host.name:
            raise IsLeader(f"{host.name} leads: all that was written is there", "inv switchover, then the same again")
        leaving.require_not_paused(view)
        usage = f"inv replace --node {host.name} --degraded"
        leaving.require_standbys_without(project, view, [host.name], degraded=degraded, usage=usage)
    return Checked(host, view, other == host.name)


def replace_host(project: Project, checked: Checked, progress: Progress) -> Report:
    """Take the host out, remove its container and volume, and make both anew; returns when it is whole again.

    The caller holds the lock and has asked. Interrupted, the same command completes it: data that is there again is
    not removed a second time. Raises TimedOut when the host does not come.
    """
    host, clock, began = checked.host, Stopwatch(), time.time()
    render_project(project)
    if not checked.half_done:
        _remove(project, host, progress)
        project.write_record(replace(project.record(), replacing=host.name))
    if host in project.topology.etcd:
        with progress.stage(f"take {host.name} out of etcd and in again"):
            _let_in(project, host)
    else:
        with progress.stage(f"make {host.name} anew"):
            make(project, host.name, progress)
    connections.close_all()
    names = [host.name] if host in project.topology.nodes else []
    with progress.stage(f"wait until {host.name if names else 'the leader'} {'streams' if names else 'is seen'}"):
        after = wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail, names=names)
    deliver_keys(project)
    method = ""
    if names:
        leaving.wait_for_synchronous(project, (), progress)
        after = read_view(project)
        method = pgbackrest.parse_replica_method(engine.log_since(project, host.name, began)) or ""
        if project.record().scheduled:
            crontab.install(project, names)
    project.write_record(replace(project.record(), replacing=""))
    return Report(host.name, method, checked.before, after, read_etcd(project), clock.seconds)


def _let_in(project: Project, host: Host) -> None:
    """An interrupted command may have ended behind its last step: then the member is healthy, and stays as it is."""
    if host.name not in read_etcd(project).healthy:
        let_in_again(project, host.name, lambda: make(project, host.name, Progress(), "--force-recreate"))


def _remove(project: Project, host: Host, progress: Progress) -> None:
    """Its container and volume go. One that runs ends well first: an etcd member hands etcd's lead over."""
    containers = engine.containers(project)
    with progress.stage(f"remove {host.name} with its data"):
        if host.name in containers:
            if containers[host.name].state == "running":
                engine.signal(project, "stop", [host.name])
            engine.remove(project, [host.name])
        wanted = f"{project.name}_{host.name}"
        engine.remove_volumes(volume for volume in engine.volumes(project) if volume.name == wanted)
    # What was done to it ended with it.
    broken.remove(project, [entry for entry in broken.read(project) if entry.host == host.name])
    maintenance.remove(project, [host.name])
    silencing.end(project, [host.name], progress)
