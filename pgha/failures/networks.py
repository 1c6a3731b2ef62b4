"""Data centers cut off, and packets that come late."""

from __future__ import annotations

from collections.abc import Sequence

from pgha.errors import BadValue, Missing, ToolFailed
from pgha.failures import broken
from pgha.failures.aims import helper_image, postgres_node, require_running, site_named, wan_network
from pgha.failures.broken import Broken, Mechanism
from pgha.model.topology import Host, Site
from pgha.project.project import Project
from pgha.remote import engine
from pgha.tools import docker, network
from pgha.tools.command import Command


def partition(project: Project, dc: str, from_: str = "") -> list[Broken]:
    """Cut a site off from all others, or from one. The caller holds the lock.

    Its containers drop every packet from and to the others' addresses on `wan`: neither end of a connection is
    notified, as with a broken line. What stays within the site, published ports and SSH are not touched. The rules
    live in the containers' network namespaces: a container that is restarted meanwhile is connected again.
    """
    site = site_named(project, dc)
    others = [site_named(project, from_)] if from_ else [s for s in project.topology.sites if s != site]
    if site in others:
        raise BadValue(f"{dc} cannot be cut off from itself", "--from takes another site")
    _require_apart(project, site, others)
    hosts = project.topology.at(site)
    containers = require_running(project, hosts)
    entries = [
        Broken(
            Mechanism.PARTITION, host.name, sites=(dc, *(s.name for s in others)), started=containers[host.name].started
        )
        for host in hosts
    ]
    _drop(project, containers, entries)
    return entries


def isolate(project: Project, node: str) -> list[Broken]:
    """Cut a node off from the other Postgres nodes, and from nothing else. The caller holds the lock.

    It streams from nobody and falls behind; what the archive has still reaches it, and it goes on seeing etcd.
    Raises BadValue for a host that is no Postgres node, or the only one.
    """
    host = postgres_node(project, node)
    others = [other.name for other in project.topology.nodes if other != host]
    if project.topology.machines:
        raise BadValue(
            "Among machines a node cannot be cut off from the other nodes alone: etcd is at the same addresses",
            f"inv chaos.partition --dc {host.site.name}",
        )
    if not others:
        raise BadValue(f"{node} is the only Postgres node", "inv chaos.partition --dc <a site>")
    containers = require_running(project, [host])
    entries = [Broken(Mechanism.PARTITION, node, sites=(host.site.name, *others), started=containers[node].started)]
    _drop(project, containers, entries)
    return entries


def rejoin(project: Project, node: str) -> None:
    """Take every cut of one host away. The caller holds the lock."""
    engine.engine_of(project, node).must(network.mend(project.container(node), helper_image(project)))
    broken.remove(project, cuts_of(project, node))


def cuts_of(project: Project, node: str) -> list[Broken]:
    return [entry for entry in broken.read(project) if (entry.mechanism, entry.host) == (Mechanism.PARTITION, node)]


def _drop(project: Project, containers: dict[str, docker.Container], entries: Sequence[Broken]) -> None:
    broken.add(project, entries)
    known = broken.read(project)
    names = {entry.host for entry in entries}
    hosts = [host for host in project.topology.hosts if host.name in names]
    engine.together(project, {host.name: _cut(project, containers, host, known) for host in hosts})


def _cut(project: Project, containers: dict[str, docker.Container], host: Host, known: Sequence[Broken]) -> Command:
    """All cuts of one host, this one and those before."""
    cut = {name for e in known if e.mechanism == Mechanism.PARTITION and e.host == host.name for name in e.sites[1:]}
    others = [other for other in project.topology.hosts if other.site.name in cut or other.name in cut]
    elsewhere = {other.machine.address for other in others if other.machine and other.machine != host.machine}
    names = [other.name for other in others if other.machine == host.machine]
    # One that does not run now is cut off as well when it comes back.
    known_at = [{**containers[name].fixed, **containers[name].addresses} for name in names if name in containers]
    # Hosts of one site also have its own network.
    ways = (wan_network(project), f"{project.name}_{host.site.name}")
    addresses = [at[way] for at in known_at for way in ways if way in at]
    return network.cut(project.container(host.name), helper_image(project), [*addresses, *elsewhere])


def _require_apart(project: Project, site: Site, others: Sequence[Site]) -> None:
    """What comes from another machine has that machine's address, whoever on it sent it.

    Raises BadValue for a cut from some of its sites only.
    """
    topology = project.topology
    own = {host.machine for host in topology.at(site)}
    for machine in topology.machines:
        there = topology.sites_on(machine)
        wanted = [other for other in there if other in others]
        if machine not in own and wanted and len(wanted) < len(there):
            names = " and ".join(other.name for other in there)
            raise BadValue(
                f"{names} are on {machine.name}: {site.name} cannot be cut off from one of them alone",
                f"inv chaos.partition --dc {site.name}",
            )


def delay(project: Project, dc: str, milliseconds: int) -> list[Broken]:
    """Make every packet from a site to the others late, so that their round trip grows by so much.

    The caller holds the lock. Raises BadValue for a delay that cannot be, Missing when the kernel has no netem.
    """
    hosts = project.topology.at(site_named(project, dc))
    if not 1 <= milliseconds <= 10_000:
        raise BadValue(f"{milliseconds} ms is not between 1 and 10000", "inv chaos.delay --dc dc2 --ms 40")
    containers = require_running(project, hosts)
    probe = engine.engine_of(project, hosts[0].name).run(network.can_delay(helper_image(project)))
    if probe.exit_code == network.NO_SUCH_QDISC:
        raise Missing(
            f"This host's kernel cannot delay packets: it lacks the module sch_netem ({probe.last_words})",
            "modprobe sch_netem on a kernel that has it; the other chaos tasks need no module",
        )
    if not probe.ok:
        raise ToolFailed("tc could not be tried", probe.words)
    entries = [
        Broken(
            Mechanism.DELAY, host.name, sites=(dc,), milliseconds=milliseconds, started=containers[host.name].started
        )
        for host in hosts
    ]
    broken.add(project, entries)
    image, wan = helper_image(project), wan_network(project)
    addresses = {host.name: containers[host.name].addresses[wan] for host in hosts}
    late = {name: network.delay(project.container(name), image, at, milliseconds) for name, at in addresses.items()}
    engine.together(project, late)
    return entries
