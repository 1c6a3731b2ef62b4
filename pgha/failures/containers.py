"""Containers, and processes inside them, stopped, killed or paused."""

from __future__ import annotations

from collections.abc import Sequence

from pgha.errors import BadValue
from pgha.failures import broken
from pgha.failures.aims import data_dir, require_running
from pgha.failures.broken import Broken, Mechanism
from pgha.model.topology import Host
from pgha.project.project import Project
from pgha.remote import connections, engine
from pgha.tools import processes
from pgha.tools.command import Command

PROCESSES = ("postgres", *processes.SERVICES)


def signal_hosts(project: Project, mechanism: Mechanism, hosts: Sequence[Host], process: str = "") -> list[Broken]:
    """Stop, kill or pause containers all at once, or one process inside each. The caller holds the lock.

    What is stopped or paused stays so until it is healed, and so does a killed container. A killed process is
    started again by its supervisor: Patroni and sshd by s6, Postgres by Patroni, which also undoes its stop.

    Raises BadValue for a process a host does not have, Missing when a container does not run.
    """
    _require_process(project, hosts, process)
    containers = require_running(project, hosts)
    entries = [Broken(mechanism, host.name, process, started=containers[host.name].started) for host in hosts]
    broken.add(project, [entry for entry in entries if not _mends_itself(entry)])
    if process:
        engine.together(project, {entry.host: _signal(project, entry) for entry in entries})
    else:
        # One command: a data center is lost at once, not host by host.
        engine.signal(project, mechanism, [host.name for host in hosts])
        connections.close_all()
    return entries


def _require_process(project: Project, hosts: Sequence[Host], process: str) -> None:
    if not process:
        return
    if process not in PROCESSES:
        raise BadValue(f"{process} is not a process of a node", f"--process: one of {', '.join(PROCESSES)}")
    having = project.topology.ssh_hosts if process == "sshd" else project.topology.nodes
    for host in hosts:
        if host not in having:
            raise BadValue(f"{host.name} runs no {process}", f"one of {', '.join(h.name for h in having)}")


def _mends_itself(entry: Broken) -> bool:
    """Whether a supervisor undoes it: s6 after a kill, Patroni after any end of Postgres."""
    postgres_ends = (entry.process, entry.mechanism) == ("postgres", Mechanism.STOP)
    return bool(entry.process) and (entry.mechanism == Mechanism.KILL or postgres_ends)


def _signal(project: Project, entry: Broken) -> Command:
    container = project.container(entry.host)
    if entry.process == "postgres":
        return processes.signal_postgres(container, data_dir(project), entry.mechanism)
    return processes.signal_service(container, entry.process, entry.mechanism)
