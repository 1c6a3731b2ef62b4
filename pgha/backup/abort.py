"""The way back from a restore that is half done."""

from __future__ import annotations

from pgha.backup import recovery
from pgha.backup.members import Node, everywhere, is_held, release_to_lead, start_containers
from pgha.backup.restore_record import FILE, NO_WAY_BACK, Record, Stage, has_reached
from pgha.cluster.view import node_names, wait_until_well
from pgha.console import Progress
from pgha.errors import BadValue
from pgha.project.project import Project
from pgha.tools import patroni, postgres


def abort(project: Project, record: Record, progress: Progress) -> patroni.ClusterView:
    """Bring the old cluster back as it was. The caller holds the lock.

    Raises BadValue when the restored leader is already in charge.
    """
    if record.stage in NO_WAY_BACK:
        raise BadValue(f"{record.node} already leads with the restored data", "inv restore --yes completes the restore")
    start_containers(project, progress)
    names = node_names(project)
    data = postgres.data_dir(project.settings.postgres)
    place = Node(project, record.node, data)
    # A node that is no longer held was given back by an abort that was interrupted later.
    if record.node and has_reached(record, Stage.RESTORING) and is_held(project, record.node):
        with progress.stage(f"remove the restored data from {record.node}"):
            recovery.must(place, postgres.clear_way(data), "The restored server could not be stopped")
            if record.node == record.keep:
                recovery.must(place, postgres.take_back(data), "The old data could not be taken back")
            elif record.keep:
                recovery.must(place, postgres.remove_data(data), "The restored data could not be removed")
    with progress.stage("start the old cluster"):
        first = record.leader if record.leader == record.keep else ""
        if first:
            release_to_lead(project, first)
        everywhere(project, dict.fromkeys(names, patroni.release()), "Patroni could not be started")
        view = wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
    (project.folder / FILE).unlink()
    return view
