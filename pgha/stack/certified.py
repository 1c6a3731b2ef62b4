"""Other certificates for containers that run: who reads them, how each is told, and how one sees that it has.

pgBackRest's server reads its files at a SIGHUP, and so does Patroni's REST API when it is shown another path or
certificate. Their clients read them for each connection. etcd reads its certificate and key at each handshake; the
authority's only when it starts, so its members are started again, one after another.
"""

from __future__ import annotations

from collections.abc import Collection

from pgha.cluster.leaving import require_quorum_without
from pgha.cluster.quorum import read_etcd, weigh_etcd
from pgha.cluster.rolling import leading_etcd
from pgha.cluster.view import able_member
from pgha.model.topology import MONITORING
from pgha.model.urls import CLIENT, EXPORTER, PGBACKREST, REST
from pgha.project import successors
from pgha.project.certificates import hosts_with_one
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.stack import postgres_tls
from pgha.stack.delivery import bring
from pgha.stack.rotating import Way, everywhere
from pgha.tools import docker, etcd, patroni, processes, rotation, trust
from pgha.waiting import wait_until

ETCD_PATIENCE = 60
"""Seconds until an etcd member that was started again can commit."""

OWN = ("host.key", "host.crt")


def _hosts(project: Project) -> tuple[str, ...]:
    return tuple(host.name for host in hosts_with_one(project))


def _bring_trusted(project: Project, hosts: Collection[str]) -> None:
    bring(project, hosts, ("ca.crt",))
    _tell(project, hosts)
    _start_etcd_again(project, hosts)


def _bring_own(project: Project, host: str) -> None:
    bring(project, [host], OWN)
    _tell(project, [host])


def _tell(project: Project, hosts: Collection[str]) -> None:
    """Let pgBackRest's server and Patroni on these hosts read what was brought."""
    for host in project.topology.ssh_hosts if project.topology.repository else ():
        if host.name in hosts:
            container = project.container(host.name)
            engine.engine_of(project, host.name).must(processes.reload_service(container, "pgbackrest"))
    postgres_tls.reload(project, hosts)
    _renew_patroni(project, hosts)


def _renew_patroni(project: Project, hosts: Collection[str]) -> None:
    """One that does not run reads its certificates when it starts."""
    nodes = [node.name for node in project.topology.nodes if node.name in hosts] if project.settings.tls else []
    before = {node: socket for node in nodes if (socket := _listener(project, node))}
    everywhere(project, dict.fromkeys(nodes, rotation.renew_restapi()), "did not take its certificates")
    wait_until(
        lambda: [node for node, socket in before.items() if _listener(project, node) in ("", socket)],
        lambda left: not left,
        "Every Patroni has read its certificates again",
        timeout=2 * project.settings.loop_wait + 30,
        explain=lambda left: f"not yet: {', '.join(left)}",
        hint="inv status",
    )


def _listener(project: Project, node: str) -> str:
    return rotation.parse_listener(connect(project).run(node, rotation.ask_listener()).stdout)


def _start_etcd_again(project: Project, hosts: Collection[str]) -> None:
    """One after another, the leader last. Raises LosesQuorum, NoQuorum, TimedOut."""
    names = [member.name for member in project.topology.etcd if member.name in hosts]
    leader = leading_etcd(project) if names else ""
    for name in sorted(names, key=lambda name: name == leader):
        require_quorum_without(weigh_etcd(project, [name]), [name])
        engine.engine_of(project, name).must(docker.restart(project.container(name)))
        wait_until(
            lambda member=name: member in read_etcd(project).healthy,  # type: ignore[misc]
            bool,
            f"{name} can commit again",
            timeout=ETCD_PATIENCE,
            hint=f"inv logs --node {name}",
        )


def require_etcd(project: Project, hosts: Collection[str]) -> None:
    """Raises LosesQuorum, NoQuorum when etcd's members among these hosts cannot be started again one after another."""
    names = [member.name for member in project.topology.etcd if member.name in hosts] if project.settings.tls else []
    if not names:
        return
    view = weigh_etcd(project, *([name] for name in names))
    for name in names:
        require_quorum_without(view, [name])


def _ports(project: Project, host: str) -> list[int]:
    """Where a host's servers listen that show its certificate."""
    topology, tls = project.topology, project.settings.tls
    nodes, members = ([host.name for host in hosts] for hosts in (topology.nodes, topology.etcd))
    if host == MONITORING:
        # It asks, and shows its certificate to whom it asks.
        return []
    served = [CLIENT] if host in members else [PGBACKREST] if topology.repository else []
    exporters = [EXPORTER] if topology.monitoring and host not in members else []
    return [*served, *([REST] if tls and host in nodes else []), *(exporters if tls else [])]


def _shown_by(project: Project, host: str, port: int) -> trust.Shown | None:
    """None where no Patroni listens. etcd is asked by a node: nothing in its own container could."""
    asker = able_member(project) if port == CLIENT else host
    told = connect(project).run(asker, trust.ask_server(project.topology.urls.port(host, port), host)).stdout
    if port == REST:
        return trust.parse_listening(told, "Patroni")
    return trust.parse_server(told, "etcd" if port == CLIENT else "pgBackRest's server")


def _lacks_authority(project: Project, host: str) -> str:
    wanted = successors.trusted_names(project)
    for port in _ports(project, host):
        shown = _shown_by(project, host, port)
        # Python's servers do not say whom they trust.
        if shown and port != REST and sorted(shown.authorities) != sorted(wanted):
            return f"trusts {' and '.join(shown.authorities)}, not {' and '.join(wanted)}"
    return postgres_tls.lacks_authority(project, host)


def _lacks_certificate(project: Project, host: str) -> str:
    wanted = successors.certificate_text(project, host)
    shown = (_shown_by(project, host, port) for port in _ports(project, host))
    if any(one and one.certificate != wanted for one in shown):
        return "shows its former certificate"
    return postgres_tls.lacks_certificate(project, host)


def _prove(project: Project, hosts: Collection[str]) -> None:
    """Each node is let in by the repository's server, by etcd and by the next node's Patroni, and trusts them."""
    postgres_tls.prove(project, hosts)
    topology = project.topology
    nodes = [node.name for node in topology.nodes if node.name in hosts]
    if topology.repository and topology.repository.name in hosts:
        everywhere(project, dict.fromkeys(nodes, trust.list_archive()), "was not answered by the repository")
    if project.settings.tls:
        everywhere(project, dict.fromkeys(nodes, etcd.member_list(topology)), "was not answered by etcd")
        urls = topology.urls
        serving = [node for node in nodes if _listener(project, node)]
        ring = {name: patroni.get(urls, "patroni", serving[(n + 1) % len(serving)]) for n, name in enumerate(serving)}
        everywhere(project, ring, "was not answered by the next node's Patroni")


WAY = Way(
    replaces=("the authority", "every host's certificate"),
    own=OWN,
    service="servers",
    hosts=_hosts,
    require=require_etcd,
    begin=successors.begin_certificates,
    trust_both=successors.trust_both,
    adopt=successors.adopt_certificates,
    trust_new=successors.trust_new,
    bring_trusted=_bring_trusted,
    bring_own=_bring_own,
    lacks_trust=_lacks_authority,
    lacks_own=_lacks_certificate,
    prove=_prove,
)
