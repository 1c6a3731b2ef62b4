"""Containers made again one after another, while clients write; or all at once where that cannot be."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from pgha.cluster import rollout as cluster_rollout
from pgha.cluster.etcd_members import replace_lost
from pgha.cluster.gates import Refusal, look, refusals
from pgha.cluster.quorum import read_etcd
from pgha.cluster.rolling import Rolled, leading_etcd, roll
from pgha.cluster.rollout import NOT_RUNNING, NOT_THERE
from pgha.cluster.rollout_record import Record, describe_rollout, read_rollout
from pgha.cluster.view import read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import NoQuorum, OtherKeys, PghaError, Unhealthy
from pgha.failures import broken
from pgha.model.topology import MONITORING, REPOSITORY
from pgha.project.certificates import authority, hosts_with_one
from pgha.project.project import Project
from pgha.remote import engine, networks
from pgha.remote.connections import connect
from pgha.stack.remaking import ACTION, in_turn, make_again
from pgha.stack.rollout import COMPOSE, GONE, PORTS, Rollout
from pgha.tools import trust
from pgha.tools.command import Answer

VERB = "up"

AT_ONCE_HINT = "inv up --at-once makes all again together, and writes stop meanwhile"

BACK = "then inv up goes on. Back: the settings, files or images as they were, then inv up"


@dataclass(frozen=True)
class Way:
    """How `up` gets to where it shall be."""

    planned: Rollout
    at_once: str = ""
    """why not one after another"""
    first: tuple[str, ...] = ()
    """what does not run or is not well anyhow: brought up before, all at once"""
    turns: tuple[str, ...] = ()
    """made again one after another"""
    record: Record | None = None
    """what an interrupted command left"""
    left_out: tuple[str, ...] = ()
    """hosts that are stopped for maintenance, and stay so while others have their turns"""

    def nodes(self, project: Project) -> list[str]:
        """The Postgres nodes that run afterwards."""
        return [node.name for node in project.topology.nodes if node.name not in self.left_out]


def choose_way(project: Project, planned: Rollout, *, at_once: bool, stopped: Collection[str] = ()) -> Way:
    """One after another, or all at once and why. Looks at what runs, and touches nothing. What is `stopped` for
    maintenance is left out while others have their turns, and else started again.

    Raises Missing when a record is damaged, Unhealthy when without those nobody could take over.
    """
    record = read_rollout(project)
    if not planned.interrupted:
        return Way(planned, "", (*planned.create, *planned.start, *planned.again), record=record)
    why = "as asked" if at_once else why_together(project, planned) or _other_identity(project, planned.interrupted)
    if why:
        return Way(planned, why, record=record)
    _require_another(project, planned, stopped)
    planned = planned.without(stopped)
    stuck = record.at if record and record.verb == VERB else ""
    idle = {host for host in planned.again if host not in planned.interrupted}
    if stuck in planned.interrupted and not _is_well(project, stuck):
        idle.add(stuck)
    first = (*planned.create, *planned.start, *(host for host in planned.again if host in idle))
    turns = tuple(host for host in planned.interrupted if host not in idle)
    return Way(planned, "", first, turns, record, tuple(stopped))


def _require_another(project: Project, planned: Rollout, stopped: Collection[str]) -> None:
    nodes = [node.name for node in project.topology.nodes if node.name not in stopped]
    if stopped and len(nodes) == 1 and nodes[0] in planned.interrupted:
        away = [node.name for node in project.topology.nodes if node.name in stopped]
        raise Unhealthy(
            f"{nodes[0]} would be made again, and without {' and '.join(away)}, stopped for maintenance, nobody could "
            "take over from it",
            f"inv start --node {away[0]}, then inv up",
        )


def why_together(project: Project, planned: Rollout) -> str:
    """Why containers cannot be made again one after another, as far as one sees it without asking them."""
    reasons = [planned.again[host] for host in planned.interrupted if host != MONITORING]
    nodes = {node.name for node in project.topology.nodes}
    if planned.renumbered:
        return "every container gets another address"
    if GONE in reasons:
        return "their network is gone"
    if PORTS in reasons:
        return "the ports change, and with them how every client and this host find the nodes"
    if any(why.startswith(COMPOSE) for why in reasons):
        return "another Compose made them"
    if not nodes - {*planned.create, *planned.start, *(planned.again.keys() - set(planned.interrupted))}:
        return "no Postgres runs"
    if len(nodes) == 1:
        return "there is one Postgres node, and nobody to hand over to"
    return ""


def _other_identity(project: Project, hosts: Iterable[str]) -> str:
    """Whether those that run would not be trusted by those made again: then there is no working mixture of both."""
    names = [host.name for host in project.topology.ssh_hosts if host.name in hosts]
    answers = connect(project).everywhere(dict.fromkeys(names, trust.show_authority()))
    if any(isinstance(answer, OtherKeys) for answer in answers.values()):
        return "they have other SSH keys than this checkout, and cannot be asked before they are made again"
    ca = authority(project).certificate
    if hosts_with_one(project) and ca.exists():
        known = {answer.stdout.strip() for answer in answers.values() if isinstance(answer, Answer) and answer.ok}
        if known - {ca.read_text().strip()}:
            return "their certificates are of another authority, and each half would trust itself only"
    return ""


def _is_well(project: Project, host: str) -> bool:
    try:
        if host in {member.name for member in project.topology.etcd}:
            return host in read_etcd(project).healthy
        return host in (REPOSITORY, MONITORING) or not read_view(project).not_streaming([host])
    except PghaError:
        return False


def plan_of(project: Project, way: Way, *, gates: bool = False) -> cluster_rollout.Plan:
    """What is done to whom, said beforehand; with `gates` also why it would not begin now."""
    planned = way.planned
    made = dict.fromkeys(planned.create, NOT_THERE) | dict.fromkeys(planned.start, NOT_RUNNING)
    whys = {**made, **planned.again}
    # A table says it in a column of its own.
    notes = (*left_out(way), *filter(None, (given_up(way), *(() if gates else planned.notes))))
    if way.at_once:
        return cluster_rollout.Plan(VERB, ACTION, together=whys, at_once=way.at_once, notes=notes)
    first = {host: why for host, why in whys.items() if host in way.first}
    if not way.turns:
        return cluster_rollout.Plan(VERB, ACTION, first=first, notes=notes)
    done = begin(way).done if way.record else []
    plan = cluster_rollout.Plan(VERB, ACTION, first=first, notes=notes, done=tuple(h for h in done if h not in first))
    leader = ""
    refused: tuple[PghaError, ...] = ()
    try:
        view = read_view(project)
        leader = view.leader.name if view.leader else ""
        refused = _refusals(project, way) if gates else ()
    except PghaError as error:
        refused = (error,)
    if not leader:
        plan = replace(plan, notes=(*notes, "nobody knows who leads: whoever does then hands over, and is last"))
    steps = cluster_rollout.order(
        project.topology, way.turns, leader=leader, etcd_leader=leading_etcd(project), because=planned.again
    )
    return replace(plan, steps=steps, refusals=refused)


def _refusals(project: Project, way: Way) -> tuple[PghaError, ...]:
    """Why it would not begin now; not what is over when those that come first are brought up."""
    nodes = [node.name for node in project.topology.nodes if node.name in way.turns]
    found = refusals(look(project, nodes, way.left_out))
    return tuple(refusal.error for refusal in found if not _is_over(project, refusal, way.first))


def _is_over(project: Project, refusal: Refusal, first: Collection[str]) -> bool:
    """Whether a gate is open when these are brought up."""
    etcd = {member.name for member in project.topology.etcd}
    return refusal.host in first or (isinstance(refusal.error, NoQuorum) and bool(etcd & set(first)))


def roll_out(project: Project, way: Way, progress: Progress) -> Rolled:
    """Make containers again, one after another. The caller holds the lock.

    Raises what the gates refuse with, TimedOut at the first that does not come back: the same command goes on.
    """
    with broken.ended_by_start(project):
        engine.revive(project)
        if way.first:
            with progress.stage(f"bring up {', '.join(way.first)}"):
                again = [host for host in way.first if host in way.planned.again]
                make_again(project, way.first, again, progress)
    left = broken.still(project, engine.containers(project).values())
    if left:
        raise Unhealthy(f"The cluster is still broken by chaos: {left[0]}", f"inv chaos.heal, or {AT_ONCE_HINT}")
    networks.reconnect(project)
    with progress.stage("wait until every member streams"):
        try:
            names = way.nodes(project)
            wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail, names=names)
        except PghaError as error:
            error.hint = "; ".join(filter(None, (error.hint, AT_ONCE_HINT)))
            raise
    for name in replace_lost(project, progress, way.left_out):
        progress.note(f"{name} had lost its data: etcd took it out and in again")
    return roll(project, begin(way), way.turns, in_turn(project, progress, BACK, left_out=way.left_out), progress)


def begin(way: Way) -> Record:
    """The record to go on with. One of a restart is given up: a Postgres whose container is made again is restarted."""
    if way.record and way.record.verb == VERB:
        done = [host for host in way.record.done if host not in way.planned.again]
        return replace(way.record, at="", done=[*done, *(host for host in way.first if host not in done)])
    return Record(VERB, time.time())


def left_out(way: Way) -> list[str]:
    """What is said of hosts that stay stopped."""
    return [
        f"{host} stays stopped for maintenance, and is left out: inv start --node {host}, then inv up"
        for host in way.left_out
    ]


def given_up(way: Way) -> str:
    """What is said of a restart that is half done, when there is one."""
    if way.record is None or way.record.verb == VERB or not way.turns:
        return ""
    return f"{describe_rollout(way.record)}: it is given up, and {way.record.command} begins anew"
