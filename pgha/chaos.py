"""Break things on purpose, by their mechanism, and bring everything back.

What is broken is written down before it is broken, so `heal` undoes it whatever became of the command in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from pgha import broken, cluster, connections, engine, shell, stack
from pgha.broken import Broken
from pgha.console import Progress
from pgha.errors import BadValue, Missing, TimedOut, ToolFailed
from pgha.project import Project
from pgha.tools import disk, docker, network, patroni, postgres, processes
from pgha.tools.command import Answer, Command
from pgha.topology import WAN, Host, Site
from pgha.waiting import wait_until

PROCESSES = ("postgres", *processes.SERVICES)

DISK_ROOM = 96
"""Megabytes a node's small disk has to spare: six WAL segments."""

STOP_PATIENCE = 30
"""Seconds Patroni may take to stop a node whose disk was full."""

ELECTION = 15
"""Seconds a member may take to lead once the lock has expired, or its container has been started."""


# What is meant ----------------------------------------------------------------------------------------------


def targets(project: Project, node: str, dc: str) -> list[Host]:
    """The hosts a host's name or a site's name means.

    Raises BadValue unless exactly one of the two is given and known.
    """
    if bool(node) == bool(dc):
        raise BadValue("Name either a node or a data center", "--node pg1-node1, or --dc dc1")
    return [_host(project, node)] if node else list(project.topology.at(_site(project, dc)))


def _host(project: Project, name: str) -> Host:
    host = project.topology.host(name)
    if host is None:
        names = ", ".join(h.name for h in project.topology.hosts)
        raise BadValue(f"{name or 'Nothing'} is not a host of this project", f"--node: one of {names}")
    return host


def _postgres_node(project: Project, name: str) -> Host:
    host = _host(project, name)
    if host not in project.topology.nodes:
        raise BadValue(f"{name} runs no Postgres", f"one of {', '.join(cluster.node_names(project))}")
    return host


def _site(project: Project, name: str) -> Site:
    sites = {site.name: site for site in project.topology.sites}
    if name not in sites:
        raise BadValue(f"{name or 'Nothing'} is not a site of this project", f"one of {', '.join(sites)}")
    return sites[name]


def _require_running(project: Project, hosts: Iterable[Host]) -> dict[str, docker.Container]:
    """The project's containers; raises Missing when one of these does not run."""
    engine.require_engine()
    containers = stack.container_names(project)
    for host in hosts:
        state = containers[host.name].state if host.name in containers else "not there"
        if state != "running":
            raise Missing(f"{host.name} cannot be broken: its container is {state}", "inv chaos.heal, or inv up")
    return containers


# Containers and processes -----------------------------------------------------------------------------------


def signal_hosts(project: Project, mechanism: str, hosts: Sequence[Host], process: str = "") -> list[Broken]:
    """Stop, kill or pause containers all at once, or one process inside each. The caller holds the lock.

    What is stopped or paused stays so until it is healed, and so does a killed container. A killed process is
    started again by its supervisor: Patroni and sshd by s6, Postgres by Patroni, which also undoes its stop.

    Raises BadValue for a process a host does not have, Missing when a container does not run.
    """
    _require_process(project, hosts, process)
    containers = _require_running(project, hosts)
    entries = [Broken(mechanism, host.name, process, started=containers[host.name].started) for host in hosts]
    broken.add(project, [entry for entry in entries if not _mends_itself(entry)])
    names = [project.container(host.name) for host in hosts]
    if process:
        _together([_signal(project, entry) for entry in entries])
    else:
        # One command: a data center is lost at once, not host by host.
        engine.must(docker.signal(mechanism, names))
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
    postgres_ends = (entry.process, entry.mechanism) == ("postgres", "stop")
    return bool(entry.process) and (entry.mechanism == "kill" or postgres_ends)


def _signal(project: Project, entry: Broken) -> Command:
    container = project.container(entry.host)
    if entry.process == "postgres":
        return processes.signal_postgres(container, _data_dir(project), entry.mechanism)
    return processes.signal_service(container, entry.process, entry.mechanism)


def _data_dir(project: Project) -> str:
    return postgres.data_dir(project.settings.postgres)


