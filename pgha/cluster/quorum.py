"""etcd as the nodes see it: which members can commit, and whether that is a quorum."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pgha.cluster.view import Members, answering
from pgha.errors import NoQuorum, PghaError, Unhealthy
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import etcd

ALARM_HELP = "docs/runbooks/etcd-alarm.md"
QUICK, PATIENT = 2.0, 6.0
"""Seconds a member has to answer: at first, and before anything is refused because it did not (a busy machine)."""


def etcd_view(project: Project, members: Members) -> etcd.EtcdView:
    """Which etcd members can commit, by what the members saw of them; asked again with etcdctl when that is no quorum.

    Raises as `read_etcd`.
    """
    view = seen_by(project, members)
    return view if view.has_quorum else read_etcd(project)


def seen_by(project: Project, members: Members) -> etcd.EtcdView:
    """Which etcd members can commit, by what the members saw of them."""
    names = [member.name for member in project.topology.etcd]
    healthy = max((told.etcd for told in answering(members).values()), key=len, default=())
    return etcd.EtcdView(healthy, tuple(name for name in names if name not in healthy))


def read_etcd(project: Project, timeout: float = QUICK) -> etcd.EtcdView:
    """Which etcd members can commit within `timeout` seconds, asked from a node of every data center: the view with the
    most healthy ones.

    Raises the first data center's error when none can ask.
    """
    topology = project.topology
    sites = [[node.name for node in topology.at(site) if node in topology.nodes] for site in topology.data_centers]

    def ask(names: list[str]) -> etcd.EtcdView | PghaError:
        try:
            command = etcd.health(topology, timeout)
            return connect(project).first(names, command, lambda text: etcd.parse_health(text, topology))[1]
        except PghaError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(sites)) as pool:
        answers = list(pool.map(ask, sites))
    views = [answer for answer in answers if isinstance(answer, etcd.EtcdView)]
    if not views:
        raise next(answer for answer in answers if isinstance(answer, PghaError))
    best = max(views, key=lambda view: (len(view.healthy), bool(view.alarm)))
    if not best.alarm:
        return best
    nodes = [node.name for node in topology.nodes]
    return replace(best, size=connect(project).first(nodes, etcd.status(topology), etcd.parse_size)[1])


def weigh_etcd(project: Project, *leaving: Collection[str]) -> etcd.EtcdView:
    """Which etcd members can commit, for a verb that refuses when they are too few without those that leave together:
    they get more time before it does. Who leaves at another time is a collection of its own.

    Raises as `read_etcd`.
    """
    view = read_etcd(project)
    enough = all(len(set(view.healthy) - set(names)) >= view.quorum for names in leaving or [()])
    return view if enough or view.alarm else read_etcd(project, PATIENT)


def read_lock(project: Project, members: Members) -> etcd.Lock | None:
    """The lock of a leader, as a member reads it that sees etcd's majority; None when nobody holds it, or nobody sees.

    Raises ToolFailed when etcd does not answer it.
    """
    seeing = [name for name, told in answering(members).items() if told.sees_quorum]
    if not seeing:
        return None
    ssh, topology = connect(project), project.topology
    lock = etcd.parse_leader_key(ssh.run(seeing[0], etcd.leader_key(topology)).stdout)
    if lock is None:
        return None
    answer = ssh.run(seeing[0], etcd.time_to_live(topology, lock.lease))
    return replace(lock, seconds=etcd.parse_time_to_live(answer.stdout))


def require_quorum(project: Project) -> None:
    """Raises NoQuorum while etcd cannot commit: nobody can be promoted, nothing can be configured."""
    require_quorum_in(weigh_etcd(project))


def require_quorum_in(view: etcd.EtcdView) -> None:
    """Raises NoQuorum unless these are enough."""
    if view.alarm:
        raise NoQuorum(f"etcd has raised the alarm {view.alarm} and takes no writes", ALARM_HELP)
    if not view.has_quorum:
        raise NoQuorum(
            f"etcd has lost its quorum: {len(view.healthy)} of {view.members} members are healthy, "
            f"{view.quorum} are needed",
            "inv status; inv up brings back what does not run",
        )


def require_same_data(project: Project) -> None:
    """Raises Unhealthy when two etcd members hold different data: raft keeps them the same, and tells nobody when a
    fault of etcd or of a disk has parted them. Members whose history was compacted elsewhere cannot be compared."""
    ssh, topology = connect(project), project.topology
    nodes = [node.name for node in topology.nodes]
    asked, revision = ssh.first(nodes, etcd.status(topology), etcd.parse_revision)
    found = ssh.first([asked], etcd.hashes(topology, revision), lambda text: etcd.parse_hashes(text, topology))[1]
    kinds: dict[int, set[int]] = {}
    for compacted, value in found.values():
        kinds.setdefault(compacted, set()).add(value)
    if any(len(values) > 1 for values in kinds.values()):
        told = ", ".join(f"{name} {value:x}" for name, (_, value) in found.items())
        raise Unhealthy(
            f"etcd's members hold different data at revision {revision}: {told}",
            "inv replace --etcd <name>, for those that differ from etcd's leader",
        )
