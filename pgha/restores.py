"""Restore: the whole cluster to a point in time, in stages that are recorded, so that each can be completed or undone.

Until the stage `leading` the cluster's own data is untouched: one node holds the restored data, and the member that
was furthest (the leader) keeps what it had. Nothing of the restore is in the archive or the DCS before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import yaml

from pgha import ROOT, backups, broken, catalogue, cluster, connections, engine, recovery, targets
from pgha.cluster import Stopwatch
from pgha.connections import connect
from pgha.console import Progress
from pgha.errors import BadValue, Missing, PghaError, TimedOut, ToolFailed
from pgha.project import Project, write_file
from pgha.targets import Request, Target
from pgha.tools import etcd, patroni, pgbackrest, postgres, wal
from pgha.tools.command import Answer, Command
from pgha.topology import REPOSITORY
from pgha.waiting import wait_until

FILE = "restore.yaml"

STAGES = ("held", "restoring", "restored", "proven", "promoted", "leading", "cloning")
"""In this order; a stage is recorded when it begins, `restored`, `proven` and `promoted` when they are reached."""

NO_WAY_BACK = ("leading", "cloning")
"""From here on the restored leader is in charge, and `--abort` is refused."""

SPARE = 256 << 20
"""Bytes of a volume that stay free, for WAL."""


@dataclass(frozen=True)
class Prepared:
    """A restore that was checked and not begun."""

    request: Request
    target: Target
    archives: bool
    """a leader of the repository's database archives"""


@dataclass(frozen=True)
class Record:
    """A restore under way, as build/<project>/restore.yaml keeps it."""

    request: dict[str, str]
    began: float
    """seconds since the epoch"""
    stage: str = "held"
    leader: str = ""
    """the leader when it began; nothing when there was none"""
    keep: str = ""
    """the member whose data is not touched before the new state is proven; nothing when none has data"""
    node: str = ""
    """where the restored data is"""
    config: dict[str, Any] = field(default_factory=dict)
    """the dynamic configuration, to be put back"""
    label: str = ""
    kind: str = ""
    value: str = ""
    timeline: int = 0
    parents: list[list[int]] = field(default_factory=list)
    """the history recovery follows: `timeline` and how it came about"""
    reached: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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


# The record -------------------------------------------------------------------------------------------------


def read_record(project: Project) -> Record | None:
    """The restore that is half done, if any. Raises Missing when its record cannot be read."""
    path = project.folder / FILE
    if not path.exists():
        return None
    try:
        record = Record(**yaml.safe_load(path.read_text()))
        Request(**record.request)
        catalogue.time_of(record.began)
        STAGES.index(record.stage)
        return record
    except (OSError, ValueError, TypeError, OverflowError, yaml.YAMLError) as error:
        raise Missing(
            f"{path.relative_to(ROOT)}, the record of a restore, is damaged ({type(error).__name__})",
            f"look at it; when no restore is under way: rm {path.relative_to(ROOT)}",
        ) from None


def _write(project: Project, record: Record) -> Record:
    write_file(project.folder / FILE, yaml.safe_dump(asdict(record), sort_keys=False))
    return record


def describe(record: Record) -> str:
    """One line for `status` and for refusals."""
    began = catalogue.text_of(catalogue.time_of(int(record.began)))
    return f"a restore to {Request(**record.request)} is half done (stage {record.stage}, begun {began})"


def way_on(record: Record) -> str:
    if record.stage in NO_WAY_BACK:
        return "inv restore --yes completes it"
    return "inv restore --yes completes it, inv restore --abort brings the old cluster back"


def refuse_half_done(project: Project) -> None:
    """Raises Missing while a restore is half done: nothing else may change the cluster then."""
    record = read_record(project)
    if record:
        sentence = describe(record)
        raise Missing(sentence[0].upper() + sentence[1:], way_on(record))


# Before anything is touched ---------------------------------------------------------------------------------


def prepare(project: Project, request: Request, progress: Progress) -> Prepared:
    """Resolve the target against the repository, and look whether there is room.

    Raises BadValue for a point that cannot be reached, Missing without a backup, Unreachable when the repository
    or every node is away. Nothing is changed; only for a restore point or a transaction the leader is asked to
    archive the segment it writes.
    """
    engine.require_engine()
    backups.require_repository(project)
    _ = request.point
    _await_leader(project, progress)
    found = catalogue.read_catalogue(project)
    situation = look(project, found.stanza)
    # A timeline that has just begun is in the archive with its first segment.
    begun = situation.timeline is not None and situation.timeline not in {1, *found.histories}
    if situation.writes and (request.name or request.xid or begun):
        backups.archive_current(project, backups.require_leader(project).name, progress)
        found = catalogue.read_catalogue(project)
    target = targets.resolve(request, found, situation, finder(project, found))
    return Prepared(request, target, situation.writes)


