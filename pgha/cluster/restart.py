"""Restart Postgres, one member after another."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pgha.cluster import rollout
from pgha.cluster.gates import look, refusals
from pgha.cluster.rolling import Rolled, Work, roll
from pgha.cluster.rollout_record import Record, describe_rollout, forget_rollout, read_rollout
from pgha.cluster.view import able_member, node_names, require_leader
from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, PghaError, ToolFailed, Unhealthy
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import patroni, restarts
from pgha.tools.restarts import Standing

VERB = "restart"

ACTION = "restarted"

ONE_NODE = "there is no other node"


@dataclass(frozen=True)
class Prepared:
    """What is to be restarted, and as what it stood before."""

    plan: rollout.Plan
    record: Record
    """of an interrupted one, when this goes on with it"""
    resumed: bool
    lowered: tuple[str, ...]
    """parameters for which the leader has to be first"""
    stopped: tuple[str, ...] = ()
    """members that are stopped for maintenance, and stay so"""


@dataclass(frozen=True)
class Restarted:
    """What was restarted, and what still waits."""

    done: tuple[str, ...]
    rolled: Rolled
    still_pending: Mapping[str, tuple[str, ...]]
    """member -> parameters that wait for one more restart"""


def prepare(project: Project, node: str, pending: bool, stopped: Collection[str] = ()) -> Prepared:
    """What would be done, without doing it. Members that are `stopped` for maintenance are left out: their Postgres
    starts anew with them.

    Raises BadValue for a node that is none, HalfDone while an `up` is, NoLeader, Unhealthy for a node that is stopped,
    and where without those that are nobody could take over.
    """
    if node and node not in node_names(project):
        raise BadValue(f"{node} is not a Postgres node of project {project.name}", ", ".join(node_names(project)))
    away = tuple(name for name in node_names(project) if name in stopped)
    if node in away:
        raise Unhealthy(f"{node} is stopped for maintenance", f"inv start --node {node} starts its Postgres anew")
    before = read_rollout(project)
    if before and before.verb != VERB:
        raise HalfDone(_sentence(before), f"{before.command} completes it")
    asked = {key: value for key, value in (("node", node), ("pending", "yes" if pending else "")) if value}
    standing = read_standing(project)
    known = {name: its for name, its in standing.items() if isinstance(its, Standing)}
    resumed = before is not None and before.asked == asked
    if before and resumed:
        record = replace(before, done=[name for name in before.marks if is_restarted(name, before, known)])
        hosts = [name for name in before.marks if name not in (*record.done, *away)]
    else:
        there = [name for name in node_names(project) if name not in away]
        hosts = choose([node] if node else there, known if pending else None)
        marks = {name: known[name].started if name in known else "" for name in hosts}
        record = Record(VERB, time.time(), asked, marks=marks)
    leader = require_leader(project).name
    lowered = known[leader].lowers if leader in known and leader in hosts else ()
    _require_successor(project, leader if leader in hosts else "", away)
    plan = rollout.Plan(
        VERB,
        ACTION,
        steps=rollout.order(
            project.topology,
            hosts,
            leader=leader,
            because={name: waits_for(its) for name, its in known.items()},
            leader_first=bool(lowered),
        ),
        in_place=_in_place(project, lowered),
        by_switchover=True,
        done=tuple(record.done),
        refusals=tuple(refusal.error for refusal in refusals(look(project, hosts, away))) if hosts else (),
        notes=(*_notes(before, resumed, standing, away), *map(_stays, away)),
    )
    return Prepared(plan, record, resumed, lowered, away)


def _require_successor(project: Project, leader: str, away: Sequence[str]) -> None:
    """Raises Unhealthy when the leader is to be restarted, and nobody but those that are away could take over."""
    if leader and away and len(node_names(project)) == len(away) + 1:
        raise Unhealthy(
            f"{leader} would be restarted, and without {' and '.join(away)}, stopped for maintenance, nobody could "
            "take over from it",
            f"inv start --node {away[0]}, then inv restart",
        )


def choose(names: Collection[str], pending_of: Mapping[str, Standing] | None) -> list[str]:
    """Those of these members that are to be restarted: all, or those that wait for it."""
    if pending_of is None:
        return list(names)
    return [name for name in names if name in pending_of and pending_of[name].pending]


def is_restarted(member: str, record: Record, known: Mapping[str, Standing]) -> bool:
    """Whether its Postgres was started since the rollout began, by whomever."""
    began = record.marks.get(member, "")
    return bool(began) and member in known and known[member].started not in ("", began)


def waits_for(standing: Standing) -> str:
    """Which parameters wait for the restart, in words."""
    return ", ".join(
        f"{name} {now} -> {then}" if now or then else name for name, (now, then) in standing.pending.items()
    )


def _in_place(project: Project, lowered: tuple[str, ...]) -> str:
    if len(project.topology.nodes) == 1:
        return ONE_NODE
    if lowered:
        return f"{' and '.join(lowered)} becomes smaller, and no standby may have less than its leader"
    return ""


def _stays(name: str) -> str:
    return (
        f"{name} stays stopped for maintenance, and is left out: its Postgres starts anew with inv start --node {name}"
    )


def _notes(
    before: Record | None, resumed: bool, standing: Mapping[str, Standing | PghaError], away: Collection[str]
) -> tuple[str, ...]:
    notes = []
    if before:
        notes.append(_sentence(before) + (": this goes on with it" if resumed else ": it is given up for this one"))
    notes += [
        f"{name} cannot be asked: {its.message}"
        for name, its in standing.items()
        if isinstance(its, PghaError) and name not in away
    ]
    return tuple(notes)


def _sentence(record: Record) -> str:
    text = describe_rollout(record)
    return text[0].upper() + text[1:]


def read_standing(project: Project) -> dict[str, Standing | PghaError]:
    """Since when each member's Postgres runs."""
    answers = connect(project).everywhere(
        dict.fromkeys(node_names(project), patroni.get(project.topology.urls, "patroni"))
    )
    found: dict[str, Standing | PghaError] = {}
    for name, answer in answers.items():
        try:
            found[name] = answer if isinstance(answer, PghaError) else restarts.parse_standing(answer.stdout)
        except PghaError as error:
            found[name] = error
    return found