def _together(commands: Sequence[Command]) -> list[Answer]:
    """Run commands of this host at the same time; raises the first failure when all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(commands))) as pool:
        return [future.result() for future in [pool.submit(engine.must, command) for command in commands]]


# The network ------------------------------------------------------------------------------------------------


def partition(project: Project, dc: str, from_: str = "") -> list[Broken]:
    """Cut a site off from all others, or from one. The caller holds the lock.

    Its containers drop every packet from and to the others' addresses on `wan`: nobody is told, as with a broken
    line. What stays within the site, published ports and SSH are not touched. The rules live in the containers'
    network namespaces: a container that is restarted meanwhile is connected again.
    """
    site = _site(project, dc)
    others = [_site(project, from_)] if from_ else [s for s in project.topology.sites if s != site]
    if site in others:
        raise BadValue(f"{dc} cannot be cut off from itself", "--from takes another site")
    hosts = project.topology.at(site)
    containers = _require_running(project, hosts)
    entries = [
        Broken("partition", host.name, sites=(dc, *(s.name for s in others)), started=containers[host.name].started)
        for host in hosts
    ]
    broken.add(project, entries)
    known = broken.read(project)
    _together([_cut(project, containers, host, known) for host in hosts])
    return entries


def _cut(project: Project, containers: dict[str, docker.Container], host: Host, known: Sequence[Broken]) -> Command:
    """All cuts of one host, this one and those before."""
    sites = {site for e in known if e.mechanism == "partition" and e.host == host.name for site in e.sites[1:]}
    names = [other.name for other in project.topology.hosts if other.site.name in sites]
    addresses = [containers[name].addresses.get(_wan(project), "") for name in names if name in containers]
    return network.cut(project.container(host.name), _image(project), [a for a in addresses if a])


def _wan(project: Project) -> str:
    return f"{project.name}_{WAN}"


def _image(project: Project) -> str:
    """Every image over the shared layers has nft, tc and mount; this one is there whenever a node is."""
    return project.settings.release.patroni_image


def delay(project: Project, dc: str, milliseconds: int) -> list[Broken]:
    """Make every packet from a site to the others late, so that their round trip grows by so much.

    The caller holds the lock. Raises BadValue for a delay that cannot be, Missing when the kernel has no netem.
    """
    hosts = project.topology.at(_site(project, dc))
    if not 1 <= milliseconds <= 10_000:
        raise BadValue(f"{milliseconds} ms is not between 1 and 10000", "inv chaos.delay --dc dc2 --ms 40")
    containers = _require_running(project, hosts)
    probe = shell.run(network.can_delay(_image(project)))
    if probe.exit_code == network.NO_SUCH_QDISC:
        raise Missing(
            f"This host's kernel cannot delay packets: it lacks the module sch_netem ({probe.last_words})",
            "modprobe sch_netem on a kernel that has it; the other chaos tasks need no module",
        )
    if not probe.ok:
        raise ToolFailed("tc could not be tried", probe.words)
    entries = [
        Broken("delay", host.name, sites=(dc,), milliseconds=milliseconds, started=containers[host.name].started)
        for host in hosts
    ]
    broken.add(project, entries)
    _together([
        network.delay(project.container(host.name), _image(project), containers[host.name].addresses[_wan(project)],
                      milliseconds)
        for host in hosts
    ])  # fmt: skip
    return entries


# Disks ------------------------------------------------------------------------------------------------------


def wipe(project: Project, node: str) -> Host:
    """A node's data directory vanishes and its Postgres with it. Patroni clones it anew by itself.

    The caller holds the lock. Raises BadValue when the node is the only one that has the data.
    """
    host = _postgres_node(project, node)
    _require_running(project, [host])
    _require_another_copy(cluster.read_view(project), node)
    engine.must(disk.wipe(project.container(node), _data_dir(project)))
    return host


def _require_another_copy(view: patroni.ClusterView, node: str) -> None:
    """A leader that has crashed holds its role until its lock expires: only one that runs counts."""
    leader = view.leader
    if not [m for m in view.members if m.name != node and (m.streams or m == leader)]:
        raise BadValue(f"No other member has the data of {node}", "inv status")


def limit_disk(project: Project, node: str, progress: Progress) -> list[Broken]:
    """Give a node a small disk: its data moves to a file system in memory of its own. The caller holds the lock.

    Only so can a disk be full without filling this host's. Patroni is down meanwhile; a leader hands over first
    and gets the lead back at the end. Idempotent.

    Raises BadValue when the node is the only one that has the data: what is in memory ends with its container.
    """
    host = _postgres_node(project, node)
    containers = _require_running(project, [host])
    entries = [Broken("fill", node, started=containers[node].started)]
    if entries[0] in broken.read(project):
        return entries
    before = cluster.read_view(project)
    _require_another_copy(before, node)
    container = project.container(node)
    shell.must(disk.fits(container, DISK_ROOM), f"{node} cannot get a small disk", "inv status")
    broken.add(project, entries)
    with progress.stage(f"give {node} a small disk"):
        engine.must(processes.take_down(container, "patroni"))
        try:
            engine.must(disk.shrink(container, _image(project), DISK_ROOM))
        finally:
            engine.must(processes.resume_service(container, "patroni"))
        cluster.wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
    if before.leader and before.leader.name == node:
        leader = cluster.read_view(project).leader
        if leader and leader.name != node:
            cluster.hand_over(project, node, progress, only_switchover=True)
    return entries


def fill(project: Project, node: str, progress: Progress) -> list[Broken]:
    """A node's disk is full: not a byte more can be written. The caller holds the lock."""
    entries = limit_disk(project, node, progress)
    answer = shell.run(disk.fill(project.container(node)))
    if answer.stdout.strip() != "0":
        raise ToolFailed(f"The disk of {node} is not full", answer.words, "inv chaos.heal")
    return entries


# Heal -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Healing:
    """What `heal` undid: what was written down, and containers that did not run for another reason."""

    undone: tuple[Broken, ...]
    revived: tuple[str, ...]
    view: patroni.ClusterView | None = None


