"""A major upgrade, in stages that are recorded: each can be completed, and until the new leader is let go undone.

pg_upgrade links the leader's files into the new data directory. Until a server is started on that by Patroni, the old
data is whole when its pg_control gets its name back (pg_upgrade's manual): the old cluster is never started beside it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pgha.backup.backups import run_backup
from pgha.backup.members import everywhere, is_held, patroni_leads, release_to_lead, start_containers
from pgha.backup.stanza import ARCHIVE_PATIENCE, read_stanza
from pgha.cluster.quorum import require_quorum
from pgha.cluster.view import node_names, wait_until_well
from pgha.console import Progress
from pgha.errors import NotBuilt, PghaError, ToolFailed, UpgradeRefused
from pgha.model.topology import REPOSITORY, STANZA
from pgha.project.project import Project
from pgha.project.upgrade_record import (
    Record,
    Stage,
    forget_upgrade,
    has_reached,
    read_upgrade,
    way_on,
    write_upgrade,
)
from pgha.remote.connections import connect
from pgha.stack import lifecycle
from pgha.stack.images import build_images, build_upgrade_image, require_images
from pgha.stack.upgrading import renew_images
from pgha.tools import etcd, patroni, pg_upgrade, pgbackrest, postgres
from pgha.upgrade import abort, places
from pgha.upgrade.gates import Checked, projects, require_extensions
from pgha.upgrade.places import timed
from pgha.waiting import wait_until

STOPPED = ("stop", "upgrade", "lead")
"""The stages of `Record.seconds` in which nobody can write."""


@dataclass(frozen=True)
class Report:
    """What an upgrade did."""

    record: Record
    view: patroni.ClusterView
    notes: tuple[str, ...]

    @property
    def outage(self) -> float:
        """Seconds without a leader, as far as this command took them."""
        return round(sum(self.record.seconds.get(name, 0) for name in STOPPED), 1)


def upgrade(checked: Checked, progress: Progress) -> Report:
    """Upgrade a cluster that was checked. The caller holds the lock and has asked the operator."""
    runs, target = checked.runs, checked.target
    record = Record(
        checked.old, checked.new, time.time(), checked.leader, dict(runs.flags), slots=list(checked.facts.slots)
    )
    prepare_images(checked, record, progress)
    require_extensions(checked)
    with progress.stage(f"pg_upgrade of a copy of the schemas, {record.old} to {record.new}"):
        places.rehearse(runs, record, progress)
    if target.topology.repository:
        record = replace(record, label=run_backup(runs, "incr", progress).label)
    return resume(runs, write_upgrade(runs, record), progress)


def prepare_images(checked: Checked, record: Record, progress: Progress) -> None:
    """The new major's images with the newest packages, and the one with the programs of both."""
    try:
        require_images(checked.target)
    except NotBuilt:
        build_images(checked.target, progress)
    renew_images(checked.target, progress)
    releases = (checked.runs.settings.release, checked.target.settings.release)
    build_upgrade_image(*releases, places.image_of(checked.runs, record), progress)


def resume(project: Project, record: Record, progress: Progress) -> Report:
    """Bring an upgrade from wherever it was interrupted to its end. The caller holds the lock.

    What pg_upgrade refuses brings the old cluster back. Any other error has the way on, or back, as its hint.
    """
    try:
        return _go_on(project, record, progress)
    except PghaError as error:
        reached = read_upgrade(project)
        if reached and isinstance(error, UpgradeRefused):
            with progress.stage("the old cluster is brought back"):
                abort.abort(project, reached, progress)
            error.hint = "the old cluster is back as it was; mend what pg_upgrade names, then the same command"
        elif reached:
            error.hint = way_on(reached)
        raise


def _go_on(project: Project, record: Record, progress: Progress) -> Report:
    runs, target = projects(project, record)
    places.remove_aside(runs, record)
    start_containers(runs if record.may_go_back else target, progress)
    if record.may_go_back:
        with timed(runs, record, progress, "stop", "stop Patroni on every member, the leader last"):
            places.hold(runs, record)
        record = write_upgrade(runs, record, stage=Stage.UPGRADING)
        _upgrade_data(runs, target, record, progress)
        # The last moment to find out that the DCS or the repository would not take the new leader.
        require_quorum(target)
        if target.topology.repository:
            read_stanza(target)
        record = write_upgrade(target, record, stage=Stage.LEADING)
    if record.stage == Stage.LEADING:
        _lead(target, record, progress)
        record = write_upgrade(target, record, stage=Stage.CLONING)
    return _finish(target, record, progress)