def _await_leader(project: Project, progress: Progress) -> None:
    """Give an election that may be under way its time: the new leader archives what the old one could not.

    A lost leader is replaced after `ttl`; nobody is promoted while Patroni is paused.
    """
    try:
        view = cluster.read_view(project)
    except PghaError:
        return
    if view.leader or view.paused or all(member.is_leader for member in view.members):
        return
    settings = project.settings
    with progress.stage("wait whether a new leader comes"), suppress(TimedOut):
        wait_until(
            lambda: cluster.read_view(project).leader,
            lambda leader: leader is not None,
            "A new leader comes",
            timeout=settings.ttl + 2 * settings.loop_wait + settings.retry_timeout,
        )


def look(project: Project, stanza: pgbackrest.StanzaView) -> targets.Situation:
    """What the cluster can tell; a cluster without a leader, or of another database, tells nothing."""
    now = datetime.now().astimezone()
    nothing = targets.Situation(now, None, None, None)
    try:
        leader = cluster.read_view(project).leader
        if leader is None:
            return nothing
        ssh = connect(project)
        state = patroni.parse_node(ssh.must(leader.name, patroni.get("patroni"), "Patroni does not answer").stdout)
        archiver = backups.read_archiver(project, leader.name)
        xid = ssh.must(leader.name, postgres.query(postgres.NEXT_XID), "psql failed").stdout.strip()
    except PghaError:
        return nothing
    if state.system_id != stanza.system_id:
        return nothing
    if archiver.command != pgbackrest.archive_command():
        return targets.Situation(now, leader.timeline, None, None)
    return targets.Situation(now, leader.timeline, state.location, int(xid))


PATHS_AT_ONCE = 500
"""Files named in one remote command: a line of about 60 KB, of at most 128 KB that a shell takes."""


def finder(project: Project, found: catalogue.Catalogue) -> targets.Finder:
    """Looks for WAL records of this archive with the first node that can."""

    def find(what: str, value: str, segments: list[str]) -> list[pgbackrest.WalRecord]:
        records: list[pgbackrest.WalRecord] = []
        # Each part begins with the segment the one before ended with: a record may go on there.
        for start in range(0, max(1, len(segments) - 1), PATHS_AT_ONCE - 1):
            paths = [found.archive.paths[segment] for segment in segments[start : start + PATHS_AT_ONCE]]
            records += _look_into(project, pgbackrest.find_wal(what, value, found.stanza.archive_id, paths))
            if records and (what != "last" or any(record.committed for record in records)):
                break
        return records

    return find


def _look_into(project: Project, command: Command) -> list[pgbackrest.WalRecord]:
    """The records that the first node finds that can look; raises the last node's error when none can."""
    error: PghaError = Missing("No node can look into the archive", "inv up")
    for node in cluster.node_names(project):
        try:
            answer = connect(project).run(node, command)
        except PghaError as failure:
            error = failure
            continue
        if answer.ok:
            return pgbackrest.parse_wal_records(answer.stdout)
        if answer.exit_code == 1 and not answer.stderr.strip():
            return []
        error = ToolFailed(f"The archive cannot be looked into (on {node})", answer.words, "inv logs --node pgbackrest")
    raise error


def _require_room(project: Project, size: int) -> None:
    """Raises Missing when a node has not the room: every one gets the backup sooner or later."""
    data = postgres.data_dir(project.settings.postgres)
    names = cluster.node_names(project)
    answers = connect(project).everywhere({name: postgres.room(data) for name in names})
    for name, answer in answers.items():
        if isinstance(answer, PghaError):
            raise answer
        free, used = postgres.parse_room(answer.stdout)
        # A single node keeps its old data beside the restored one.
        there = free + used if len(names) > 1 else free
        if there < size + SPARE:
            raise Missing(
                f"{name} has room for {there >> 20} MB, the backup needs {(size + SPARE) >> 20} MB", "inv info"
            )


def settle(project: Project, prepared: Prepared, progress: Progress) -> Target:
    """The target once the archive has everything up to now: only then it is certain that no WAL is missing.

    Raises BadValue when some is.
    """
    if not prepared.archives:
        return prepared.target
    backups.archive_current(project, backups.require_leader(project).name, progress)
    found = catalogue.read_catalogue(project)
    return targets.resolve(prepared.request, found, look(project, found.stanza), finder(project, found))