def heal(project: Project, progress: Progress, wait: bool = True) -> Healing:
    """Undo everything that is written down, and bring back every container; returns when every member streams.

    The caller holds the lock. Idempotent; an entry is forgotten only when it is undone, so that a heal that failed
    or was interrupted can be repeated. Raises Missing when nothing is up, TimedOut when a member does not come.
    """
    engine.require_engine()
    containers = stack.container_names(project)
    entries = broken.read(project)
    if not containers:
        broken.remove(project, entries)
        raise Missing(f"Project {project.name} is not up", "inv up")
    if not entries and all(container.state == "exited" for container in containers.values()):
        raise Missing(f"Project {project.name} is stopped", "inv start")
    containers = _finish_stops(project, containers)
    revived = _revive(project, containers)
    containers = stack.container_names(project) if revived else containers
    left = [entry for entry in broken.still(project, containers.values()) if not entry.is_container]
    broken.remove(project, [entry for entry in entries if entry not in left])
    # Networks first: what is healed next may have to reach the others.
    for entry in sorted(left, key=lambda e: e.mechanism not in ("partition", "delay")):
        if entry.host in containers:
            _undo(project, entry, progress)
        broken.remove(project, [entry])
    connections.close_all()
    recorded = {entry.host for entry in entries}
    view = _wait_until_redundant(project, progress) if wait else None
    return Healing(entries, tuple(name for name in revived if name not in recorded), view)


def _finish_stops(project: Project, containers: dict[str, docker.Container]) -> dict[str, docker.Container]:
    """The engine goes on with what a killed command had told it: a container that is written down as stopped and was
    not started since may stop at any moment. To stop it again is to wait for that."""
    entries = broken.still(project, containers.values())
    stopping = {entry.host for entry in entries if entry.is_container and entry.mechanism == "stop"}
    names = [c.name for host, c in containers.items() if host in stopping and c.state == "running"]
    if not names:
        return containers
    engine.must(docker.signal("stop", names))
    return stack.container_names(project)


def _revive(project: Project, containers: dict[str, docker.Container]) -> list[str]:
    """Every container runs again, all at once."""
    paused = [name for name, container in containers.items() if container.state == "paused"]
    away = [name for name, container in containers.items() if container.state in ("exited", "created", "dead")]
    if paused:
        engine.must(docker.signal("unpause", [project.container(name) for name in paused]))
    if away:
        engine.start([project.container(name) for name in away], hint="inv chaos.heal")
    return paused + away


def _undo(project: Project, entry: Broken, progress: Progress) -> None:
    container, image = project.container(entry.host), _image(project)
    if entry.mechanism == "partition":
        engine.must(network.mend(container, image))
    elif entry.mechanism == "delay":
        address = stack.container_names(project)[entry.host].addresses[_wan(project)]
        engine.must(network.no_delay(container, image, address))
    elif entry.mechanism == "fill":
        _give_the_disk_back(project, entry.host, progress)
    elif entry.process == "postgres":
        # It may have ended meanwhile; then there is nothing to continue.
        shell.run(processes.resume_postgres(container, _data_dir(project)))
    else:
        engine.must(processes.resume_service(container, entry.process))


def _give_the_disk_back(project: Project, node: str, progress: Progress) -> None:
    """The data returns to the volume as it is now; if it was lost with its container, the node is cloned anew.

    Unless nobody else leads, so that there is nothing to clone: then the older data counts again.
    """
    container = project.container(node)
    with progress.stage(f"give {node} its own disk back"):
        engine.must(disk.empty(container))
        if not shell.run(processes.take_down(container, "patroni", STOP_PATIENCE)).ok:
            # Patroni waits for a Postgres that hangs: one that crashed on the full disk may do so when it is stopped.
            shell.run(processes.signal_postgres(container, _data_dir(project), "kill"))
            engine.must(processes.take_down(container, "patroni"))
        if "gone" in engine.must(disk.grow(container, _image(project))).stdout:
            if _another_leads(project, node):
                # What the volume holds is as old as the small disk, and perhaps half a copy.
                engine.must(disk.wipe(container, _data_dir(project)))
            engine.must(disk.accept(container))
        engine.must(processes.resume_service(container, "patroni"))


def _another_leads(project: Project, node: str) -> bool:
    """Whether another member leads, or does when this one's lock has expired."""
    with suppress(TimedOut):
        wait_until(
            lambda: cluster.read_view(project).leader,
            lambda leader: leader is not None and leader.name != node,
            "Another member leads",
            timeout=project.settings.ttl + ELECTION,
        )
        return True
    return False


def _wait_until_redundant(project: Project, progress: Progress) -> patroni.ClusterView:
    with progress.stage("wait until every member streams"):
        wait_until(
            lambda: cluster.read_etcd(project),
            lambda view: not view.unhealthy,
            "Every etcd member is healthy",
            timeout=project.settings.up_timeout,
            explain=lambda view: f"not healthy: {', '.join(view.unhealthy)}",
            hint="inv status",
        )
        return cluster.wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
