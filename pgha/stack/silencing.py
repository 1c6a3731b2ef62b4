"""Who is stopped on purpose is nobody's alarm: a silence in Alertmanager while a host is in maintenance."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pgha.console import Progress
from pgha.errors import PghaError
from pgha.model.topology import MONITORING
from pgha.project.project import Project
from pgha.remote import monitoring
from pgha.waiting import wait_until

PATIENCE = 45
"""Seconds Prometheus may take to read what it had written when it was killed, and then to ask everybody."""


def begin(project: Project, hosts: Collection[str], progress: Progress) -> None:
    """Nobody is told of these hosts until `end`, for a day at most. Nothing depends on it: a failure is
    only said."""
    _ask(project, hosts, progress, monitoring.silence, "are not silenced")


def end(project: Project, hosts: Collection[str], progress: Progress) -> None:
    """End the silences of these hosts. A failure is only said."""
    _ask(project, hosts, progress, monitoring.end_silences, "may still be silenced")


def _ask(
    project: Project,
    hosts: Collection[str],
    progress: Progress,
    ask: Callable[[Project, Collection[str]], object],
    otherwise: str,
) -> None:
    if project.topology.monitoring is None or MONITORING in hosts:
        return
    try:
        ask(project, hosts)
    except PghaError as error:
        progress.note(f"alerts of {', '.join(hosts)} {otherwise}: {error.message}")


def settle(project: Project, hosts: Collection[str], progress: Progress) -> None:
    """Where the monitoring is among these hosts, wait until it hears of all of them; then it tells of them again.
    Nothing depends on it: a failure is only said."""
    if project.topology.monitoring is None or MONITORING not in hosts:
        return
    try:
        with progress.stage("wait until the monitoring hears of everybody"):
            wait_until(lambda: _lacks(project, hosts), lambda why: not why, "The monitoring hears of everybody",
                       timeout=PATIENCE, explain=str, hint="inv status")  # fmt: skip
    except PghaError as error:
        progress.note(error.message)
    end(project, [host for host in hosts if host != MONITORING], progress)


def _lacks(project: Project, hosts: Collection[str]) -> str:
    why = monitoring.lacks(project)
    if why:
        return why
    silent = [target for target in monitoring.read_targets(project) if target.health != "up" and target.host in hosts]
    return f"{silent[0].host} ({silent[0].job}) is not heard of" if silent else ""
