"""Undo what was broken."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from pgha.cluster.quorum import read_etcd
from pgha.cluster.view import node_names, read_view, wait_until_well
from pgha.console import Progress
from pgha.errors import NotUp, TimedOut
from pgha.failures import broken
from pgha.failures.aims import data_dir, helper_image, wan_network
from pgha.failures.broken import Broken, Mechanism
from pgha.project import maintenance
from pgha.project.project import Project
from pgha.remote import connections, engine, networks
from pgha.tools import disk, docker, network, patroni, processes
from pgha.waiting import wait_until

STOP_PATIENCE = 30
"""Seconds Patroni may take to stop a node whose disk was full."""

ELECTION = 15
"""Seconds a member may take to lead once the lock has expired, or its container has been started."""


@dataclass(frozen=True)
class Healing:
    """What `heal` undid: what was written down, and containers that did not run for another reason."""

    undone: tuple[Broken, ...]
    revived: tuple[str, ...]
    view: patroni.ClusterView | None = None


def heal(project: Project, progress: Progress, wait: bool = True) -> Healing:
    """Undo everything that is written down, and bring back every container; returns when every member streams.

    What an operator stopped for maintenance stays so, and is not waited for.
    The caller holds the lock. Idempotent; an entry is forgotten only when it is undone, so that a heal that failed
    or was interrupted can be repeated. Raises Missing when nothing is up, TimedOut when a member does not come.
    """
    engine.require_engine(project)
    containers = engine.containers(project)
    entries = broken.read(project)
    if not containers:
        broken.remove(project, entries)
        raise NotUp(f"Project {project.name} is not up", "inv up")
    if not entries and all(container.state == "exited" for container in containers.values()):
        raise NotUp(f"Project {project.name} is stopped", "inv start")
    containers = _finish_stops(project, containers)
    kept = [entry.host for entry in maintenance.still(project, {name: c.started for name, c in containers.items()})]
    revived = _revive(project, {name: container for name, container in containers.items() if name not in kept})
    revived += [name for name in networks.reconnect(project) if name not in revived]
    containers = engine.containers(project) if revived else containers
    left = [entry for entry in broken.still(project, containers.values()) if not entry.is_container]
    broken.remove(project, [entry for entry in entries if entry not in left])
    # Networks first: what is healed next may have to reach the others.
    for entry in sorted(left, key=lambda e: e.mechanism not in (Mechanism.PARTITION, Mechanism.DELAY)):
        if entry.host in containers:
            _undo(project, entry, progress)
        broken.remove(project, [entry])
    connections.close_all()
    recorded = {entry.host for entry in entries}
    view = _wait_until_redundant(project, kept, progress) if wait else None
    return Healing(entries, tuple(name for name in revived if name not in recorded), view)


def _finish_stops(project: Project, containers: dict[str, docker.Container]) -> dict[str, docker.Container]:
    """The engine goes on with what a killed command had asked of it: a container that is written down as stopped and
    was not started since may stop at any moment. To stop it again is to wait for that."""
    entries = broken.still(project, containers.values())
    stopping = {entry.host for entry in entries if entry.is_container and entry.mechanism == Mechanism.STOP}
    hosts = [host for host, c in containers.items() if host in stopping and c.state == "running"]
    if not hosts:
        return containers
    engine.signal(project, Mechanism.STOP, hosts)
    return engine.containers(project)


def _revive(project: Project, containers: dict[str, docker.Container]) -> list[str]:
    """Every container runs again, all at once."""
    paused = [name for name, container in containers.items() if container.state == "paused"]
    away = [name for name, container in containers.items() if container.state in ("exited", "created", "dead")]
    if paused:
        engine.signal(project, "unpause", paused)
    if away:
        engine.start(project, away, hint="inv chaos.heal")
    return paused + away


def _undo(project: Project, entry: Broken, progress: Progress) -> None:
    container, image, on = project.container(entry.host), helper_image(project), engine.engine_of(project, entry.host)
    if entry.mechanism == Mechanism.PARTITION:
        on.must(network.mend(container, image))
    elif entry.mechanism == Mechanism.DELAY:
        address = engine.containers(project)[entry.host].addresses[wan_network(project)]
        on.must(network.no_delay(container, image, address))
    elif entry.mechanism == Mechanism.FILL:
        _give_the_disk_back(project, entry.host, progress)
    elif entry.process == "postgres":
        # It may have ended meanwhile; then there is nothing to continue.
        on.run(processes.resume_postgres(container, data_dir(project)))
    else:
        on.must(processes.resume_service(container, entry.process))


def _give_the_disk_back(project: Project, node: str, progress: Progress) -> None:
    """The data returns to the volume as it is now; if it was lost with its container, the node is cloned again.

    Unless nobody else leads, so that there is nothing to clone: then the older data is the node's data again.
    """
    container, on = project.container(node), engine.engine_of(project, node)
    with progress.stage(f"give {node} its own disk back"):
        on.must(disk.empty(container))
        if not on.run(processes.take_down(container, "patroni", STOP_PATIENCE)).ok:
            # Patroni waits for a Postgres that hangs: one that crashed on the full disk may do so when it is stopped.
            on.run(processes.signal_postgres(container, data_dir(project), Mechanism.KILL))
            on.must(processes.take_down(container, "patroni"))
        if "gone" in on.must(disk.grow(container, helper_image(project))).stdout:
            if _another_leads(project, node):
                # What the volume holds is as old as the small disk, and perhaps half a copy.
                on.must(disk.wipe(container, data_dir(project)))
            on.must(disk.accept(container))
        on.must(processes.resume_service(container, "patroni"))


def _another_leads(project: Project, node: str) -> bool:
    """Whether another member leads, or does when this one's lock has expired."""
    with suppress(TimedOut):
        wait_until(
            lambda: read_view(project).leader,
            lambda leader: leader is not None and leader.name != node,
            "Another member leads",
            timeout=project.settings.ttl + ELECTION,
        )
        return True
    return False


def _wait_until_redundant(project: Project, kept: Collection[str], progress: Progress) -> patroni.ClusterView:
    with progress.stage("wait until every member streams"):
        wait_until(
            lambda: [name for name in read_etcd(project).unhealthy if name not in kept],
            lambda unhealthy: not unhealthy,
            "Every etcd member is healthy",
            timeout=project.settings.up_timeout,
            explain=lambda unhealthy: f"not healthy: {', '.join(unhealthy)}",
            hint="inv status",
        )
        names = [name for name in node_names(project) if name not in kept]
        return wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail, names=names)
