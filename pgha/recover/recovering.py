"""The cluster made again from what is left, in stages that are recorded, each of which does what lacks.

The lost hosts are given up first: their containers go, so that nothing starts them as they were, and no file names them
any more. Their volumes stay, for whoever wants to look for what was lost; `inv scale` removes them before it makes the
hosts anew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from pgha.cluster import leaving
from pgha.cluster.configuration import apply_settings
from pgha.cluster.rollout_record import forget_rollout
from pgha.cluster.view import read_members, read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import PghaError, ToolFailed
from pgha.failures import broken
from pgha.project import maintenance
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.project.running import note_running
from pgha.recover.account import Account, document
from pgha.recover.record import COMMAND, Record, Stage, enter_stage, finish, read_recovery
from pgha.remote import connections, engine, networks
from pgha.remote.connections import connect
from pgha.remote.readiness import compose_version
from pgha.stack import crontab, rollout
from pgha.stack.delivery import deliver
from pgha.stack.images import require_images
from pgha.stack.remaking import make_again
from pgha.stack.writing import render_project
from pgha.tools import docker, etcd, etcd_alone, patroni, postgres
from pgha.tools.command import Answer, Command
from pgha.tools.position import POSITION, parse_position
from pgha.tools.wal import SEGMENT_SIZE, lsn_text, parse_segment
from pgha.waiting import Stopwatch, wait_until

ETCD_PATIENCE = 60
"""Seconds until an etcd member that is alone can commit."""


@dataclass(frozen=True)
class Report:
    """The cluster as it is now."""

    record: Record
    leader: str
    timeline: int
    view: patroni.ClusterView
    notes: tuple[str, ...]
    seconds: float


def recover(project: Project, account: Account, progress: Progress) -> Report:
    """Give the lost hosts up and go on with the rest. The caller holds the lock, and the loss was accepted."""
    require_images(project)
    record = Record(
        began=time.time(),
        gone=list(account.gone),
        etcd=account.etcd,
        candidate=account.candidate,
        beyond=list(account.archived.beyond),
        account=document(account),
    )
    return resume(project, record, progress)


def resume(project: Project, record: Record, progress: Progress) -> Report:
    """Bring a recovery from wherever it was interrupted to its end. The caller holds the lock.

    Any error has the way on as its hint.
    """
    try:
        return _go_on(project, record, progress)
    except PghaError as error:
        if read_recovery(project):
            error.hint = "; ".join(filter(None, (error.hint, f"{COMMAND} goes on")))
        raise


def _go_on(project: Project, record: Record, progress: Progress) -> Report:
    clock = Stopwatch()
    record = enter_stage(project, record, Stage.FENCING)
    left = _fence(project, record, progress)
    record = enter_stage(left, record, Stage.ETCD)
    _make_etcd(left, record, progress)
    record = enter_stage(left, record, Stage.NODES)
    _start_nodes(left, record, progress)
    record = enter_stage(left, record, Stage.LEADING)
    notes = _lead(left, record, progress)
    record = enter_stage(left, record, Stage.FOLLOWING)
    notes += [f"dynamic configuration: {line}" for line in apply_settings(left)]
    with progress.stage("wait until every member that is left streams"):
        view = wait_until_well(left, timeout=left.settings.up_timeout, detail=progress.detail)
    leaving.wait_for_synchronous(left, (), progress)
    if left.record().scheduled:
        crontab.install(left, [name for name, c in engine.containers(left).items() if c.state == "running"])
    note_running(left)
    forget_rollout(left)
    leader = view.leader.name if view.leader else record.candidate
    timeline = (view.leader.timeline if view.leader else None) or 0
    finish(left, record, {"leader": leader, "timeline": timeline, "seconds": round(clock.seconds, 1)})
    return Report(record, leader, timeline, view, tuple(notes), clock.seconds)


# Fencing ----------------------------------------------------------------------------------------------------


def _fence(project: Project, record: Record, progress: Progress) -> Project:
    """The project without the lost hosts. Written down before their containers go: from then on nothing starts them,
    and what comes back with its machine is named by `status` and removed by `up`."""
    gone = tuple(dict.fromkeys((*project.gone, *record.gone)))
    known = project.record()
    replacing = "" if known.replacing in gone else known.replacing
    project.write_record(replace(known, gone=gone, replacing=replacing))
    left = replace(project, gone=gone, running=None)
    connections.close_all()
    there = engine.given_up(left)
    if there:
        with progress.stage(f"remove the containers of {', '.join(there)}, their volumes stay"):
            engine.remove(left, there)
    broken.remove(left, [entry for entry in broken.read(left) if entry.host in gone])
    maintenance.remove(left, gone)
    render_project(left)
    return left


# etcd -------------------------------------------------------------------------------------------------------


def _make_etcd(project: Project, record: Record, progress: Progress) -> None:
    """One member, with its own data and name, of which those that join later get the same data."""
    member, mark = record.etcd, str(record.began)
    if _inside(project, member, etcd_alone.read_mark(project.topology.urls, member)).stdout.strip() == mark:
        return
    file = project.folder / member / "etcd.yml"
    rendered = file.read_text()
    with progress.stage(f"{member} gives every other etcd member up"):
        try:
            write_file(file, etcd_alone.forcing(rendered))
            _start_etcd_again(project, member)
            # Why: see etcd_alone. One more than makes a snapshot.
            for _ in range(3):
                _write(project, member, "while it is made alone")
        finally:
            # With it the next start would give up those that have joined since.
            write_file(file, rendered)
            engine.deliver(project, [member])
        _start_etcd_again(project, member)
        _remove_others(project, member)
        _write(project, member, mark)


def _start_etcd_again(project: Project, member: str) -> None:
    """With the file as it is now: it is looked up again when the container starts. Raises TimedOut."""
    engine.deliver(project, [member])
    engine.engine_of(project, member).must(docker.restart(project.container(member)))
    wait_until(
        lambda: _inside(project, member, etcd_alone.health(project.topology.urls, member)).ok,
        bool,
        f"{member} can commit alone",
        timeout=ETCD_PATIENCE,
        hint=f"inv logs --node {member}",
    )


def _write(project: Project, member: str, text: str) -> None:
    """Until it is answered: an entry that is skipped is not. Raises TimedOut."""
    wait_until(
        lambda: _inside(project, member, etcd_alone.mark(project.topology.urls, member, text)).ok,
        bool,
        f"{member} takes a key",
        timeout=ETCD_PATIENCE,
        hint=f"inv logs --node {member}",
    )


def _remove_others(project: Project, member: str) -> None:
    """Those whose removal was among the entries that were skipped are listed again after a start. Raises ToolFailed."""
    listed = etcd_alone.list_members(project.topology.urls, member)
    for entry in etcd.parse_members(_on_any(project, listed)):
        if entry.name != member:
            _on_any(project, etcd.member_remove(project.topology, entry.id))
    names = [entry.name for entry in etcd.parse_members(_on_any(project, listed))]
    if names != [member]:
        raise ToolFailed(f"etcd has other members than {member}: {', '.join(names)}", hint="inv status")


def _inside(project: Project, member: str, command: Command) -> Answer:
    """The answer of etcdctl in the member's own container, whatever the nodes do."""
    inside = docker.docker("exec", project.container(member), *command.argv)
    return engine.engine_of(project, member).run(inside)


