"""What each machine of the project needs: an engine that is reached and new enough, CPUs as here, the right time."""

from __future__ import annotations

from datetime import UTC, datetime

from pgha.errors import PghaError
from pgha.model.machines import Machine
from pgha.model.words import size_text
from pgha.project.project import Project
from pgha.remote import readiness
from pgha.remote.engines import HERE, Engine, at_once
from pgha.tools import docker_client
from pgha.tools.docker_client import Info
from pgha.tools.versions import major

OLDEST = 20
"""The oldest engine's major version that this was run on."""

CLOCKS_APART = 5.0
"""Seconds. TLS and WAL's times bear more; a person who reads two logs does not."""


def check_machines(project: Project) -> list[tuple[str, str, str]]:
    """Of each machine: its name, what was found, and what is wrong with it, or nothing."""
    machines = project.topology.machines
    if not machines:
        return []
    here = _architecture()
    seen = at_once([Engine(machine) for machine in machines], _ask)
    return [_judged(machine, found, here) for machine, found in zip(machines, seen, strict=True)]


def _ask(engine: Engine) -> tuple[Info, float] | PghaError:
    """What an engine says of its machine, and by how many seconds its clock is off, as far as the time that the
    question took does not explain it."""
    try:
        before = datetime.now(UTC)
        info = docker_client.parse_info(engine.must(docker_client.info()).stdout)
        after = datetime.now(UTC)
    except PghaError as error:
        return error
    ahead, behind = (info.time - after).total_seconds(), (before - info.time).total_seconds()
    return info, ahead if ahead > 0 else min(0.0, -behind)


def _architecture() -> str:
    """Of this host's engine, where the images are built; nothing when it does not answer."""
    if readiness.engine_problem() is not None:
        return ""
    found = _ask(HERE)
    return "" if isinstance(found, PghaError) else found[0].architecture


def _judged(machine: Machine, found: tuple[Info, float] | PghaError, here: str) -> tuple[str, str, str]:
    name = f"machine {machine.name}"
    if isinstance(found, PghaError):
        return name, "", found.message
    info, off = found
    problems = []
    if major(info.version) < OLDEST:
        problems.append(f"its engine is {info.version}; {OLDEST}.10 is the oldest that this was run on")
    if here and info.architecture != here:
        problems.append(f"its CPUs are {info.architecture}, and the images built here are for {here}")
    if abs(off) > CLOCKS_APART:
        problems.append(f"its clock is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}")
    memory = size_text(info.memory)
    text = f"{machine.address}, engine {info.version}, {info.cpus} CPUs, {memory} of memory"
    return name, text, "; ".join(problems)
