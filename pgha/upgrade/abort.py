"""The way back from an upgrade that is half done: until the new leader is let go."""

from __future__ import annotations

from pgha.backup.members import release_to_lead, start_containers
from pgha.cluster.view import node_names, wait_until_well
from pgha.console import Progress
from pgha.errors import BadValue
from pgha.project.project import Project
from pgha.project.upgrade_record import Record, forget_upgrade
from pgha.remote.connections import connect
from pgha.tools import patroni, pg_upgrade
from pgha.upgrade import places
from pgha.upgrade.gates import projects


def abort(project: Project, record: Record, progress: Progress) -> patroni.ClusterView:
    """Bring the old cluster back as it was. The caller holds the lock.

    Raises BadValue when the new leader was let go: what it writes is also in the old data's files.
    """
    if not record.may_go_back:
        raise BadValue(f"{record.leader} leads with PostgreSQL {record.new} already", f"{record.command} completes it")
    runs, _ = projects(project, record)
    places.remove_aside(runs, record)
    start_containers(runs, progress)
    with progress.stage(f"take back what pg_upgrade made on {record.leader}"):
        take_back = pg_upgrade.take_back(record.old, record.new)
        connect(runs).must(record.leader, take_back, "The old data could not be taken back")
    with progress.stage(f"containers of PostgreSQL {record.old}"):
        places.remake(runs, progress)
    with progress.stage("start the old cluster"):
        release_to_lead(runs, record.leader)
        places.release(runs, node_names(runs))
        view = wait_until_well(runs, timeout=runs.settings.up_timeout, detail=progress.detail)
    forget_upgrade(runs)
    return view