def _upgrade_data(runs: Project, target: Project, record: Record, progress: Progress) -> None:
    """pg_upgrade has a container of its own: the others are made again beside it, and Patroni is held back in them."""
    title = f"pg_upgrade --link on {record.leader}, and containers of PostgreSQL {record.new}"
    with timed(runs, record, progress, "upgrade", title), ThreadPoolExecutor(max_workers=1) as pool:
        upgraded = places.is_upgraded(runs, record)
        remade = pool.submit(places.remake, target, progress)
        if not upgraded:
            places.upgrade_data(runs, record, progress)
        remade.result()


def _lead(project: Project, record: Record, progress: Progress) -> None:
    """From here on there is no way back: the new server writes into files that are also the old one's."""
    with timed(project, record, progress, "lead", f"{record.leader} takes the lead with PostgreSQL {record.new}"):
        if not patroni_leads(project, record.leader):
            # Patroni takes the data of another system identifier only for a cluster it does not know.
            forget = etcd.forget_cluster(project.topology)
            connect(project).must(record.leader, forget, "etcd did not forget the old cluster")
            release_to_lead(project, record.leader)
    if project.topology.repository:
        with timed(project, record, progress, "stanza", f"pgbackrest stanza-upgrade {STANZA}"):
            _upgrade_stanza(project)
            connect(project).must(REPOSITORY, pgbackrest.check(), "The new leader does not archive")


def _upgrade_stanza(project: Project) -> None:
    """While a node archives it holds a lock that stanza-upgrade wants, too."""
    answer = wait_until(
        lambda: connect(project).run(REPOSITORY, pgbackrest.stanza_upgrade()),
        lambda answer: answer.exit_code not in pgbackrest.LOCKED,
        "pgbackrest stanza-upgrade gets its lock",
        timeout=ARCHIVE_PATIENCE,
        interval=1,
        explain=lambda answer: answer.words,
    )
    if not answer.ok:
        raise ToolFailed(f"pgbackrest stanza-upgrade failed (exit code {answer.exit_code})", answer.words)


def _finish(project: Project, record: Record, progress: Progress) -> Report:
    """The other members, statistics, and a backup."""
    ssh, leader = connect(project), record.leader
    others = [name for name in node_names(project) if name != leader]
    if has_reached(record, Stage.FINISHING):
        return _end(project, record, progress)
    analyze = pg_upgrade.analyze(record.new, project.settings.processes)
    with ThreadPoolExecutor(max_workers=1) as pool:
        analyzed = pool.submit(ssh.run, leader, analyze)
        if others:
            with timed(project, record, progress, "clone", f"make {len(others)} members again, and analyze"):
                _release_replicas(project, record, others)
                wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail, ask_first=leader)
        with timed(project, record, progress, "analyze", "vacuumdb --analyze-in-stages"):
            answer = analyzed.result()
    if not answer.ok:
        raise ToolFailed("vacuumdb --analyze-in-stages failed", answer.words)
    if project.topology.repository and not read_stanza(project).backups:
        with timed(project, record, progress, "backup", "the first full backup"):
            run_backup(project, "full", progress)
    return _end(project, write_upgrade(project, record, stage=Stage.FINISHING), progress)


def _end(project: Project, record: Record, progress: Progress) -> Report:
    """What is not of the new release yet, etcd's containers, one after another; then the old data goes."""
    notes = _notes(project, record)
    view = lifecycle.up(project, progress).view
    forget = pg_upgrade.forget_old(record.old, record.new)
    connect(project).must(record.leader, forget, "The old data could not be removed")
    places.note_shape(project)
    forget_upgrade(project)
    return Report(record, view, notes)


def _release_replicas(project: Project, record: Record, names: list[str]) -> None:
    """Their old data is of no use to the new leader: Patroni makes them again, from an empty directory."""
    held = [name for name in names if is_held(project, name)]
    forget = pg_upgrade.forget_old(record.old, record.new)
    everywhere(project, dict.fromkeys(held, forget), "The old data could not be removed")
    fresh = postgres.remove_data(postgres.data_dir(record.new))
    everywhere(project, dict.fromkeys(held, fresh), "The data directory could not be made ready")
    places.release(project, held)


def _notes(project: Project, record: Record) -> tuple[str, ...]:
    """What an operator has to do, or to know."""
    ssh, notes = connect(project), []
    if record.slots:
        notes.append(f"these logical slots are gone: {', '.join(record.slots)}")
    updates = ssh.run(record.leader, pg_upgrade.updates(record.new)).stdout
    names = [line.split()[2].strip('";') for line in updates.splitlines() if line.startswith("ALTER EXTENSION")]
    if names:
        notes.append(f"newer versions of extensions can be had (alter extension ... update): {', '.join(names)}")
    if record.old >= 15:
        answer = ssh.run(record.leader, postgres.query(pg_upgrade.COLLATIONS))
        if answer.ok and answer.stdout.split():
            databases = ", ".join(answer.stdout.split())
            notes.append(
                f"text is sorted by a newer library than the indexes of {databases} were made with: reindex database, "
                "then alter database ... refresh collation version"
            )
    return tuple(notes)