def settle_end(project: Project, target: Target) -> Target:
    """The end of the archive as a position; other targets as they are."""
    if target.kind != "end":
        return target
    found = catalogue.read_catalogue(project)
    return targets.find_end(target, found, finder(project, found))


# The restore ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A node as the place of a recovery."""

    project: Project
    name: str
    data: str

    def run(self, command: Command, line: Callable[[str], None] | None = None) -> Answer:
        return connect(self.project).run(self.name, command, line)


def restore(project: Project, prepared: Prepared, progress: Progress) -> Report:
    """Begin a restore and bring it to its end. The caller holds the lock and has asked the operator."""
    _start_containers(project, progress)
    cluster.require_quorum(project)
    _require_room(project, prepared.target.backup.database_size)
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
    return resume(project, _write(project, record), progress)


def resume(project: Project, record: Record, progress: Progress) -> Report:
    """Bring a restore from wherever it was interrupted to its end. The caller holds the lock.

    Any error has the way on, or back, as its hint.
    """
    try:
        return _go_on(project, record, progress)
    except PghaError as error:
        reached = read_record(project)
        if reached:
            error.hint = way_on(reached)
        raise


def _go_on(project: Project, record: Record, progress: Progress) -> Report:
    _start_containers(project, progress)
    place = Node(project, record.node, postgres.data_dir(project.settings.postgres))
    if record.stage not in NO_WAY_BACK:
        record = _hold(project, record, progress)
        place = replace(place, name=record.node)
        record = _recover(project, record, place, progress)
        record = _promote(project, record, place, progress)
        # The last moment to find out that the DCS or the repository would not take the new leader.
        cluster.require_quorum(project)
        backups.read_stanza(project)
        record = _enter(project, record, "leading")
    if record.stage == "leading":
        record = _lead(project, record, place, progress)
        record = _enter(project, record, "cloning")
    return _finish(project, record, progress)


def _enter(project: Project, record: Record, stage: str, **changes: Any) -> Record:
    return _write(project, replace(record, stage=stage, **changes))


def _reached(record: Record, stage: str) -> bool:
    return STAGES.index(record.stage) >= STAGES.index(stage)


@contextmanager
def _timed(record: Record, progress: Progress, name: str, title: str) -> Iterator[None]:
    """A stage of the progress whose seconds the record keeps; an interrupted one adds to what it took before."""
    clock = Stopwatch()
    with progress.stage(title):
        yield
    record.seconds[name] = round(record.seconds.get(name, 0) + clock.seconds, 1)


def _start_containers(project: Project, progress: Progress) -> None:
    """A member that comes back in the middle would bring the old cluster with it: all of them take part."""
    states = [container.state for container in engine.containers(project)]
    if states.count("running") == len(project.topology.hosts):
        return
    with broken.ended_by_start(project), progress.stage("start the containers that do not run"):
        engine.revive(project)
        engine.compose(project, "Compose could not start the stack", "up", "--detach", "--no-recreate")
        connections.close_all()
        names = [host.name for host in project.topology.ssh_hosts]
        wait_until(
            lambda: connect(project).everywhere({name: Command(("true",), timeout=5) for name in names}),
            lambda answers: all(isinstance(answer, Answer) for answer in answers.values()),
            "Every container can be reached over SSH",
            timeout=60,
        )


def _leader_name(project: Project) -> str:
    try:
        leader = cluster.read_view(project).leader
    except PghaError:
        return ""
    return leader.name if leader else ""


def _dynamic_configuration(project: Project) -> dict[str, Any]:
    """What the DCS holds, or what a new cluster would start with; archiving is on in either case.

    Not paused: a paused Patroni would not start the restored Postgres.
    """
    try:
        current = cluster.read_config(project)
    except PghaError:
        current = patroni.bootstrap_configuration(project.settings, project.topology)
    current.pop("pause", None)
    return patroni.merge(current, pgbackrest.archiving())


def _hold(project: Project, record: Record, progress: Progress) -> Record:
    """Stop every member, its data as it is: the replicas first, so that none takes over from the leader."""
    why = "inv restore holds Patroni back; inv restore --yes completes it, inv restore --abort undoes it"
    names = cluster.node_names(project)
    last = record.keep or record.leader
    with _timed(record, progress, "stop the members", "stop Patroni on every member, containers stay"):
        ssh = connect(project)
        for group in ([n for n in names if n != last], [n for n in names if n == last]):
            _everywhere(project, dict.fromkeys(group, patroni.hold(why)), "Patroni could not be stopped")
        data = postgres.data_dir(project.settings.postgres)
        if not _reached(record, "restored"):
            # Patroni stops its Postgres itself; one that lost its Patroni is still there.
            _everywhere(project, dict.fromkeys(names, postgres.stop(data)), "Postgres could not be stopped")
        if not record.node:
            positions = _positions(project, ssh.everywhere(dict.fromkeys(names, postgres.control_data(data))))
            keep, node = choose_members(names, record.leader, positions)
            record = replace(record, keep=keep, node=node)
    return _write(project, record)


