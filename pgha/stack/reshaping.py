"""The steps of a scale: grow, tell those that stay, then drain and remove."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from pgha.cluster import leaving
from pgha.cluster.configuration import apply_settings
from pgha.cluster.etcd_members import join, members_of, take_out
from pgha.cluster.quorum import read_etcd
from pgha.cluster.rolling import roll
from pgha.cluster.view import able_member, read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import LosesQuorum
from pgha.model.addresses import block_of, networks
from pgha.model.topology import REPOSITORY
from pgha.model.words import named
from pgha.project.certificates import pair_of
from pgha.project.keys import host_key
from pgha.project.project import Project
from pgha.project.running import note_running
from pgha.remote import connections, engine
from pgha.remote.connections import connect
from pgha.remote.networks import every_network
from pgha.remote.readiness import compose_version
from pgha.stack import rollout
from pgha.stack.delivery import deliver
from pgha.stack.fit import shape_flags
from pgha.stack.remaking import in_turn, make
from pgha.stack.rendering import shape
from pgha.stack.scaling import Change, Checked, Report
from pgha.stack.writing import RenderReport, render_project
from pgha.tools import etcd
from pgha.tools.etcd import EtcdView
from pgha.waiting import Stopwatch, wait_until


def scale(checked: Checked, progress: Progress) -> Report:
    """Give the cluster its new shape; returns when every member streams and etcd is whole.

    The caller holds the lock and has asked. Interrupted, the same command completes it. Raises TimedOut at the first
    member that does not come, and leaves the rest as it was.
    """
    project, change, clock = checked.target, checked.change, Stopwatch()
    going = _nodes_that_go(project, change)
    for name in change.anew:
        # Older than what the cluster went on with: no member takes its data from that.
        with progress.stage(f"remove what is left of {name}"):
            _remove(project, name)
    project.write_record(replace(project.record(), scaling=shape_flags(project), gone=()))
    rendered = render_project(project)
    connections.close_all()
    if going:
        # Before the repository knows them no more, and before anything else can make one of them lead.
        leaving.lead_elsewhere(project, read_view(project), going, progress)
    if change.create:
        _tell(project, progress)
    _grow_etcd(project, change, progress)
    _move_etcd(project, change, progress)
    _grow_nodes(project, change, progress)
    notes = [f"dynamic configuration: {line}" for line in apply_settings(project)]
    leaving.wait_for_synchronous(project, (), progress)
    # Clients know the nodes that were there: one of those leads, if it can.
    new = [node.name for node in project.topology.nodes if node.name not in checked.known]
    _roll(project, rendered, [*going, *new], progress)
    _lead_where_clients_look(project, checked.known, [*going, *new], progress)
    _tell_monitoring(project)
    _shrink(project, change, going, progress)
    if change.remove:
        _tell(project, progress)
    with progress.stage("wait until every member streams"):
        after = wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
        whole = _wait_for_etcd(project)
    leaving.wait_for_synchronous(project, (), progress)
    _finish(project)
    return Report(change, checked.before, after, whole, tuple(notes), clock.seconds)


def _lead_where_clients_look(project: Project, known: Sequence[str], others: Sequence[str], progress: Progress) -> None:
    """Where a single node was there before, it has handed over to a new one while it was made again: clients look for
    the leader among those they know."""
    view = read_view(project)
    if any(member.streams and member.name in known and member.name not in others for member in view.members):
        leaving.lead_elsewhere(project, view, others, progress)


def _nodes_that_go(project: Project, change: Change) -> list[str]:
    """Postgres nodes and no etcd members, by the names a topology gives them."""
    return [name for name in change.remove if name.startswith(project.settings.prefix) and "-node" in name]


def _tell(project: Project, progress: Progress) -> None:
    """All that run but the monitoring."""
    watching = project.topology.monitoring
    running = [name for name, there in engine.containers(project).items() if there.state == "running"]
    with progress.stage("tell every host of the others"):
        deliver(project, [name for name in running if watching is None or name != watching.name])


def _tell_monitoring(project: Project) -> None:
    """When those that come are there, and before the others go: it would tell people that they are away."""
    watching = project.topology.monitoring
    if watching and _runs(project, watching.name):
        deliver(project, [watching.name])


# Growing ----------------------------------------------------------------------------------------------------


def _grow_etcd(project: Project, change: Change, progress: Progress) -> None:
    """One member at a time, each as a learner first: with every step the members that are there keep the quorum."""
    voting = {entry.name for entry in members_of(project) if entry.started and not entry.learner}
    for member in project.topology.etcd:
        if member.name in voting and member.name not in change.create:
            continue
        with progress.stage(f"{member.name} joins etcd"):
            join(project, member.name, lambda host=member.name: make(project, host, progress))  # type: ignore[misc]


def _move_etcd(project: Project, change: Change, progress: Progress) -> None:
    """A member of another site keeps its data, its name and its address between the sites."""
    for name in change.move:
        leaving.require_quorum_without(_wait_for_etcd(project), [name])
        with progress.stage(f"move {name} to {project.topology.host(name).site.name}"):  # type: ignore[union-attr]
            make(project, name, progress)
            _wait_for_etcd(project)


def _grow_nodes(project: Project, change: Change, progress: Progress) -> None:
    """Those that are made clone at the same time, from the repository or by basebackup. What an interrupted command
    left stopped, or on its way, is brought up with them."""
    nodes = [node.name for node in project.topology.nodes if not _runs(project, node.name)]
    for name in nodes:
        with progress.stage(f"make {name}"):
            make(project, name, progress)
    if nodes or change.again:
        with progress.stage(f"wait until {named(nodes, 'streams', 'stream') if nodes else 'those that stay stream'}"):
            wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)


def _roll(project: Project, rendered: RenderReport, avoid: Sequence[str], progress: Progress) -> None:
    """Nodes whose containers are not as the files say are made again: the members of etcd are in their definition."""
    planned = rollout.plan(project, rendered.services, rendered.block, compose_version)
    nodes = [node.name for node in project.topology.nodes if node.name in planned.again]
    alone = not any(member.streams for member in read_view(project).members)
    work = in_turn(project, progress, "then inv scale goes on", in_place=alone, avoid=avoid)
    roll(project, None, nodes, work, progress)


def _wait_for_etcd(project: Project) -> EtcdView:
    return wait_until(
        lambda: read_etcd(project),
        lambda view: not view.unhealthy,
        "Every etcd member is healthy",
        timeout=project.settings.up_timeout,
        explain=lambda view: f"not healthy: {', '.join(view.unhealthy)}",
        hint="inv status",
    )


# Shrinking --------------------------------------------------------------------------------------------------


def _shrink(project: Project, change: Change, going: Sequence[str], progress: Progress) -> None:
    """etcd members leave one at a time, then the nodes, then all that went is removed with its data."""
    if going:
        leaving.lead_elsewhere(project, read_view(project), going, progress)
        leaving.wait_for_synchronous(project, going, progress)
    staying = {member.name for member in project.topology.etcd}
    for name in sorted((entry.name for entry in members_of(project) if entry.name not in staying), reverse=True):
        _drain_etcd(project, name, progress)
    for name in going:
        with progress.stage(f"stop {name}"):
            _stop(project, name)
            forget = etcd.forget_member(project.topology, name)
            connect(project).must(able_member(project), forget, f"{name} could not be taken out of the cluster")
    for name in change.remove:
        with progress.stage(f"remove {name} with its data"):
            _remove(project, name)
    wanted = {f"{project.name}_{name}" for name in networks(project.topology, block_of(project.record().subnet))}
    own = {network.name for network in every_network(project) if network.project == project.name}
    engine.remove_networks(project, own - wanted)


def _drain_etcd(project: Project, name: str, progress: Progress) -> None:
    """Raises LosesQuorum when the members that stay could not decide alone any more."""
    healthy, count = len(read_etcd(project).healthy), len(members_of(project))
    if healthy < count // 2 + 1:
        raise LosesQuorum(
            f"etcd would lose its quorum: without {name} {healthy} of {count} members are left, "
            f"{count // 2 + 1} are needed",
            "inv status; bring back another etcd member first",
        )
    with progress.stage(f"{name} leaves etcd"):
        # One that ends well hands etcd's lead over first.
        _stop(project, name)
        take_out(project, name)


def _runs(project: Project, name: str) -> bool:
    container = engine.containers(project).get(name)
    return container is not None and container.state == "running"


def _stop(project: Project, name: str) -> None:
    if _runs(project, name):
        engine.signal(project, "stop", [name])


def _remove(project: Project, name: str) -> None:
    """Its container, its volume, its files and keys."""
    if name in engine.containers(project):
        engine.remove(project, [name])
    wanted = f"{project.name}_{name}"
    engine.remove_volumes(volume for volume in engine.volumes(project) if volume.name == wanted)
    shutil.rmtree(project.folder / name, ignore_errors=True)
    pair, key = pair_of(project, name), host_key(project, name)
    for path in (pair.certificate, pair.key, key, key.with_name(f"{key.name}.pub")):
        path.unlink(missing_ok=True)


# The end ----------------------------------------------------------------------------------------------------


def _finish(project: Project) -> None:
    """From now on the cluster has this shape. Volumes that are older keep the label they were made with."""
    now = shape(project)
    made = {
        host: volume.shape
        for volume in engine.volumes(project)
        if (host := volume.name.removeprefix(f"{project.name}_"))
        and volume.shape not in ("", shape(project, REPOSITORY) if host == REPOSITORY else now)
    }
    project.write_record(replace(project.record(), shape=now, made=made))
    render_project(project)
    note_running(project)
    # Last: until then the same command completes it.
    project.write_record(replace(project.record(), scaling={}))
