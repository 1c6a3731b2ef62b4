"""Logical slots that a change of the leader, or a restore, drops: named before it happens."""

from __future__ import annotations

from contextlib import suppress

from pgha.cluster.view import node_names, require_leader, wait_until_well
from pgha.console import Progress
from pgha.errors import NotRendered, PghaError, TimedOut
from pgha.project.project import Project
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.tools import patroni, postgres
from pgha.tools.command import Answer
from pgha.tools.slots import LOGICAL, SlotCoverage, coverage, parse_slots
from pgha.waiting import wait_until

HELP = "docs/settings.md, Replication slots"

PATIENCE = 30
"""Seconds until every member has a new slot: two looks of Patroni, and a restart of each standby."""


def read_coverage(project: Project, leader: str) -> tuple[SlotCoverage, ...]:
    """What becomes of each of the leader's logical slots; standbys that cannot be asked are left out.

    Raises ToolFailed, or Unreachable, when the leader cannot be asked.
    """
    ssh = connect(project)
    answers = ssh.everywhere(dict.fromkeys(node_names(project), postgres.query(LOGICAL)))
    own = answers.pop(leader, None)
    if not isinstance(own, Answer):
        raise own or NotRendered(f"{leader} is not a node of the rendered settings", "inv render")
    slots = parse_slots(own.stdout)
    if not slots:
        return ()
    config = patroni.parse_config(
        ssh.must(leader, patroni.get(project.topology.urls, "config"), "Patroni does not answer").stdout
    )
    standbys = {}
    for name, answer in answers.items():
        if isinstance(answer, Answer) and answer.ok:
            standbys[name] = parse_slots(answer.stdout)
    return coverage(slots, standbys, config)


def warnings_of_handover(project: Project, leader: str, candidate: str) -> list[str]:
    """A sentence for each slot that the next leader will not have; nothing when the leader cannot be asked."""
    try:
        found = read_coverage(project, leader)
    except PghaError:
        return []
    return [sentence for slot in found if (sentence := _of_handover(slot, candidate, len(project.topology.nodes) - 1))]


def _of_handover(slot: SlotCoverage, candidate: str, standbys: int) -> str:
    lacking = [name for name in slot.lacking if candidate in ("", name)]
    if not lacking:
        return ""
    where = "" if candidate or len(lacking) == standbys else f" if {' or '.join(lacking)} leads"
    if slot.declared:
        how = f"it is created again{where}, and its consumer misses changes"
        return f"the logical slot {slot.name} is not on every member yet: {how}"
    if slot.failover:
        lost = "its consumer may lose its place there"
        return f"the logical slot {slot.name} is not synchronized to {' and '.join(lacking)}: {lost} ({HELP})"
    return f"the logical slot {slot.name} is dropped{where}: nothing keeps it on another member ({HELP})"


def warnings_of_restore(project: Project, leader: str) -> list[str]:
    """A sentence for the slots that a restore drops; nothing when the leader cannot be asked."""
    try:
        found = read_coverage(project, leader)
    except PghaError:
        return []
    dropped = [slot.name for slot in found if not slot.declared]
    created = [slot.name for slot in found if slot.declared]
    said = [f"these logical slots are dropped: {', '.join(dropped)} ({HELP})"] if dropped else []
    if created:
        said.append(f"these logical slots are created again, their consumers start over: {', '.join(created)} ({HELP})")
    return said


def warnings_of_new_slots(project: Project) -> list[str]:
    """Slots that end when `up` declares others: Patroni looks at all slots when it creates one."""
    wanted = {name for name, slot in project.settings.slots.items() if "database" in slot}
    if not wanted:
        return []
    found = read_coverage(project, require_leader(project).name)
    ending = [slot.name for slot in found if slot.unknown and slot.name not in wanted]
    if not ending or wanted <= {slot.name for slot in found}:
        return []
    return [f"Patroni drops the logical slots that it does not know and nobody uses: {', '.join(ending)} ({HELP})"]


def await_slots(project: Project, progress: Progress) -> list[str]:
    """Wait until every member has the logical slots of the settings: Patroni restarts a standby to give it one.

    Returns what could not be had: Patroni goes on trying.
    """
    wanted = {name: slot["database"] for name, slot in project.settings.slots.items() if "database" in slot}
    if not wanted:
        return []
    leader = require_leader(project).name
    databases = ask_postgres(connect(project), leader, postgres.query(postgres.DATABASES)).splitlines()
    notes = [
        f'the slot {name} waits for its database {database}: create database "{database}", then inv up'
        for name, database in wanted.items()
        if database not in databases
    ]
    ready = {name for name, database in wanted.items() if database in databases}

    def lacking() -> list[str]:
        """Slots that are not on every member; one that restarts cannot be asked."""
        standbys = len(project.topology.nodes) - 1
        return sorted(ready - {slot.name for slot in read_coverage(project, leader) if len(slot.kept_on) == standbys})

    if ready and lacking():
        with progress.stage("wait until every member has its slots"), suppress(TimedOut):
            wait_until(lacking, lambda left: not left, "Every member has its slots", timeout=PATIENCE)
        wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
        notes += [f"the slot {name} is not on every member yet: inv logs --node {leader}" for name in lacking()]
    return notes