def _everywhere(project: Project, commands: dict[str, Command], message: str) -> None:
    """Raises the first host's failure."""
    for name, answer in connect(project).everywhere(commands).items():
        if isinstance(answer, PghaError):
            raise answer
        if not answer.ok:
            raise ToolFailed(f"{message} (on {name}, exit code {answer.exit_code})", answer.words)


def _positions(project: Project, answers: dict[str, Answer | PghaError]) -> dict[str, tuple[int, int]]:
    """How far the data of each stopped member goes; those without data are left out."""
    found = {}
    for name, answer in answers.items():
        if isinstance(answer, PghaError):
            raise answer
        if answer.ok:
            found[name] = postgres.parse_position(answer.stdout)
    return found


def choose_members(names: list[str], leader: str, positions: dict[str, tuple[int, int]]) -> tuple[str, str]:
    """Whose data stays untouched, and where the restored data goes.

    Kept is the leader's, else what goes furthest. The restored data goes to the member that is then furthest: a
    delta restore has the least to copy there. With a single node the kept data is set aside under another name.
    """
    if not positions:
        return "", names[0]
    keep = leader if leader in positions else max(positions, key=lambda name: positions[name])
    others = [name for name in names if name != keep]
    if not others:
        return keep, keep
    return keep, max(others, key=lambda name: positions.get(name, (0, 0)))


def _recover(project: Project, record: Record, place: Node, progress: Progress) -> Record:
    if _reached(record, "proven"):
        return record
    target = _target_of(project, record)
    if record.node == record.keep:
        recovery.must(place, postgres.set_aside(place.data), "The old data could not be set aside")
    if not _reached(record, "restored"):
        record = _enter(project, record, "restoring", kind=target.kind, value=target.value)
        with _timed(record, progress, "restore", f"pgbackrest restore {record.label} on {record.node}"):
            recovery.put_backup(place, target, progress)
        record = _enter(project, record, "restored")
    with _timed(record, progress, "recover", f"recover to {_words(record)}, archiving off"):
        point = recovery.recover(place, target, progress)
    reached = {
        "lsn": wal.lsn_text(point.lsn),
        "time": catalogue.text_of(point.last_transaction) if point.last_transaction else "",
        "timeline": point.timeline,
    }
    progress.note(f"reached: {point}")
    return _enter(project, record, "proven", reached=reached)


def _target_of(project: Project, record: Record) -> Target:
    """The recorded target; the end of the archive becomes a position now that nobody writes."""
    stanza = backups.read_stanza(project)
    backup = next((b for b in stanza.backups if b.label == record.label), None)
    if backup is None:
        raise Missing(f"Backup {record.label} is no longer in the repository", "inv restore --abort")
    history = wal.History(record.timeline, tuple((parent, end) for parent, end in record.parents))
    target = Target(record.kind, record.value, backup, history, ())
    # The leader archived its last segment when it stopped.
    return settle_end(project, target)


def _words(record: Record) -> str:
    return f"{record.kind} {record.value}" if record.value else "the end of the backup"


def _promote(project: Project, record: Record, place: Node, progress: Progress) -> Record:
    """The restored server becomes a primary where nobody sees it: neither the archive nor the DCS knows."""
    if _reached(record, "promoted"):
        return record
    with _timed(record, progress, "promote", f"promote {record.node}, archiving off"):
        timeline = recovery.promote(place, progress)
        recovery.stop(place)
    return _enter(project, record, "promoted", reached={**record.reached, "new_timeline": timeline})


