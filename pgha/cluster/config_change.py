"""A change of the dynamic configuration by an operator: checked, shown, applied, and taken by every member."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgha.cluster.configuration import beyond, patch_config, read_config
from pgha.cluster.quorum import require_quorum
from pgha.cluster.view import answering, cut_off, node_names, read_members, require_leader
from pgha.console import Progress
from pgha.errors import BadValue, PghaError, ToolFailed
from pgha.model.config_change import nested, parameters_of, path_of, read_change, require_free, words_of
from pgha.model.merging import flatten, merge, merge_patch
from pgha.model.rules import LIMITS, wrong_slots
from pgha.project.project import Project
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.tools import parameters, patronictl, postgres
from pgha.tools.command import Answer
from pgha.waiting import wait_until

DEFAULTS = {
    "max_connections": 100, "max_locks_per_transaction": 64, "max_prepared_transactions": 0,
    "max_replication_slots": 10, "max_wal_senders": 10, "max_worker_processes": 8,
}  # fmt: skip
"""Patroni's own for the parameters it gives every member on its command line (postgresql/config.py)."""


@dataclass(frozen=True)
class Change:
    """One key; None where it is not set."""

    key: str
    before: Any
    after: Any
    in_force: str = ""
    """what the leader's Postgres has of this parameter now"""
    restart: bool = False
    """Postgres reads it at its start only"""


@dataclass(frozen=True)
class Planned:
    """A change that was checked."""

    changes: tuple[Change, ...]
    expected: Mapping[str, str]
    """parameter -> its value as pg_settings will show it"""

    @property
    def patch(self) -> dict[str, Any]:
        return nested({path_of(change.key): change.after for change in self.changes})


@dataclass(frozen=True)
class Taken:
    """What became of a change."""

    pending: Mapping[str, tuple[str, ...]]
    """member -> the parameters that wait for its restart"""
    unaware: Mapping[str, str]
    """members that cannot have taken it yet -> why"""
    overridden: tuple[str, ...]
    """what is in force in spite of it"""


def plan_change(project: Project, sets: Sequence[str], unsets: Sequence[str]) -> Planned:
    """Check a change without touching anything.

    Raises BadValue for what Patroni or Postgres would not take, what a setting governs, what breaks a promise, and
    what is below what is in use.
    """
    patch = read_change(sets, unsets)
    require_free(project.settings, patch)
    leader = require_leader(project).name
    held = read_config(project)
    changes = _changes(held, patch)
    wanted = {name: value for name, value in parameters_of(patch).items() if _name(name, value)}
    expected = {name: _expected(project, leader, name, value) for name, value in wanted.items() if value is not None}
    _require_libraries(project, wanted)
    _require_room(project, wanted)
    _require_slots(project, leader, held, patch)
    known = _in_force(project, [leader], list(wanted)).get(leader, {})
    return Planned(tuple(_described(change, known) for change in changes), expected)


def _changes(held: Mapping[str, Any], patch: Mapping[str, Any]) -> list[Change]:
    """What differs; `on` and true, 200 and "200" are the same to Postgres."""
    found = []
    for key, after in flatten(dict(patch)).items():
        before: Any = held
        for step in path_of(key):
            before = before.get(step) if isinstance(before, Mapping) else None
        same = before == after
        if key.startswith("postgresql.parameters.") and None not in (before, after):
            same = words_of(before) == words_of(after)
        if not same:
            found.append(Change(key, before, after))
    return found


def _described(change: Change, known: Mapping[str, parameters.Parameter]) -> Change:
    parameter = known.get(change.key.removeprefix("postgresql.parameters."))
    if parameter is None:
        return change
    return Change(change.key, change.before, change.after, parameter.shown, parameter.context == "postmaster")


def _name(name: str, value: Any) -> str:
    """A name that Patroni and Postgres read alike. One that is there, however it is written, may be taken out."""
    if value is not None and not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*", name):
        raise BadValue(
            f"{name!r} is not the name of a Postgres parameter",
            f"inv config --set postgresql.parameters.{name.lower()}",
        )
    return name


def _expected(project: Project, leader: str, name: str, value: Any) -> str:
    command = parameters.checked(postgres.data_dir(project.settings.postgres), name, words_of(value))
    answer = connect(project).run(leader, command)
    if not answer.ok:
        words = answer.words.rpartition("FATAL: ")[2].strip()
        raise BadValue(f"Postgres does not take {name} {words_of(value)}: {words}", f"inv psql --command 'show {name}'")
    return answer.stdout.removesuffix("\n")


def _require_libraries(project: Project, wanted: Mapping[str, Any]) -> None:
    """A library that is not there keeps Postgres from starting, or every client out."""
    names = [
        name for key in parameters.LIBRARIES for name in words_of(wanted.get(key) or "").split(",") if name.strip(' "')
    ]  # fmt: skip
    if not names:
        return
    answers = connect(project).everywhere(dict.fromkeys(node_names(project), parameters.missing_libraries(names)))
    for node, answer in answers.items():
        if isinstance(answer, Answer) and answer.stdout.strip():
            raise BadValue(f"{node} has no library {answer.stdout.split()[0]}", "an image that has it: images/patroni")


