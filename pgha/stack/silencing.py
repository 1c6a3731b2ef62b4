"""Who is stopped on purpose is nobody's alarm: a silence in Alertmanager while a host is in maintenance."""

from __future__ import annotations

from collections.abc import Collection

from pgha.console import Progress
from pgha.errors import PghaError
from pgha.model.topology import MONITORING
from pgha.project.project import Project
from pgha.remote import monitoring
from pgha.waiting import wait_until

PATIENCE = 30
"""Seconds Prometheus may take to read what it had written when it was killed."""


def begin(project: Project, hosts: Collection[str], progress: Progress) -> None:
    """Nobody is told of these hosts until `end`, for a day at most. Nothing depends on it: a failure is
    only said."""
    if project.topology.monitoring is None or MONITORING in hosts:
        return
    try:
        monitoring.silence(project, hosts)
    except PghaError as error:
        progress.note(f"alerts of {', '.join(hosts)} are not silenced: {error.message}")


def end(project: Project, hosts: Collection[str], progress: Progress) -> None:
    """End the silences of these hosts."""
    if project.topology.monitoring is None or MONITORING in hosts:
        return
    try:
        monitoring.end_silences(project, hosts)
    except PghaError as error:
        progress.note(f"alerts of {', '.join(hosts)} may still be silenced: {error.message}")


def settle(project: Project, hosts: Collection[str], progress: Progress) -> None:
    """Where the monitoring is among these hosts, wait until it answers; then it tells of all of them again. Nothing
    depends on it: a failure is only said."""
    if project.topology.monitoring is None or MONITORING not in hosts:
        return
    try:
        with progress.stage("wait until the monitoring answers"):
            wait_until(lambda: monitoring.lacks(project), lambda why: not why, "The monitoring answers",
                       timeout=PATIENCE, explain=str)  # fmt: skip
    except PghaError as error:
        progress.note(error.message)
        return
    end(project, [host for host in hosts if host != MONITORING], progress)
