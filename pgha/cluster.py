"""The cluster: read it, put a member in charge, change its dynamic configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pgha.connections import Connections, connect
from pgha.console import Progress
from pgha.errors import BadValue, Missing, PghaError, TimedOut, ToolFailed
from pgha.project import Project
from pgha.tools import etcd, patroni
from pgha.tools.command import Answer
from pgha.waiting import wait_until


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


# Read -------------------------------------------------------------------------------------------------------


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


# Put a member in charge -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Handover:
    """A switchover or failover as it happened; seconds from the command until the new leader was seen to run,
    and until every other member streamed from it."""

    verb: str
    old: str | None
    new: str
    before: patroni.ClusterView
    after: patroni.ClusterView
    leader_seconds: float
    streaming_seconds: float
    waiting_for: tuple[str, ...]
    """Members that did not stream from the new leader in time."""


def hand_over(project: Project, candidate: str, progress: Progress, *, only_switchover: bool = False) -> Handover:
    """Put a member in charge the safest way there is. The caller holds the lock.

    With a healthy leader that is a switchover: it hands over with nothing lost. Without one it is a failover,
    and only to a member that has received as much WAL as any other that can be asked. Success is judged by
    reading the cluster, never by patronictl's exit code.

    Raises BadValue for a candidate that cannot be, Missing when there is nothing to hand over, ToolFailed when
    the cluster did not do what was asked.
    """
    if candidate and project.topology.host(candidate) not in project.topology.nodes:
        names = ", ".join(node_names(project))
        raise BadValue(f"{candidate} is not a Postgres node of this project", f"one of {names}")
    require_quorum(project)
    before = read_view(project)
    ssh = connect(project)
    leader = before.leader
    if leader is None:
        if only_switchover:
            raise Missing(
                "There is no healthy leader that could hand over",
                "inv failover --candidate <name>, inv status",
            )
        if not candidate:
            raise BadValue("A failover needs a candidate", "inv failover --candidate <name>")
        _require_furthest(project, before, candidate)
        verb, command = "failover", patroni.failover(candidate)
    else:
        _require_candidate(before, leader, candidate)
        verb, command = "switchover", patroni.switchover(leader.name, candidate or None)
    target = candidate or "the member Patroni chooses"
    progress.note(f"{verb}: {leader.name if leader else 'no healthy leader'} -> {target}")

    asked = _reachable(project, ssh, candidate)
    with _synchronous_candidate(project, before, candidate if leader else "", progress):
        clock = Stopwatch()
        with progress.stage(f"patronictl {verb}"):
            answer = ssh.run(asked, command)
            after = _wait_for_leader(project, candidate, leader, asked, answer)
        leader_seconds = clock.seconds
    new = after.leader
    assert new is not None
    with progress.stage("wait until the other members stream"):
        after, waiting_for = _wait_for_streaming(project, before, new.name)
    return Handover(
        verb,
        leader.name if leader else None,
        new.name,
        before,
        after,
        leader_seconds,
        clock.seconds,
        waiting_for,
    )


def _reachable(project: Project, ssh: Connections, candidate: str) -> str:
    """A member to run patronictl on: the candidate if it can be reached."""
    return ssh.first(node_names(project, candidate), patroni.get("patroni"), patroni.parse_node)[0]


@contextmanager
def _synchronous_candidate(
    project: Project, view: patroni.ClusterView, candidate: str, progress: Progress
) -> Iterator[None]:
    """Let the candidate be a synchronous standby for the time of a switchover: Patroni hands over to no other.

    With quorum commit every standby is one shortly after it streams. With `synchronous_mode: on` (Patroni
    before 4.0) only `synchronous_node_count` of them are; for that time all of them are. An interrupted command
    leaves it so until the next `up`, which is slower but loses nothing.
    """
    config = read_config(project) if candidate else {}
    mode, count = config.get("synchronous_mode"), config.get("synchronous_node_count", 1)
    member = view.member(candidate)
    if not mode or member is None or member.is_sync:
        yield
        return
    try:
        with progress.stage(f"make {candidate} a synchronous standby"):
            if mode != "quorum":
                patch_config(project, {"synchronous_node_count": len(view.members) - 1})
            wait_until(
                lambda: read_view(project).member(candidate),
                lambda seen: seen is not None and seen.is_sync,
                f"{candidate} is a synchronous standby",
                timeout=60,
            )
        yield
    except BaseException:
        with suppress(PghaError):
            patch_config(project, {"synchronous_node_count": count})
        raise
    patch_config(project, {"synchronous_node_count": count})


def _require_candidate(view: patroni.ClusterView, leader: patroni.Member, candidate: str) -> None:
    """Raises BadValue unless the candidate can take over from a healthy leader without loss."""
    if not candidate:
        return
    if candidate == leader.name:
        raise BadValue(f"{candidate} is already the leader", _others(view, leader))
    member = view.member(candidate)
    if member is None:
        raise BadValue(f"{candidate} is not in the cluster at the moment", "inv status")
    if candidate in view.not_streaming([candidate]):
        raise BadValue(
            f"{candidate} does not stream from the leader {leader.name} (its state is {member.state})",
            _others(view, leader),
        )


def _others(view: patroni.ClusterView, leader: patroni.Member) -> str:
    names = [m.name for m in view.members if m.streams and m.name != leader.name]
    return f"members that can take over: {', '.join(names) or 'none'}"


def _require_furthest(project: Project, view: patroni.ClusterView, candidate: str) -> None:
    """Raises BadValue when another member that can be asked has received more WAL than the candidate."""
    nodes = {
        name: node
        for name, node in read_nodes(project).items()
        if isinstance(node, patroni.NodeState) and node.state == "running" and node.location is not None
    }
    if candidate not in nodes:
        usable = ", ".join(sorted(nodes)) or "none"
        raise BadValue(f"{candidate} does not run: it cannot be promoted", f"members that run: {usable}")
    position = {name: (node.timeline or 0, node.location or 0) for name, node in nodes.items()}
    best = max(position, key=lambda name: position[name])
    if position[candidate] < position[best]:
        behind = position[best][1] - position[candidate][1]
        raise BadValue(
            f"{candidate} would lose what {best} has received ({behind} bytes of WAL)",
            f"inv failover --candidate {best}",
        )


def _wait_for_leader(
    project: Project, candidate: str, old: patroni.Member | None, asked: str, answer: Answer
) -> patroni.ClusterView:
    def holds(view: patroni.ClusterView) -> bool:
        if view.leader is None:
            return False
        return view.leader.name == candidate if candidate else (old is None or view.leader.name != old.name)

    # Patroni's own refusal, printed with exit code 0, is not waited for long. Anything else may still come about:
    # without the leader's REST API patronictl leaves the request in the DCS.
    refused = not answer.ok or " failed, details: " in answer.stdout
    try:
        return wait_until(
            lambda: read_view(project, asked),
            holds,
            f"{candidate or 'A new leader'} leads",
            timeout=5 if refused else 3 * project.settings.ttl,
            interval=0.2,
        )
    except TimedOut as error:
        words = "\n".join(filter(None, (answer.stdout.strip(), answer.stderr.strip())))
        raise ToolFailed(f"{candidate or 'A new leader'} did not take over", words, "inv status") from error


def _wait_for_streaming(
    project: Project, before: patroni.ClusterView, leader: str
) -> tuple[patroni.ClusterView, tuple[str, ...]]:
    """Wait for those that were members before; one that stays away does not undo the handover."""
    names = [m.name for m in before.members]
    latest: list[patroni.ClusterView] = []

    def look() -> patroni.ClusterView:
        latest[:] = [read_view(project, leader)]
        return latest[0]

    try:
        view = wait_until(look, lambda v: not v.not_streaming(names), "The others stream", timeout=60, interval=0.3)
        return view, ()
    except TimedOut:
        view = latest[0] if latest else read_view(project, leader)
        return view, tuple(view.not_streaming(names))


# Dynamic configuration --------------------------------------------------------------------------------------


def read_config(project: Project) -> dict[str, Any]:
    """The dynamic configuration, as patronictl shows it."""
    ssh = connect(project)
    return ssh.first(node_names(project), patroni.show_config(), patroni.parse_config)[1]


def patch_config(project: Project, wanted: Mapping[str, Any]) -> list[str]:
    """Bring the dynamic configuration to hold what is wanted; returns the changes, `key: old -> new`.

    Raises ToolFailed when a change is not there afterwards.
    """
    current = read_config(project)
    patch = patroni.merge_patch(current, dict(wanted))
    if not patch:
        return []
    require_quorum(project)
    ssh = connect(project)
    host = _reachable(project, ssh, "")
    ssh.must(host, patroni.patch_config(patch), "patronictl edit-config failed")
    if patroni.merge_patch(read_config(project), patch):
        raise ToolFailed("The dynamic configuration does not hold the change", hint="inv config")
    held = patroni.flatten(current)
    return [f"{key}: {held.get(key, 'not set')} -> {value}" for key, value in patroni.flatten(patch).items()]


def apply_dynamic_configuration(project: Project) -> list[str]:
    """Settings that changed since the cluster was made: `bootstrap.dcs` is read only once."""
    return patch_config(project, patroni.dynamic_configuration(project.settings, project.topology))
