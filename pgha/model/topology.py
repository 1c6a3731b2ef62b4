"""Who lives where: computed once from the settings, without looking at anything. All else is a rendering of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgha.model.machines import Machine, machines_of
from pgha.model.settings import Settings
from pgha.model.urls import Urls

WAN = "wan"
"""The network between the sites. Every container joins it."""

SCOPE = "pgha_cluster"

STANZA = "pg_ha_db"

REPOSITORY = "pgbackrest"

MONITORING = "monitoring"
"""The host of Prometheus and Alertmanager; its site has the same name."""


@dataclass(frozen=True)
class Site:
    """A place that can be lost as a whole. Its name is also its network's."""

    name: str
    kind: str
    """`data center`, `witness` (an etcd member only), `backup` (the repository only) or `monitoring`."""


@dataclass(frozen=True)
class Host:
    """One container. The name is service, host name, SSH alias and, for Postgres, Patroni member."""

    name: str
    site: Site
    machine: Machine | None = None
    """whose engine runs it; None: this host's"""

    def found_at(self, here: str) -> str:
        """The address of its published ports, for clients; `here` is this host's."""
        return self.machine.address if self.machine else here


@dataclass(frozen=True)
class Topology:
    """The sites and the hosts in them."""

    sites: tuple[Site, ...]
    nodes: tuple[Host, ...]
    etcd: tuple[Host, ...]
    repository: Host | None
    urls: Urls
    """how its parts are asked"""
    monitoring: Host | None = None

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Every container, etcd first: the order in which they start."""
        return self.etcd + self.ssh_hosts + ((self.monitoring,) if self.monitoring else ())

    @property
    def ssh_hosts(self) -> tuple[Host, ...]:
        """The containers that run sshd."""
        return self.nodes + ((self.repository,) if self.repository else ())

    @property
    def data_centers(self) -> tuple[Site, ...]:
        return tuple(site for site in self.sites if site.kind == "data center")

    @property
    def etcd_quorum(self) -> int:
        """Members that must answer: the majority."""
        return len(self.etcd) // 2 + 1

    @property
    def synchronous_node_count(self) -> int:
        """Standbys that acknowledge a commit before the client hears of it.

        As many as a data center has nodes: the leader's data center has one standby fewer than that, so at
        least one acknowledging standby is in another data center. 0 when there is no standby at all.
        """
        if len(self.nodes) == 1:
            return 0
        if len(self.data_centers) == 1:
            return 1
        return len(self.nodes) // len(self.data_centers)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Those it runs on; none where everything runs on this host."""
        return tuple(dict.fromkeys(host.machine for host in self.hosts if host.machine))

    def on(self, machine: Machine) -> Topology:
        """The part that runs on one machine."""
        return self.without([host.name for host in self.hosts if host.machine != machine])

    def elsewhere(self, host: Host) -> dict[str, str]:
        """Host of another machine -> the address it is found at from this one. Those of the same machine are found by
        the engine's own name service."""
        return {
            other.name: other.machine.address for other in self.hosts if other.machine and other.machine != host.machine
        }

    def sites_on(self, machine: Machine) -> tuple[Site, ...]:
        """The sites that are lost with a machine."""
        return tuple(site for site in self.sites if any(host.machine == machine for host in self.at(site)))

    def at(self, site: Site) -> tuple[Host, ...]:
        """The hosts of one site."""
        return tuple(host for host in self.hosts if host.site == site)

    def host(self, name: str) -> Host | None:
        return next((host for host in self.hosts if host.name == name), None)

    def without(self, gone: Collection[str]) -> Topology:
        """What is left when these hosts are given up; a site without any host is none."""
        if not gone:
            return self
        nodes, etcd = (tuple(h for h in hosts if h.name not in gone) for hosts in (self.nodes, self.etcd))
        repository = self.repository if self.repository and self.repository.name not in gone else None
        monitoring = self.monitoring if self.monitoring and self.monitoring.name not in gone else None
        held = {host.site for host in (*nodes, *etcd, *filter(None, (repository, monitoring)))}
        return replace(
            self,
            sites=tuple(site for site in self.sites if site in held),
            nodes=nodes,
            etcd=etcd,
            repository=repository,
            monitoring=monitoring,
        )


def etcd_member_count(nodes: int) -> int:
    """nodes / 2 + 1, at least 3 and always odd: an even member adds no resilience.

    The formula is that of the hand-built setup this project began with.
    """
    return max(3, (nodes // 2 + 1) | 1)


def build_topology(
    settings: Settings, witness: bool | None = None, addresses: Mapping[str, str] | None = None
) -> Topology:
    """The topology of these settings.

    etcd members go round the data centers, so none holds a majority as soon as there are three. With two,
    the last member stands at a witness site: else one of the two would hold the majority. `witness` asks for
    such a site, or for none, whatever the number of data centers. `addresses` are those of engines.
    """
    data_centers = [Site(f"dc{n}", "data center") for n in range(1, settings.data_centers + 1)]
    witness_site = Site("witness", "witness")
    backup = Site("backup", "backup")

    places = machines_of(settings.machines, addresses)

    def placed(name: str, site: Site) -> Host:
        return Host(name, site, places.get(site.name))

    nodes = [
        placed(f"{settings.prefix}{dc}-node{n}", site)
        for dc, site in enumerate(data_centers, start=1)
        for n in range(1, settings.nodes + 1)
    ]
    members = etcd_member_count(settings.node_count)
    etcd = [placed(f"etcd{i + 1}", data_centers[i % len(data_centers)]) for i in range(members)]
    sites = list(data_centers)
    if witness or (witness is None and len(data_centers) == 2):
        etcd[-1] = placed(etcd[-1].name, witness_site)
        sites.append(witness_site)
    repository = None
    if settings.pgbackrest:
        repository = placed(REPOSITORY, backup)
        sites.append(backup)
    monitoring = None
    if settings.monitoring:
        monitoring = Host(MONITORING, Site(MONITORING, "monitoring"))
        sites.append(monitoring.site)
    slots = _slots([nodes, etcd]) | ({REPOSITORY: 1} if repository and repository.machine else {})
    return Topology(tuple(sites), tuple(nodes), tuple(etcd), repository, Urls(settings.tls, slots), monitoring)


def _slots(kinds: Iterable[Sequence[Host]]) -> dict[str, int]:
    """How many of its kind are before a host on its machine. (The repository comes after a node: both have sshd and
    pgBackRest's server.)"""
    return {
        host.name: sum(other.machine == host.machine for other in hosts[:index])
        for hosts in kinds
        for index, host in enumerate(hosts)
        if host.machine
    }
