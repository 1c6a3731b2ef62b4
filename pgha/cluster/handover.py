"""Put a member in charge."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pgha.cluster.quorum import read_lock, require_quorum
from pgha.cluster.slots import warnings_of_handover
from pgha.cluster.view import able_member, answering, cut_off, node_names, read_members, read_view
from pgha.console import Progress
from pgha.errors import BadValue, NoLeader, PghaError, TimedOut, ToolFailed, Unhealthy
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import patroni
from pgha.tools.command import Answer, Command
from pgha.waiting import Stopwatch, wait_until

PATIENCE = 60
"""Seconds for members that follow a new leader: they stream and are synchronous within a few looks of Patroni."""


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
    verb, command = _choose_command(project, before, candidate, only_switchover)
    leader = before.leader
    target = candidate or "the member Patroni chooses"
    progress.note(f"{verb}: {leader.name if leader else 'no healthy leader'} -> {target}")

    if leader:
        for warning in warnings_of_handover(project, leader.name, candidate):
            progress.note(warning)
    elif waits := _held(project, candidate):
        progress.note(waits)
    asked = able_member(project, candidate)
    if leader:
        # As Patroni does, the leader asks.
        _wait_for_candidate(project, able_member(project, leader.name), leader.name, candidate, progress)
    clock = Stopwatch()
    with progress.stage(f"patronictl {verb}"):
        answer = connect(project).run(asked, command)
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


def _choose_command(
    project: Project, view: patroni.ClusterView, candidate: str, only_switchover: bool
) -> tuple[str, Command]:
    """`switchover` while there is a healthy leader, else `failover`; checked, before anything is touched."""
    if view.leader is not None:
        if view.paused and not candidate:
            raise Unhealthy(
                "Patroni is paused (maintenance mode): it chooses nobody",
                "inv resume, or inv switchover --candidate <name>",
            )
        _require_candidate(view, view.leader, candidate)
        return "switchover", patroni.switchover(view.leader.name, candidate or None)
    if only_switchover:
        raise NoLeader("There is no healthy leader that could hand over", "inv failover --candidate <name>, inv status")
    if not candidate:
        raise BadValue("A failover needs a candidate", "inv failover --candidate <name>")
    _require_furthest(project, candidate)
    return "failover", patroni.failover(candidate)


def _wait_for_candidate(project: Project, asked: str, leader: str, candidate: str, progress: Progress) -> None:
    """Until Patroni would find one: right after a switchover, for instance, it finds none for some seconds.

    Raises TimedOut.
    """
    if not (lacking := _lacking(project, asked, leader, candidate)):
        return
    with progress.stage(f"wait until {candidate or 'another member'} can take over"):
        progress.detail(lacking)
        wait_until(
            lambda: _lacking(project, asked, leader, candidate),
            lambda lacking: not lacking,
            f"{candidate or 'Another member'} can take over",
            timeout=PATIENCE,
            explain=str,
            hint="inv status",
        )


def _lacking(project: Project, asked: str, leader: str, candidate: str) -> str:
    """Why Patroni would refuse a switchover, by its own rules (ha.py, `is_failover_possible`): a candidate streams, is
    synchronous in synchronous mode, and its REST API answers; with quorum commit and without a candidate there are so
    many of them that the newest commit is among them."""
    view = read_view(project, asked)
    others = [m for m in view.members if m.name != leader and candidate in ("", m.name)]
    config = connect(project).first([asked], patroni.get(project.topology.urls, "config"), patroni.parse_config)[1]
    mode, why = config.get("synchronous_mode"), {}
    for member in others:
        if view.not_streaming([member.name]):
            why[member.name] = "does not stream"
        elif mode and not member.is_sync:
            why[member.name] = "is not a synchronous standby yet"
        elif not connect(project).run(asked, patroni.get(project.topology.urls, "patroni", host=member.name)).ok:
            why[member.name] = f"its REST API does not answer {asked}"
    synchronous = sum(member.is_sync for member in others)
    spare = synchronous - config.get("synchronous_node_count", 1) if mode == "quorum" and not candidate else 0
    # One that is alone has nobody to wait for, and Patroni says so.
    enough = not others or len(others) - len(why) > max(0, spare)
    return "" if enough else ", ".join(f"{name}: {words}" for name, words in why.items())


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


def _require_furthest(project: Project, candidate: str) -> None:
    """Raises BadValue when another member has received more WAL than the candidate; one that is cut off is left
    out, Patroni could not ask it either."""
    members = read_members(project)
    late = cut_off(project, members)
    nodes = {
        name: told.node
        for name, told in answering(members).items()
        if name not in late and told.node.state == "running" and told.node.location is not None
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


def _held(project: Project, candidate: str) -> str:
    """What a failover waits for: Patroni promotes nobody while another member's lock lives."""
    with suppress(PghaError):
        lock = read_lock(project, read_members(project))
        if lock and lock.holder != candidate and lock.seconds:
            return f"the lock of {lock.holder} expires in {lock.seconds} s: nobody can lead before"
    return ""


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

    with suppress(TimedOut):
        wait_until(
            look,
            lambda view: not any(_may_come(view, before, name) for name in view.not_streaming(names)),
            "The others stream",
            timeout=PATIENCE,
            interval=0.3,
        )
    view = latest[0] if latest else read_view(project, leader)
    return view, tuple(view.not_streaming(names))


def _may_come(view: patroni.ClusterView, before: patroni.ClusterView, name: str) -> bool:
    """Whether a member that does not stream is worth waiting for: not when its key in the DCS has expired, nor, in a
    pause, when the leader was lost and its Postgres is down: Patroni starts none then."""
    member = view.member(name)
    lost = view.paused and before.leader is None
    return member is not None and not (lost and member.state in ("stopped", "crashed", "start failed"))