def _require_room(project: Project, wanted: Mapping[str, Any]) -> None:
    """Raises BadValue for limits below what is in use."""
    asked = {name: DEFAULTS[name] if value is None else int(value) for name, value in wanted.items() if name in LIMITS}
    if "wal_level" in wanted and wanted["wal_level"] != "logical":
        asked["logical_slots"] = 0
    for name, (used, node) in beyond(project, asked).items():
        if name == "logical_slots":
            sentence = f"{node} has {used} logical slots, which need wal_level logical: it would not start again"
            raise BadValue(sentence, "drop them first: docs/settings.md, Replication slots")
        raise BadValue(f"{name} would be {asked[name]}, and {used} are in use on {node}", f"at least {used}")


def _require_slots(project: Project, leader: str, held: Mapping[str, Any], patch: Mapping[str, Any]) -> None:
    """Raises BadValue for a slot that Patroni cannot make: in its log only, and none that follows would be made."""
    slots = {name: given for name, given in (patch.get("slots") or {}).items() if isinstance(given, dict)}
    if not slots:
        return
    databases = ask_postgres(connect(project), leader, postgres.query(postgres.DATABASES)).splitlines()
    for name, given in slots.items():
        slot = {key: str(value) for key, value in merge((held.get("slots") or {}).get(name) or {}, given).items()}
        wrong = list(wrong_slots(replace(project.settings, slots={name: slot})))
        if slot.get("type") != "physical":
            wrong += [f"slots: {name} has no {key}" for key in ("type", "database", "plugin") if not slot.get(key)]
            if slot.get("database", databases[0]) not in databases:
                wrong.append(f"slots: there is no database {slot['database']}")
        if wrong:
            raise BadValue(wrong[0], "slots.cdc={type: logical, database: app, plugin: pgoutput}; or the setting slots")


def _in_force(
    project: Project, nodes: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, parameters.Parameter]]:
    """Member -> its parameters; those that do not answer are left out."""
    if not names:
        return {}
    answers = connect(project).everywhere(dict.fromkeys(nodes, parameters.in_force(names)))
    return {
        node: parameters.parse_in_force(answer.stdout)
        for node, answer in answers.items()
        if isinstance(answer, Answer) and answer.ok
    }


def apply_change(project: Project, planned: Planned, progress: Progress) -> Taken:
    """Apply it, and return when every member that can be asked has acted by it. The caller holds the lock.

    Raises NoQuorum, ToolFailed, or TimedOut with the members that have not.
    """
    members = read_members(project)
    unaware = {name: told.message for name, told in members.items() if isinstance(told, PghaError)}
    unaware |= cut_off(project, members)
    states = {name: told.node.state for name, told in answering(members).items()}
    unaware |= {name: f"it is {state}" for name, state in states.items() if state != "running"}
    waited = [name for name in members if name not in unaware]
    require_quorum(project)
    with progress.stage("patronictl edit-config"):
        patch_config(project, planned.patch)
    with progress.stage("wait until every member has taken it"):
        wait_until(
            lambda: _lacking(project, waited, planned.patch),
            lambda left: not left,
            "Every member has taken it",
            timeout=3 * project.settings.loop_wait + 20,
            explain=lambda left: f"not yet: {', '.join(left)}",
            hint="inv config shows what holds; inv logs --node <name> what Patroni says of it",
        )
    told = answering(read_members(project))
    pending = {name: answer.node.pending_restart for name, answer in told.items() if answer.node.pending_restart}
    return Taken(pending, unaware, tuple(_overridden(project, waited, planned, pending)))


def _lacking(project: Project, names: Sequence[str], patch: dict[str, Any]) -> list[str]:
    """Members that do not go by it yet."""
    command = patronictl.taken_config(postgres.data_dir(project.settings.postgres))
    answers = connect(project).everywhere(dict.fromkeys(names, command))
    return [name for name in names if merge_patch(_parsed(name, answers[name]), patch)]


def _parsed(name: str, answer: Answer | PghaError) -> dict[str, Any]:
    if isinstance(answer, PghaError):
        raise answer
    try:
        return dict(json.loads(answer.stdout))
    except (ValueError, TypeError):
        raise ToolFailed(f"{name} does not tell the configuration it goes by", answer.words) from None


def _overridden(
    project: Project, names: Sequence[str], planned: Planned, pending: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Parameters that have another value all the same, and wait for no restart."""
    found = []
    for node, known in _in_force(project, names, list(planned.expected)).items():
        for name, value in planned.expected.items():
            has = known.get(name)
            if has and has.setting != value and name not in pending.get(node, ()):
                where = f"{has.source} (alter system, role or database?)"
                found.append(f"{name} is {has.shown} on {node} all the same, by its {where}")
    return found
