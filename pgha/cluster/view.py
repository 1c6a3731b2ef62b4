"""The cluster, read: from its members, from etcd, and until it is well."""

from __future__ import annotations

from collections.abc import Callable

from pgha.errors import Missing, PghaError, ToolFailed
from pgha.project.project import Project
from pgha.remote.connections import Connections, connect
from pgha.tools import etcd, patroni
from pgha.tools.command import Answer
from pgha.waiting import wait_until


def node_names(project: Project, first: str = "") -> list[str]:
    """The Postgres nodes, one of them first when it is named."""
    names = [node.name for node in project.topology.nodes]
    return sorted(names, key=lambda name: name != first)


def read_view(project: Project, ask_first: str = "") -> patroni.ClusterView:
    """The cluster as the first reachable member tells it, checked with what the leader's Postgres says.

    Raises Unreachable when no member can be asked, ToolFailed when none knows (etcd has lost its quorum).
    """
    ssh = connect(project)
    asked, view = ssh.first(node_names(project, ask_first), patroni.get("cluster"), patroni.parse_cluster)
    if view.leader is None:
        return view
    answer = ssh.run(asked, patroni.get("patroni", host=view.leader.name))
    if not answer.ok:
        return patroni.without_answer(view, view.leader.name)
    return patroni.confirm_streaming(view, patroni.parse_node(answer.stdout))


def read_nodes(project: Project) -> dict[str, patroni.NodeState | PghaError]:
    """What every member says of its own Postgres, asked all at once and without the DCS."""
    names = node_names(project)
    answers = connect(project).everywhere({name: patroni.get("patroni") for name in names})
    return {name: _parsed_node(name, answers[name]) for name in names}


def _parsed_node(name: str, answer: Answer | PghaError) -> patroni.NodeState | PghaError:
    if isinstance(answer, PghaError):
        return answer
    if not answer.ok:
        return ToolFailed(f"Patroni on {name} does not answer", answer.words)
    try:
        return patroni.parse_node(answer.stdout)
    except PghaError as error:
        return error


def read_etcd(project: Project) -> etcd.EtcdView:
    """Which etcd members can commit, asked from a Postgres node."""
    topology = project.topology
    names = node_names(project)
    return connect(project).first(names, etcd.health(topology), lambda text: etcd.parse_health(text, topology))[1]


def require_quorum(project: Project) -> None:
    """Raises Missing while etcd cannot commit: nobody can be promoted, nothing can be configured."""
    view = read_etcd(project)
    if not view.has_quorum:
        raise Missing(
            f"etcd has lost its quorum: {len(view.healthy)} of {view.members} members are healthy, "
            f"{view.quorum} are needed",
            "inv status; inv up brings back what does not run",
        )


def wait_until_well(
    project: Project, *, timeout: float, detail: Callable[[str], None] | None = None, ask_first: str = ""
) -> patroni.ClusterView:
    """Wait for one leader and every other member streaming from it on its timeline.

    Raises TimedOut and names the members that did not come.
    """
    names = node_names(project)

    def explain(view: patroni.ClusterView) -> str:
        missing = view.not_streaming(names)
        text = f"not streaming: {', '.join(missing)}" if view.leader else "there is no leader"
        if detail:
            detail(text)
        return text

    return wait_until(
        lambda: read_view(project, ask_first),
        lambda view: view.leader is not None and not view.not_streaming(names),
        "Every member streams",
        timeout=timeout,
        explain=explain,
        hint="inv status, inv logs --node <name>",
    )


def reachable_member(project: Project, ssh: Connections, candidate: str) -> str:
    """A member to run patronictl on: the candidate if it can be reached."""
    return ssh.first(node_names(project, candidate), patroni.get("patroni"), patroni.parse_node)[0]


def require_leader(project: Project) -> patroni.Member:
    leader = read_view(project).leader
    if leader is None:
        raise Missing("The cluster has no leader at the moment", "inv status")
    return leader
