"""One look at everything, for `inv status`: it shows what can be seen, whatever is broken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pgha.backup import verification
from pgha.backup.restore_record import describe_restore, read_restore, way_on
from pgha.backup.stanza import read_archiver, read_stanza
from pgha.cluster.view import read_etcd, read_nodes
from pgha.errors import Missing, PghaError, Unreachable
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.stack import crontab
from pgha.status.problems import chaos_problems, cluster_problems, next_command, verification_problems
from pgha.status.seen import MemberState, Survey, or_error
from pgha.tools import patroni


def take(project: Project) -> Survey:
    """Ask everyone at once.

    Raises Missing when nothing is up, and the first node's error when no node at all can be asked.
    """
    engine.require_engine()
    containers = engine.containers(project)
    running = [name for name, container in containers.items() if container.state == "running"]
    if not running:
        state = "stopped" if containers else "not up"
        raise Missing(f"Project {project.name} is {state}", "inv start" if containers else "inv up")
    half_done = read_restore(project)
    with ThreadPoolExecutor(max_workers=5) as pool:
        nodes_ = pool.submit(read_nodes, project)
        etcd_ = pool.submit(or_error, lambda: read_etcd(project))
        stanza_ = pool.submit(or_error, lambda: read_stanza(project)) if project.topology.repository else None
        kept_ = pool.submit(or_error, lambda: verification.read_kept(project)) if stanza_ else None
        nodes = nodes_.result()
        errors = [node for node in nodes.values() if isinstance(node, (Unreachable, Missing))]
        if len(errors) == len(nodes):
            raise errors[0]
        view = or_error(lambda: _view(project, nodes))
        leader = _leader(view, nodes)
        archiver = or_error(lambda: read_archiver(project, leader)) if leader and stanza_ else None
        etcd_view, stanza = etcd_.result(), stanza_.result() if stanza_ else None
        kept = kept_.result() if kept_ else None
    states = {name: container.state for name, container in containers.items()}
    chaos = chaos_problems(project, containers)
    members = _members(project, view, nodes, states, leader)
    return Survey(
        members=members,
        leader=leader,
        system_id=next((n.system_id for n in nodes.values() if isinstance(n, patroni.NodeState) and n.system_id), None),
        paused=isinstance(view, patroni.ClusterView) and view.paused,
        etcd=etcd_view,
        stanza=stanza,
        archiver=archiver,
        kept=kept,
        jobs=tuple(crontab.jobs(project)),
        problems=(
            *([describe_restore(half_done)] if half_done else []),
            *cluster_problems(project, view, members, leader, etcd_view, stanza, archiver, states),
            *chaos,
            *verification_problems(stanza, kept),
        ),
        hint=way_on(half_done) if half_done else next_command(project, members, states, chaos),
    )


def _view(project: Project, nodes: dict[str, patroni.NodeState | PghaError]) -> patroni.ClusterView:
    answering = [name for name, node in nodes.items() if isinstance(node, patroni.NodeState)]
    if not answering:
        raise Missing("No member answers", "inv logs --node <name>")
    view = connect(project).first(answering, patroni.get("cluster"), patroni.parse_cluster)[1]
    if view.leader is None:
        return view
    said = nodes.get(view.leader.name)
    if isinstance(said, patroni.NodeState):
        return patroni.confirm_streaming(view, said)
    return patroni.without_answer(view, view.leader.name)


def _leader(view: patroni.ClusterView | PghaError, nodes: dict[str, patroni.NodeState | PghaError]) -> str | None:
    if isinstance(view, patroni.ClusterView):
        return view.leader.name if view.leader else None
    for name, node in nodes.items():
        if isinstance(node, patroni.NodeState) and node.role == "leader" and node.state == "running":
            return name
    return None


def _members(
    project: Project,
    view: patroni.ClusterView | PghaError,
    nodes: dict[str, patroni.NodeState | PghaError],
    containers: dict[str, str],
    leader: str | None,
) -> tuple[MemberState, ...]:
    ports = project.record().ports
    members = []
    for host in project.topology.nodes:
        seen = view.member(host.name) if isinstance(view, patroni.ClusterView) else None
        own = nodes[host.name]
        role, state, timeline, lag = "", "", None, None
        if seen:
            role, state, timeline = seen.role, seen.state, seen.timeline
        elif isinstance(own, patroni.NodeState):
            role, state, timeline = own.role, own.state, own.timeline
        if isinstance(own, patroni.NodeState) and host.name != leader:
            lag = _lag(own, nodes.get(leader or ""))
        if isinstance(own, PghaError):
            container = containers.get(host.name, "missing")
            away = "unreachable" if isinstance(own, Unreachable) else "Patroni does not answer"
            state = away if container == "running" else f"container {container}"
        members.append(
            MemberState(
                host.name, host.site.name, role, state, timeline, lag,
                ports.get("postgres", {}).get(host.name), ports.get("ssh", {}).get(host.name),
            )
        )  # fmt: skip
    return tuple(members)


def _lag(replica: patroni.NodeState, leader: patroni.NodeState | PghaError | None) -> int | None:
    """Bytes of WAL the replica has not received; what the DCS says of it may be a loop_wait old."""
    if not isinstance(leader, patroni.NodeState) or leader.location is None or replica.location is None:
        return None
    return max(0, leader.location - replica.location)