def _lead(project: Project, record: Record, place: Node, progress: Progress) -> Record:
    """From here on there is no way back: the new timeline goes into the archive, the old cluster out of the DCS."""
    timeline = int(record.reached["new_timeline"])
    with _timed(record, progress, "lead", f"{record.node} takes the lead on timeline {timeline}"):
        recovery.must(place, postgres.stop(place.data), "Postgres could not be stopped")
        history = f"{place.data}/pg_wal/{timeline:08X}.history"
        recovery.must(place, pgbackrest.archive_push(history), "The new timeline's history could not be archived")
        if not _patroni_leads(project, record.node):
            topology = project.topology
            recovery.must(place, etcd.put_config(topology, record.config), "etcd did not take the configuration")
            recovery.must(place, etcd.forget_cluster(topology), "etcd did not forget the old cluster")
        recovery.must(place, patroni.release(), "Patroni could not be started")
        wait_until(
            lambda: _patroni_leads(project, record.node),
            bool,
            f"{record.node} leads",
            timeout=project.settings.up_timeout,
            hint=f"inv logs --node {record.node}",
        )
    with _timed(record, progress, "archive", "pgbackrest check"):
        connect(project).must(REPOSITORY, pgbackrest.check(), "The restored leader does not archive")
    return record


def _patroni_leads(project: Project, node: str) -> bool:
    answer = connect(project).run(node, patroni.get("patroni"))
    if not answer.ok:
        return False
    state = patroni.parse_node(answer.stdout)
    return state.role == "leader" and state.state == "running"


def _finish(project: Project, record: Record, progress: Progress) -> Report:
    """Make every other member anew from the repository, and wait until all of them stream."""
    others = [name for name in cluster.node_names(project) if name != record.node]
    if others:
        title = f"make {len(others)} members anew from the repository"
        with _timed(record, progress, "clone", title), ThreadPoolExecutor(max_workers=len(others)) as pool:
            done = dict(zip(others, pool.map(lambda name: _clone(project, record, name), others), strict=True))
        record = _write(project, replace(record, methods={**record.methods, **done}))
    with _timed(record, progress, "stream", "wait until every member streams"):
        view = cluster.wait_until_well(
            project, timeout=project.settings.up_timeout, detail=progress.detail, ask_first=record.node
        )
    methods = {name: _method(project, record, name) for name in others}
    idle = connect(project).must(record.node, postgres.query(postgres.IDLE_SLOTS), "psql failed").stdout.split()
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
    if not _is_held(project, name):
        # An interrupted command had got this far with it.
        return record.methods.get(name, PGBACKREST)
    data = postgres.data_dir(project.settings.postgres)
    ssh = connect(project)
    ssh.must(name, postgres.clear_way(data), "The data directory could not be made ready")
    answer = ssh.run(name, pgbackrest.restore(record.label, "--type=standby"))
    if not answer.ok:
        ssh.must(name, postgres.remove_data(data), "The old data could not be removed")
    ssh.must(name, patroni.release(), "Patroni could not be started")
    return PGBACKREST if answer.ok else f"left to Patroni: {answer.last_words}"


def _is_held(project: Project, name: str) -> bool:
    return connect(project).run(name, Command(("test", "-e", patroni.HOLD), timeout=10)).ok


def _method(project: Project, record: Record, name: str) -> str:
    """Which way this member was made; Patroni's log tells when it did it itself."""
    made = record.methods.get(name, "")
    patronis = patroni.parse_replica_method(engine.log_since(project.container(name), record.began))
    return f"{patronis} (Patroni)" if patronis else made


# The way back -----------------------------------------------------------------------------------------------


def abort(project: Project, record: Record, progress: Progress) -> patroni.ClusterView:
    """Bring the old cluster back as it was. The caller holds the lock.

    Raises BadValue when the restored leader is already in charge.
    """
    if record.stage in NO_WAY_BACK:
        raise BadValue(f"{record.node} already leads with the restored data", "inv restore --yes completes the restore")
    _start_containers(project, progress)
    names = cluster.node_names(project)
    data = postgres.data_dir(project.settings.postgres)
    place = Node(project, record.node, data)
    # A node that is no longer held was given back by an abort that was interrupted later.
    if record.node and _reached(record, "restoring") and _is_held(project, record.node):
        with progress.stage(f"remove the restored data from {record.node}"):
            recovery.must(place, postgres.clear_way(data), "The restored server could not be stopped")
            if record.node == record.keep:
                recovery.must(place, postgres.take_back(data), "The old data could not be taken back")
            elif record.keep:
                recovery.must(place, postgres.remove_data(data), "The restored data could not be removed")
    with progress.stage("start the old cluster"):
        first = record.leader if record.leader == record.keep else ""
        if first:
            connect(project).must(first, patroni.release(), "Patroni could not be started")
            wait_until(
                lambda: _patroni_leads(project, first),
                bool,
                f"{first} leads again",
                timeout=project.settings.up_timeout,
                hint=f"inv logs --node {first}",
            )
        _everywhere(project, dict.fromkeys(names, patroni.release()), "Patroni could not be started")
        view = cluster.wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
    (project.folder / FILE).unlink()
    return view
