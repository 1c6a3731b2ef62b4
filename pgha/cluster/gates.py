"""Whether a rollout may begin, and go on: what it would make worse is there to be seen before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pgha.cluster.quorum import etcd_view
from pgha.cluster.view import (
    Members,
    agreed_view,
    answering,
    cut_off,
    node_names,
    read_members,
)
from pgha.errors import NoLeader, NoQuorum, PghaError, TimedOut, ToolFailed, Unhealthy
from pgha.model.words import size_text
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import activity, etcd, patroni, postgres
from pgha.tools.activity import Session
from pgha.tools.command import Answer
from pgha.waiting import wait_until

T = TypeVar("T")

LAG = 16 << 20
"""Bytes a standby may be behind: a segment of WAL, which it replays in a moment. A switchover waits until the next
leader has replayed all, and what a standby lacks when the next one is restarted no other one may have."""

PATIENCE = 15
"""Seconds for what passes by itself: a standby becomes synchronous within two or three looks of Patroni's."""


@dataclass(frozen=True)
class Seen:
    """What the gates look at."""

    names: tuple[str, ...]
    members: Members
    late: Mapping[str, str]
    """members that do not know what the others know -> why"""
    view: patroni.ClusterView | PghaError
    etcd: etcd.EtcdView | PghaError
    quorum: bool
    """whether commits wait for standbys, any of them"""
    sessions: Mapping[str, tuple[Session, ...] | PghaError]
    """member -> what would break there"""


@dataclass(frozen=True)
class Refusal:
    """Why a rollout does not begin, or go on."""

    error: PghaError
    passing: bool = False
    """it may be over in a few seconds by itself"""
    host: str = ""
    """whom it is about; nothing when it is about the whole"""


def look(project: Project, restarted: Collection[str] = (), left_out: Collection[str] = ()) -> Seen:
    """Look at all that matters, but for members that are `left_out`: for long transactions on those that are about to
    be restarted; for a backup on the leader, too, where each has a session, whomever it copies from."""
    members = read_members(project)
    view = _or_error(lambda: agreed_view(project, members))
    leader = {view.leader.name} if isinstance(view, patroni.ClusterView) and view.leader else set()
    asked = (set(restarted) | leader) & answering(members).keys()
    return Seen(
        names=tuple(name for name in node_names(project) if name not in left_out),
        members=members,
        late=cut_off(project, members),
        view=view,
        etcd=_or_error(lambda: etcd_view(project, members)),
        quorum=commits_wait(project, members),
        sessions={
            name: found if name in restarted or isinstance(found, PghaError) else tuple(s for s in found if s.backup)
            for name, found in _sessions(project, sorted(asked)).items()
        },
    )


def _or_error(read: Callable[[], T]) -> T | PghaError:
    try:
        return read()
    except PghaError as error:
        return error


def commits_wait(project: Project, members: Members) -> bool:
    """Whether commits wait for standbys, any of them; not, when nobody can tell."""
    asked = list(answering(members))
    config = _or_error(
        lambda: connect(project).first(asked, patroni.get(project.topology.urls, "config"), patroni.parse_config)[1]
    )
    return not isinstance(config, PghaError) and config.get("synchronous_mode") == "quorum"


def _sessions(project: Project, names: Collection[str]) -> dict[str, tuple[Session, ...] | PghaError]:
    command = postgres.query(activity.long_sessions(project.settings.long_transaction))
    answers = connect(project).everywhere(dict.fromkeys(names, command))
    return {name: _parsed(answer) for name, answer in answers.items()}


def _parsed(answer: Answer | PghaError) -> tuple[Session, ...] | PghaError:
    if isinstance(answer, PghaError):
        return answer
    if not answer.ok:
        return ToolFailed("psql failed", answer.words)
    return _or_error(lambda: activity.parse_sessions(answer.stdout))


def refusals(seen: Seen) -> list[Refusal]:
    """Every reason, the gravest first."""
    return [refusal for rule in RULES for refusal in rule(seen)]


# Rules ------------------------------------------------------------------------------------------------------


def _paused(seen: Seen) -> Iterator[Refusal]:
    if isinstance(seen.view, patroni.ClusterView) and seen.view.paused:
        sentence = "Patroni is paused (maintenance mode): nobody would take over"
        yield Refusal(Unhealthy(sentence, "inv resume"))


def _leader(seen: Seen) -> Iterator[Refusal]:
    if isinstance(seen.view, PghaError):
        yield Refusal(seen.view, passing=True)
    elif seen.view.leader is None:
        yield Refusal(NoLeader("The cluster has no leader at the moment", "inv status"), passing=True)


