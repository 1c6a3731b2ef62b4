"""Data that is gone, and a disk that is full."""

from __future__ import annotations

from pgha.cluster.handover import hand_over
from pgha.cluster.view import read_view, too_few_synchronous, wait_until_well
from pgha.console import Progress
from pgha.errors import BadValue, ToolFailed
from pgha.failures import broken
from pgha.failures.aims import data_dir, helper_image, postgres_node, require_running
from pgha.failures.broken import Broken, Mechanism
from pgha.model.topology import Host
from pgha.project.project import Project
from pgha.remote.engine import engine_of
from pgha.tools import disk, patroni, processes
from pgha.waiting import wait_until

DISK_ROOM = 96
"""Megabytes a node's small disk has to spare: six WAL segments."""


def wipe(project: Project, node: str) -> Host:
    """A node's data directory vanishes and its Postgres with it. Patroni clones it again by itself.

    The caller holds the lock. Raises BadValue when the node is the only one that has the data.
    """
    host = postgres_node(project, node)
    require_running(project, [host])
    _require_another_copy(read_view(project), node)
    engine_of(project, node).must(disk.wipe(project.container(node), data_dir(project)))
    return host


def _require_another_copy(view: patroni.ClusterView, node: str) -> None:
    """A leader that has crashed holds its role until its lock expires: only one that runs is a leader here."""
    leader = view.leader
    if not [m for m in view.members if m.name != node and (m.streams or m == leader)]:
        raise BadValue(f"No other member has the data of {node}", "inv status")


def limit_disk(project: Project, node: str, progress: Progress) -> list[Broken]:
    """Give a node a small disk: its data moves to a file system in memory of its own. The caller holds the lock.

    Only so can a disk be full without filling this host's. Patroni is down meanwhile; a leader hands over first
    and gets the lead back at the end. Idempotent.

    Raises BadValue when the node is the only one that has the data: what is in memory ends with its container.
    """
    host = postgres_node(project, node)
    containers = require_running(project, [host])
    entries = [Broken(Mechanism.FILL, node, started=containers[node].started)]
    if entries[0] in broken.read(project):
        return entries
    before = read_view(project)
    _require_another_copy(before, node)
    container, on = project.container(node), engine_of(project, node)
    on.must(disk.fits(container, DISK_ROOM), f"{node} cannot get a small disk", "inv status")
    broken.add(project, entries)
    with progress.stage(f"give {node} a small disk"):
        on.must(processes.take_down(container, "patroni"))
        try:
            on.must(disk.shrink(container, helper_image(project), DISK_ROOM))
        finally:
            on.must(processes.resume_service(container, "patroni"))
        wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
    if before.leader and before.leader.name == node:
        leader = read_view(project).leader
        if leader and leader.name != node:
            hand_over(project, node, progress, only_switchover=True)
        # On a full disk Patroni could not name them in Postgres' configuration any more.
        wait_until(
            lambda: too_few_synchronous(project),
            lambda lacks: not lacks,
            "Every standby is synchronous again",
            timeout=project.settings.up_timeout,
            explain="; ".join,
        )
    return entries


def fill(project: Project, node: str, progress: Progress) -> list[Broken]:
    """A node's disk is full: not a byte more can be written. The caller holds the lock."""
    entries = limit_disk(project, node, progress)
    answer = engine_of(project, node).run(disk.fill(project.container(node)))
    if answer.stdout.strip() != "0":
        raise ToolFailed(f"The disk of {node} is not full", answer.words, "inv chaos.heal")
    return entries
