"""Data centers cut off, and packets that come late."""

from __future__ import annotations

from collections.abc import Sequence

from pgha.errors import BadValue, Missing, ToolFailed
from pgha.failures import broken
from pgha.failures.aims import helper_image, require_running, site_named, wan_network
from pgha.failures.broken import Broken, Mechanism
from pgha.model.topology import Host
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
    hosts = project.topology.at(site)
    containers = require_running(project, hosts)
    entries = [
        Broken(
            Mechanism.PARTITION, host.name, sites=(dc, *(s.name for s in others)), started=containers[host.name].started
        )
        for host in hosts
    ]
    broken.add(project, entries)
    known = broken.read(project)
    engine.together(project, {host.name: _cut(project, containers, host, known) for host in hosts})
    return entries


def _cut(project: Project, containers: dict[str, docker.Container], host: Host, known: Sequence[Broken]) -> Command:
    """All cuts of one host, this one and those before."""
    sites = {site for e in known if e.mechanism == Mechanism.PARTITION and e.host == host.name for site in e.sites[1:]}
    names = [other.name for other in project.topology.hosts if other.site.name in sites]
    wan = wan_network(project)
    # One that does not run now is cut off as well when it comes back.
    known_at = [{**containers[name].fixed, **containers[name].addresses} for name in names if name in containers]
    addresses = [at[wan] for at in known_at if wan in at]
    return network.cut(project.container(host.name), helper_image(project), addresses)


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