def _members(seen: Seen) -> Iterator[Refusal]:
    for name, why in seen.late.items():
        yield Refusal(Unhealthy(f"{name} {why}", "inv status"), True, name)
    if isinstance(seen.view, PghaError) or seen.view.leader is None:
        return
    for name in seen.view.not_streaming(seen.names):
        if name not in seen.late:
            member = seen.view.member(name)
            state = f"its state is {member.state}" if member else "it is no member at the moment"
            sentence = f"{name} does not stream from the leader {seen.view.leader.name} ({state})"
            yield Refusal(Unhealthy(sentence, f"inv status, inv logs --node {name}"), True, name)


def _lag(seen: Seen) -> Iterator[Refusal]:
    leader = seen.view.leader if isinstance(seen.view, patroni.ClusterView) else None
    told = answering(seen.members)
    written = told[leader.name].node.location if leader and leader.name in told else None
    for name, its in told.items():
        if leader is None or written is None or name == leader.name:
            continue
        if its.node.replay_paused:
            sentence = f"{name}: replay is paused: it would not take over"
            resume = f"inv ssh --node {name} --command \"psql -c 'select pg_wal_replay_resume()'\""
            yield Refusal(Unhealthy(sentence, resume), host=name)
            continue
        positions = (its.node.location, its.node.replayed)
        behind = max((written - at for at in positions if at is not None), default=0)
        if behind > LAG:
            sentence = f"{name} is {size_text(behind)} of WAL behind the leader {leader.name}"
            yield Refusal(Unhealthy(sentence, "try again when it has caught up: inv status"), True, name)


def _synchronous(seen: Seen) -> Iterator[Refusal]:
    if not seen.quorum or isinstance(seen.view, PghaError) or seen.view.leader is None:
        return
    for member in seen.view.members:
        if member.streams and not member.is_sync and member.name in seen.names:
            sentence = f"{member.name} streams, but is not synchronous yet: no commit waits for it"
            yield Refusal(Unhealthy(sentence, "try again in a few seconds: inv status"), True, member.name)


def _quorum(seen: Seen) -> Iterator[Refusal]:
    if isinstance(seen.etcd, PghaError):
        yield Refusal(seen.etcd, passing=True)
    elif seen.etcd.members == len(seen.etcd.healthy) == 1:
        # What `inv recover` has left: there never is another one, until `inv scale`.
        return
    elif not seen.etcd.may_fail:
        view = seen.etcd
        sentence = (
            f"etcd could not do without one more member: {len(view.healthy)} of {view.members} are healthy, "
            f"{view.quorum} are needed"
        )
        yield Refusal(NoQuorum(sentence, "inv status; inv up brings back what does not run"), passing=True)


def _busy(seen: Seen) -> Iterator[Refusal]:
    for name, sessions in seen.sessions.items():
        if isinstance(sessions, PghaError):
            sentence = f"{name} cannot be asked for long transactions: {sessions.message}"
            yield Refusal(Unhealthy(sentence, f"inv logs --node {name}"), True, name)
            continue
        for session in sessions:
            if session.backup:
                error = Unhealthy(f"{name}: {session}: it would fail", "wait until it has ended: inv info")
            else:
                end = f"psql -c 'select pg_terminate_backend({session.pid})'"
                error = Unhealthy(
                    f"{name}: {session}, and would be lost",
                    f'wait, or end it: inv ssh --node {name} --command "{end}"; long_transaction is the limit',
                )
            yield Refusal(error, host=name)


RULES = (_paused, _leader, _members, _quorum, _lag, _synchronous, _busy)


def require_open(project: Project, restarted: Collection[str], hint: str = "", left_out: Collection[str] = ()) -> None:
    """Wait for what passes by itself, a few seconds, and raise the gravest of what is left: Unhealthy, NoLeader,
    NoQuorum, or why the cluster cannot be asked. `hint` is added to that error's own."""
    found: list[Refusal] = []

    def closed() -> list[Refusal]:
        found[:] = refusals(look(project, restarted, left_out))
        return found

    def settled(left: list[Refusal]) -> bool:
        return not left or any(not refusal.passing for refusal in left)

    try:
        wait_until(closed, settled, "A rollout may go on", timeout=PATIENCE)
    except TimedOut:
        if not found:
            raise
    if found:
        error = min(found, key=lambda refusal: refusal.passing).error
        error.hint = "; ".join(filter(None, (error.hint, hint)))
        raise error
