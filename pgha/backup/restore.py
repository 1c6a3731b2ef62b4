"""Restore: the whole cluster to a point in time, in stages that are recorded, so that each can be completed or undone.

Until the stage `leading` the cluster's own data is untouched: one node holds the restored data, and the member that
was furthest (the leader) keeps what it had. Nothing of the restore is in the archive or the DCS before that.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from pgha.backup import recovery
from pgha.backup.catalogue import find_backup
from pgha.backup.members import (
    Node,
    hold,
    is_held,
    patroni_leads,
    release_to_lead,
    require_together,
    start_containers,
    timed,
)
from pgha.backup.preparation import Prepared, require_room, settle, settle_end
from pgha.backup.restore_record import (
    FILE,
    NO_WAY_BACK,
    Record,
    Stage,
    describe_target,
    enter_stage,
    has_reached,
    read_restore,
    way_on,
    write_restore,
)
from pgha.backup.stanza import read_stanza
from pgha.backup.targets import Request, Target
from pgha.cluster.configuration import read_config
from pgha.cluster.quorum import require_quorum
from pgha.cluster.role_passwords import set_back_passwords
from pgha.cluster.view import node_names, read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import NoBackup, PghaError
from pgha.model.dynamic import bootstrap_configuration
from pgha.model.merging import merge
from pgha.model.topology import REPOSITORY
from pgha.model.words import counted, time_text
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.tools import etcd, patroni, pgbackrest, postgres, wal

JOIN_PATIENCE = 15
"""Seconds for the services of a container that was just started."""


@dataclass(frozen=True)
class Report:
    """What a restore did."""

    requested: str
    label: str
    reached: str
    timeline: int
    leader: str
    methods: dict[str, str]
    seconds: dict[str, float]
    notes: tuple[str, ...]
    view: patroni.ClusterView
    idle_slots: tuple[str, ...]


def restore(project: Project, prepared: Prepared, progress: Progress) -> Report:
    """Begin a restore and bring it to its end. The caller holds the lock and has asked the operator."""
    start_containers(project, progress)
    require_quorum(project)
    require_together(project, JOIN_PATIENCE)
    require_room(project, prepared.target.backup.database_size)
    target = settle(project, prepared, progress)
    record = Record(
        request=asdict(prepared.request),
        began=time.time(),
        leader=_leader_name(project),
        config=_dynamic_configuration(project),
        label=target.backup.label,
        kind=target.kind,
        value=target.value,
        timeline=target.history.timeline,
        parents=[list(parent) for parent in target.history.parents],
        notes=list(target.notes),
    )
    return resume(project, write_restore(project, record), progress)


def resume(project: Project, record: Record, progress: Progress) -> Report:
    """Bring a restore from wherever it was interrupted to its end. The caller holds the lock.

    Any error has the way on, or back, as its hint.
    """
    try:
        return _go_on(project, record, progress)
    except PghaError as error:
        reached = read_restore(project)
        if reached:
            error.hint = way_on(reached)
        raise


def _go_on(project: Project, record: Record, progress: Progress) -> Report:
    start_containers(project, progress)
    place = Node(project, record.node, postgres.data_dir(project.settings.postgres))
    if record.stage not in NO_WAY_BACK:
        record = hold(project, record, progress)
        place = replace(place, name=record.node)
        record = _recover(project, record, place, progress)
        record = _promote(project, record, place, progress)
        # The last moment to find out that the DCS or the repository would not take the new leader.
        require_quorum(project)
        read_stanza(project)
        record = enter_stage(project, record, Stage.LEADING)
    if record.stage == Stage.LEADING:
        record = _lead(project, record, place, progress)
        record = enter_stage(project, record, Stage.CLONING)
    return _finish(project, record, progress)


def _leader_name(project: Project) -> str:
    try:
        leader = read_view(project).leader
    except PghaError:
        return ""
    return leader.name if leader else ""


def _dynamic_configuration(project: Project) -> dict[str, Any]:
    """What the DCS holds, or what a new cluster would start with; archiving is on in either case.

    Not paused: a paused Patroni would not start the restored Postgres.
    """
    try:
        current = read_config(project)
    except PghaError:
        current = bootstrap_configuration(project.settings, project.topology)
    current.pop("pause", None)
    return merge(current, pgbackrest.archiving(project.settings.stock))


def _recover(project: Project, record: Record, place: Node, progress: Progress) -> Record:
    if has_reached(record, Stage.PROVEN):
        return record
    target = _target_of(project, record)
    if record.node == record.keep:
        recovery.must(place, postgres.set_aside(place.data), "The old data could not be renamed")
    if not has_reached(record, Stage.RESTORED):
        record = enter_stage(project, record, Stage.RESTORING, kind=target.kind, value=target.value)
        with timed(record, progress, "restore", f"pgbackrest restore {record.label} on {record.node}"):
            recovery.put_backup(place, target, progress)
        record = enter_stage(project, record, Stage.RESTORED)
    with timed(record, progress, "recover", f"recover to {describe_target(record)}, archiving off"):
        point = recovery.recover(place, target, progress)
    reached = {
        "lsn": wal.lsn_text(point.lsn),
        "time": time_text(point.last_transaction) if point.last_transaction else "",
        "timeline": point.timeline,
    }
    progress.note(f"reached: {point}")
    return enter_stage(project, record, Stage.PROVEN, reached=reached)


def _target_of(project: Project, record: Record) -> Target:
    """The recorded target; the end of the archive becomes a position now that nobody writes."""
    found = find_backup(project, record.label)
    if found is None:
        raise NoBackup(f"Backup {record.label} is no longer in the repository", "inv restore --abort")
    history = wal.History(record.timeline, tuple((parent, end) for parent, end in record.parents))
    target = Target(record.kind, record.value, found[0], history, (), repo=found[1])
    # The leader archived its last segment when it stopped.
    return settle_end(project, target)


def _promote(project: Project, record: Record, place: Node, progress: Progress) -> Record:
    """The restored server becomes a primary where nobody sees it: neither the archive nor the DCS knows."""
    if has_reached(record, Stage.PROMOTED):
        return record
    with timed(record, progress, "promote", f"promote {record.node}, archiving off"):
        timeline = recovery.promote(place, progress)
        recovery.stop(place)
    return enter_stage(project, record, Stage.PROMOTED, reached={**record.reached, "new_timeline": timeline})


def _lead(project: Project, record: Record, place: Node, progress: Progress) -> Record:
    """From here on there is no way back: the new timeline goes into the archive, the old cluster out of the DCS."""
    timeline = int(record.reached["new_timeline"])
    with timed(record, progress, "lead", f"{record.node} takes the lead on timeline {timeline}"):
        recovery.must(place, postgres.stop(place.data), "Postgres could not be stopped")
        history = f"{place.data}/pg_wal/{timeline:08X}.history"
        recovery.must(place, pgbackrest.archive_push(history), "The new timeline's history could not be archived")
        if not patroni_leads(project, record.node):
            topology = project.topology
            recovery.must(place, etcd.put_config(topology, record.config), "etcd did not take the configuration")
            recovery.must(place, etcd.forget_cluster(topology), "etcd did not forget the old cluster")
        release_to_lead(project, record.node)
    with timed(record, progress, "archive", "pgbackrest check"):
        connect(project).must(REPOSITORY, pgbackrest.check(), "The restored leader does not archive")
    return record


def _finish(project: Project, record: Record, progress: Progress) -> Report:
    """Make every other member again from the repository, and wait until all of them stream."""
    # The data may be older than the passwords that are in use now.
    for note in set_back_passwords(project, record.node):
        progress.note(note)
    others = [name for name in node_names(project) if name != record.node]
    if others:
        title = f"make {counted(len(others), 'member')} again from the repository"
        with timed(record, progress, "clone", title), ThreadPoolExecutor(max_workers=len(others)) as pool:
            done = dict(zip(others, pool.map(lambda name: _clone(project, record, name), others), strict=True))
        record = write_restore(project, replace(record, methods={**record.methods, **done}))
    with timed(record, progress, "stream", "wait until every member streams"):
        view = wait_until_well(
            project, timeout=project.settings.up_timeout, detail=progress.detail, ask_first=record.node
        )
    methods = {name: _method(project, record, name) for name in others}
    idle = ask_postgres(connect(project), record.node, postgres.query(postgres.IDLE_SLOTS)).split()
    place = Node(project, record.node, postgres.data_dir(project.settings.postgres))
    recovery.must(place, postgres.remove_kept(place.data), "The data that was kept could not be removed")
    (project.folder / FILE).unlink()
    return Report(
        requested=str(Request(**record.request)),
        label=record.label,
        reached=f"{record.reached['lsn']}, last transaction {record.reached['time'] or 'before the backup ended'}",
        timeline=(view.leader.timeline if view.leader else None) or int(record.reached["new_timeline"]),
        leader=record.node,
        methods=methods,
        seconds=record.seconds,
        notes=tuple(record.notes),
        view=view,
        idle_slots=tuple(idle),
    )


PGBACKREST = "pgbackrest (delta)"


def _clone(project: Project, record: Record, name: str) -> str:
    """Put the same backup there and let Patroni start it; without that, let Patroni make the member itself."""
    if not is_held(project, name):
        # An interrupted command had got this far with it.
        return record.methods.get(name, PGBACKREST)
    data = postgres.data_dir(project.settings.postgres)
    ssh = connect(project)
    ssh.must(name, postgres.clear_way(data), "The data directory could not be made ready")
    answer = ssh.run(name, pgbackrest.restore(data, record.label, "--type=standby"))
    if not answer.ok:
        ssh.must(name, postgres.remove_data(data), "The old data could not be removed")
    ssh.must(name, patroni.release(), "Patroni could not be started")
    return PGBACKREST if answer.ok else f"left to Patroni: {answer.last_words}"


def _method(project: Project, record: Record, name: str) -> str:
    """Which way this member was made; Patroni's log tells when it did it itself."""
    made = record.methods.get(name, "")
    patronis = pgbackrest.parse_replica_method(engine.log_since(project, name, record.began))
    return f"{patronis} (Patroni)" if patronis else made
