"""Make a replica again, from the leader or from the repository."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pgha.backup.stanza import read_facts, read_stanza, require_repository, require_repository_reaches
from pgha.cluster.configuration import read_config
from pgha.cluster.quorum import require_quorum
from pgha.cluster.view import able_member, agreed_view, cut_off, node_names, read_members, read_view
from pgha.console import Progress
from pgha.errors import BadValue, NoBackup, NoLeader, NoStanza, PghaError, TimedOut, ToolFailed, Unhealthy
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.tools import patroni, patronictl
from pgha.waiting import Stopwatch, wait_until

SOURCES = ("leader", "repository")

FAILURES = 2
"""So often may every method fail before that is the answer: one may have met a change of the leader."""


@dataclass(frozen=True)
class Remade:
    """A replica that was made again."""

    node: str
    source: str
    """one of SOURCES"""
    method: str
    """Patroni's name for how"""
    before: patroni.ClusterView
    after: patroni.ClusterView
    seconds: float


def reinit(project: Project, node: str, source: str, progress: Progress) -> Remade:
    """Let Patroni make a replica's data again; returns when it streams. The caller holds the lock.

    Without a source Patroni takes the first of its methods that can: the repository once there is a backup. One that
    is being made already is waited for, unless it is to be made from a given source.
    Raises, before anything is touched, BadValue for the leader or no member, NoBackup or Parted when the repository
    cannot give it, Unhealthy when its Patroni cannot do it; ToolFailed when it could not be made, or not from there.
    """
    _check(project, node, source)
    members = read_members(project)
    before = agreed_view(project, members)
    leader = _require_replica(project, before, node)
    _require_able(node, members[node], cut_off(project, members).get(node, ""))
    require_quorum(project)
    if source == "repository":
        _require_backup(project, leader, node)
    seen = before.member(node)
    making = seen is not None and seen.state == patronictl.CREATING
    _warn(project, before, node, progress)
    began, clock = time.time(), Stopwatch()
    old = patronictl.parse_creations(engine.log_since(project, node, began))
    if making and not source:
        progress.note(f"{node} is being made again already")
    else:
        with progress.stage(f"patronictl reinit {node}"):
            command = patronictl.reinit(node, from_leader=source == "leader")
            answer = connect(project).run(able_member(project, leader), command)
            if "Success" not in answer.stdout:
                raise ToolFailed(f"Patroni does not make {node} again", answer.words, "inv status")
    with progress.stage(f"wait until {node} streams"):
        after, made = _wait_until_made(project, node, began, old, progress)
    _require_source(node, source, made)
    method = made.methods[-1]
    return Remade(node, patronictl.MADE_FROM.get(method, method), method, before, after, clock.seconds)


def _check(project: Project, node: str, source: str) -> None:
    names = node_names(project)
    if node not in names:
        what = f"{node} is not a Postgres node of this project" if node else "A replica has to be named"
        raise BadValue(what, f"inv reinit --node <name>: one of {', '.join(names)}")
    if source not in ("", *SOURCES):
        raise BadValue(f"{source} is not a source of data: {' or '.join(SOURCES)}", f"inv reinit --node {node}")


def _require_replica(project: Project, view: patroni.ClusterView, node: str) -> str:
    """The leader's name. Raises NoLeader, or BadValue when this is it."""
    if view.leader is None:
        raise NoLeader(f"There is no leader that {node} could be made from", "inv status")
    if view.leader.name == node:
        others = [member.name for member in view.members if member.streams]
        way = (
            f"inv switchover, then inv reinit --node {node}"
            if others
            else "no other member could take over: inv status"
        )
        raise BadValue(f"{node} is the leader: only a replica can be made again", way)
    return view.leader.name


def _require_able(node: str, told: patroni.Told | PghaError, late: str) -> None:
    if isinstance(told, PghaError):
        raise Unhealthy(f"{node} cannot be made again now: {told.message.splitlines()[0]}", told.hint or "inv up")
    if late:
        raise Unhealthy(f"{node} cannot be made again now: it {late}", "inv status")


def _require_backup(project: Project, leader: str, node: str) -> None:
    """Raises unless there is a backup that a replica of this leader can be made from."""
    require_repository(project)
    if "pgbackrest" not in (read_config(project).get("postgresql") or {}).get("create_replica_methods", ()):
        raise NoStanza("Replicas are not made from the repository yet", "inv stanza backup")
    require_repository_reaches(project, node, "it can give nothing")
    history = read_facts(project, leader).history
    backups = read_stanza(project).backups
    if not any(not backup.error and history.holds(backup.timeline, backup.stop_lsn) for backup in backups):
        what = "of the present history" if backups else "yet"
        raise NoBackup(f"There is no backup {what} that {node} could be made from", "inv backup, or --from leader")


def _warn(project: Project, view: patroni.ClusterView, node: str, progress: Progress) -> None:
    """Say what the cluster cannot do meanwhile."""
    wanted = project.topology.synchronous_node_count if project.settings.durability == "quorum" else 0
    others = sum(member.streams and member.name != node for member in view.members)
    if others < wanted:
        progress.note(f"until {node} streams a commit waits for {others or 'no'} standby, not for {wanted}")


def _wait_until_made(
    project: Project, node: str, began: float, old: patronictl.Creations, progress: Progress
) -> tuple[patroni.ClusterView, patronictl.Creations]:
    """Wait as long as its data is being made, and then until it streams. Raises ToolFailed when all methods failed."""
    state = ""

    def look() -> tuple[patroni.ClusterView, patronictl.Creations]:
        nonlocal state
        view, made = read_view(project), _since(project, node, began, old)
        member = view.member(node)
        state = member.state if member else "not in the cluster"
        progress.detail(state)
        return view, made

    def holds(seen: tuple[patroni.ClusterView, patronictl.Creations]) -> bool:
        view, made = seen
        return made.failures >= FAILURES or (bool(made.methods) and not view.not_streaming([node]))

    while True:
        try:
            view, made = wait_until(
                look, holds, f"{node} streams", timeout=project.settings.up_timeout, explain=lambda _: f"it is {state}",
                hint=f"Patroni goes on: inv status, inv logs --node {node}",
            )  # fmt: skip
        except TimedOut:
            if state == patronictl.CREATING:
                continue
            raise
        if not made.methods:
            hint = f"Patroni tries again by itself: inv status, inv logs --node {node}"
            raise ToolFailed(f"Patroni could not make {node} again", made.words, hint)
        return view, made


def _since(project: Project, node: str, began: float, old: patronictl.Creations) -> patronictl.Creations:
    """What happened since this command began: the engine's log begins with that second."""
    made = patronictl.parse_creations(engine.log_since(project, node, began))
    return patronictl.Creations(made.methods[len(old.methods) :], made.failures - old.failures, made.words)


def _require_source(node: str, source: str, made: patronictl.Creations) -> None:
    """Raises ToolFailed when a method went on for another one that could not."""
    actual = patronictl.MADE_FROM.get(made.methods[-1], made.methods[-1])
    if source and actual != source:
        sentence = f"{node} streams, but it was made from the {actual}: the {source} could not give it"
        raise ToolFailed(sentence, made.words, f"inv logs --node {node}")