def restart(project: Project, prepared: Prepared, progress: Progress) -> Restarted:
    """Do it. The caller holds the lock. Raises as `roll`, and ToolFailed when Patroni does not restart a member."""
    plan, record = prepared.plan, prepared.record
    if not plan.steps:
        if prepared.resumed:
            forget_rollout(project)
        return Restarted(tuple(record.done), Rolled((), None), {})
    for line in plan.describe():
        progress.note(line)
    hosts = [step.host for step in plan.steps]
    unknown = [host for host in hosts if not record.marks[host]]
    if unknown:
        # Without it nobody could tell whether it was restarted.
        raise Unhealthy(f"{unknown[0]} does not say since when its Postgres runs", f"inv logs --node {unknown[0]}")
    work = Work(
        action=ACTION,
        act=lambda host: _restart(project, record, host),
        is_done=lambda host: is_restarted(host, record, _known(project)),
        way_on=f"{record.command} goes on. A parameter with which Postgres does not start: put it back first",
        in_place=bool(plan.in_place),
        leader_first=bool(prepared.lowered),
        left_out=prepared.stopped,
    )
    rolled = roll(project, record, hosts, work, progress)
    forget_rollout(project)
    pending = {name: tuple(its.pending) for name, its in _known(project).items() if its.pending}
    return Restarted((*record.done, *rolled.done), rolled, pending)


def _known(project: Project) -> dict[str, Standing]:
    return {name: its for name, its in read_standing(project).items() if isinstance(its, Standing)}


def _restart(project: Project, record: Record, host: str) -> None:
    """patronictl waits for the end of it, and ends with 0 also when Patroni refused."""
    command = restarts.restart(host, project.settings.up_timeout)
    answer = connect(project).run(able_member(project), command)
    if "Success: " not in answer.stdout and not is_restarted(host, record, _known(project)):
        words = "\n".join(filter(None, (answer.stdout.strip(), answer.stderr.strip())))
        raise ToolFailed(f"Patroni did not restart {host}", words, f"inv logs --node {host}; {record.command} goes on")
