"""A rolling change, done: one host after another, the leader last, each back before the next one's turn.

It looks again before each turn: who leads may have changed meanwhile, and whoever leads is last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from pgha.cluster import rollout
from pgha.cluster.gates import PATIENCE, commits_wait, require_open
from pgha.cluster.handover import Handover
from pgha.cluster.leaving import lead_elsewhere
from pgha.cluster.quorum import etcd_view
from pgha.cluster.rollout import Part, Step
from pgha.cluster.rollout_record import Record, begin_turn, end_turn
from pgha.cluster.view import able_member, read_members, read_view
from pgha.console import Progress
from pgha.errors import PghaError, TimedOut, ToolFailed
from pgha.model.topology import REPOSITORY
from pgha.project.project import Project
from pgha.remote import monitoring
from pgha.remote.connections import connect
from pgha.tools import etcd, pgbackrest
from pgha.waiting import wait_until


@dataclass(frozen=True)
class Work:
    """What happens to a host in its turn."""

    action: str
    """in words: made again, restarted"""
    act: Callable[[str], None]
    is_done: Callable[[str], bool]
    """whether that is done to a host; a switchover may have done it"""
    way_on: str
    """a hint: how to go on after a host that does not come back, and how to go back"""
    in_place: bool = False
    """the leader does not hand over first"""
    leader_first: bool = False
    avoid: Collection[str] = ()
    """members that shall not lead, if another one can"""
    left_out: Collection[str] = ()
    """members that are stopped for maintenance, and stay so"""


@dataclass(frozen=True)
class Rolled:
    """What was done."""

    done: tuple[str, ...]
    handover: Handover | None


def roll(project: Project, record: Record | None, hosts: Collection[str], work: Work, progress: Progress) -> Rolled:
    """Do it to each of these hosts. The caller holds the lock, and forgets the record when all else is done; with a
    record of its own it gives none.

    Raises what the gates refuse with, and TimedOut at the first host that does not come back; what was done stays done,
    and the record says where it stopped.
    """
    left, handover = set(hosts), None
    done: list[str] = []
    nodes = {node.name for node in project.topology.nodes}
    while left:
        step = _next(project, left, work)
        # Before the first turn all of them are looked at: what would stop it in the middle is better known now.
        restarted = nodes & (left if not done else {step.host})
        require_open(project, restarted, _where(left, hosts), work.left_out)
        if step.part == Part.LEADER and not work.in_place:
            handover = _leave(project, step.host, work, progress) or handover
            if not work.is_done(step.host):
                # It is a replica now, and its turn comes next.
                continue
            with progress.stage(f"{step.host}: {work.action} by the switchover, wait until it is back"):
                _wait_until_back(project, step, work, progress)
        else:
            record = record and begin_turn(project, record, step.host)
            with progress.stage(f"{step.host} ({step.part}): {work.action}"):
                work.act(step.host)
                _wait_until_back(project, step, work, progress)
        left.discard(step.host)
        done.append(step.host)
        record = record and end_turn(project, record, step.host)
    return Rolled(tuple(done), handover)


def _where(left: Collection[str], hosts: Collection[str]) -> str:
    """For a hint: nothing before the first turn."""
    if len(left) == len(hosts):
        return ""
    return f"{len(hosts) - len(left)} of {len(hosts)} are done, and the same command goes on"


def _next(project: Project, left: Collection[str], work: Work) -> Step:
    leader = _leader(project)
    elects = leading_etcd(project) if any(member.name in left for member in project.topology.etcd) else ""
    return rollout.order(project.topology, left, leader=leader, etcd_leader=elects, leader_first=work.leader_first)[0]


def _leader(project: Project) -> str:
    """Raises TimedOut when nobody leads for longer than it takes etcd to elect."""
    view = wait_until(
        lambda: read_view(project),
        lambda view: view.leader is not None,
        "The cluster has a leader",
        timeout=PATIENCE,
        explain=lambda _: "there is none",
        hint="inv status",
    )
    assert view.leader is not None
    return view.leader.name


def leading_etcd(project: Project) -> str:
    """etcd's own leader; nothing when nobody can tell."""
    with suppress(PghaError):
        answer = connect(project).run(able_member(project), etcd.status(project.topology))
        return etcd.parse_leader(answer.stdout, project.topology)
    return ""


def _leave(project: Project, leader: str, work: Work, progress: Progress) -> Handover | None:
    """The leader hands over: every other one has had its turn. Nothing when it does not lead any more."""
    view = read_view(project)
    others = {member.name for member in view.members if member.streams}
    avoided = work.avoid if others - set(work.avoid) else ()
    handover = lead_elsewhere(project, view, [leader, *avoided], progress)
    if handover and handover.waiting_for:
        names = " and ".join(handover.waiting_for)
        sentence = f"The rollout stops after the switchover to {handover.new}: {names} does not stream"
        raise TimedOut(sentence, _hint(handover.waiting_for[0], work))
    return handover


def _wait_until_back(project: Project, step: Step, work: Work, progress: Progress) -> None:
    """Raises TimedOut, and says how to go on."""
    lacks_of = {Part.ETCD: _etcd_lacks, Part.REPOSITORY: _repository_lacks, Part.MONITORING: _monitoring_lacks}
    back = lacks_of.get(step.part, _member_lacks)

    seconds, seen = project.settings.up_timeout, ["no answer"]

    def lacks() -> str:
        found = back(project, step.host) or ("" if work.is_done(step.host) else f"it is not {work.action} yet")
        seen[:] = found.splitlines()[:1]
        progress.detail(found)
        return found

    try:
        wait_until(lacks, lambda found: not found, f"{step.host} is back", timeout=seconds)
    except TimedOut:
        sentence = f"The rollout stops at {step.host}, which is not back within {seconds} s: {''.join(seen)}"
        raise TimedOut(sentence, _hint(step.host, work)) from None


def _hint(host: str, work: Work) -> str:
    return f"inv logs --node {host} tells why; {work.way_on}"


def _etcd_lacks(project: Project, host: str) -> str:
    view = etcd_view(project, read_members(project))
    return f"not healthy: {', '.join(view.unhealthy)}" if view.unhealthy else ""


def _repository_lacks(project: Project, host: str) -> str:
    answer = connect(project).run(REPOSITORY, pgbackrest.ping())
    return "" if answer.ok else f"pgBackRest's server there does not answer: {answer.last_words}"


def _monitoring_lacks(project: Project, host: str) -> str:
    return monitoring.lacks(project)


def _member_lacks(project: Project, host: str) -> str:
    """Streams, and is synchronous again where commits wait for standbys; or leads."""
    members = read_members(project)
    own = members[host]
    if isinstance(own, PghaError):
        return own.message
    view = read_view(project)
    if view.leader is None:
        return "there is no leader"
    if view.not_streaming([host]):
        return f"it does not stream ({own.node.state})"
    member = view.member(host)
    if member is None:
        raise ToolFailed(f"{host} is no member")
    if not member.is_leader and commits_wait(project, members) and not member.is_sync:
        return "it streams, but is not synchronous yet"
    return ""