def _on_any(project: Project, command: Command) -> str:
    """What a node that is left answers."""
    return connect(project).first([node.name for node in project.topology.nodes], command, str)[1]


# Nodes ------------------------------------------------------------------------------------------------------


def _start_nodes(project: Project, record: Record, progress: Progress) -> None:
    """The containers of the nodes name every etcd member: they are made again, with their volumes. Nobody leads yet."""
    report = render_project(project)
    planned = rollout.plan(project, report.services, report.block, compose_version)
    again = [node.name for node in project.topology.nodes if node.name in planned.again]
    with progress.stage(f"make {', '.join(again)} again" if again else "see that every container runs"):
        engine.revive(project)
        make_again(project, [host.name for host in project.topology.hosts], again, progress)
        networks.reconnect(project)
        connections.close_all()
        # The repository runs on, and its pgBackRest knows the lost nodes yet.
        deliver(project, [host for host, c in engine.containers(project).items() if c.state == "running"])
    with progress.stage(f"wait until {record.candidate} sees etcd"):
        wait_until(
            lambda: read_members(project)[record.candidate],
            lambda told: isinstance(told, patroni.Told) and told.sees_quorum and told.cluster is not None,
            f"Patroni on {record.candidate} sees etcd",
            timeout=project.settings.up_timeout,
            explain=lambda told: told.message if isinstance(told, PghaError) else "it does not see it yet",
            hint=f"inv logs --node {record.candidate}",
        )


# The lead ---------------------------------------------------------------------------------------------------


def _lead(project: Project, record: Record, progress: Progress) -> list[str]:
    """Ask Patroni for a failover to the survivor that is furthest; the lost ones are forgotten, the lock among it."""
    if read_view(project).leader is None:
        _fetch_archived(project, record, progress)
        with progress.stage(f"{record.candidate} takes the lead"):
            notes = _ask_for_lead(project, record)
            wait_until(
                lambda: read_view(project),
                lambda view: view.leader is not None,
                f"{record.candidate} leads",
                timeout=project.settings.up_timeout,
                hint=f"inv logs --node {record.candidate}",
            )
        return notes
    return []


def _fetch_archived(project: Project, record: Record, progress: Progress) -> None:
    """A standby replays by itself what the archive has; until it has, it does not lead."""
    if not record.beyond:
        return
    timeline, number = parse_segment(record.beyond[-1])
    wanted = timeline, number * SEGMENT_SIZE + 1
    ask = postgres.query(POSITION)
    with progress.stage(f"wait until {record.candidate} has what the archive has ({record.beyond[-1]})"):
        wait_until(
            lambda: parse_position(connect(project).must(record.candidate, ask, "psql failed").stdout),
            lambda position: position.furthest >= wanted,
            f"{record.candidate} has replayed {record.beyond[-1]}",
            timeout=project.settings.up_timeout,
            explain=lambda position: f"it is at {lsn_text(position.furthest[1])}",
            hint=f"inv logs --node {record.candidate}",
        )


def _ask_for_lead(project: Project, record: Record) -> list[str]:
    """In this order: while the lost leader's lock is there nobody runs for the lead, and then only the one that is
    named. Without the list of synchronous standbys it does not wait for lost ones."""
    known = etcd_alone.parse_known(_on_any(project, etcd_alone.local_keys(project.topology.urls, record.etcd)))
    commands, notes = [], []
    if known.config.pop("pause", None):
        commands.append(etcd.put_config(project.topology, known.config))
        notes.append("Patroni was paused (maintenance mode): it is not any more, or nobody would lead")
    commands.append(
        etcd_alone.put(project.topology.urls, record.etcd, "failover", etcd_alone.failover_request(record.candidate))
    )
    commands += [
        etcd_alone.delete(project.topology.urls, record.etcd, f"members/{name}")
        for name in known.members
        if name in project.gone
    ]
    commands.append(etcd_alone.delete(project.topology.urls, record.etcd, "sync"))
    if known.leader in project.gone:
        commands.append(etcd_alone.delete(project.topology.urls, record.etcd, "leader"))
    for command in commands:
        connect(project).must(record.candidate, command, "etcd did not take what Patroni has to know")
    return notes
