"""What is left when sites are lost and etcd has no quorum, who would lead, and what may be lost. Nothing is touched."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pgha.backup.catalogue import read_archive
from pgha.backup.stanza import read_stanza
from pgha.cluster.quorum import read_etcd
from pgha.errors import HasQuorum, NoLeader, NoQuorum, NotUp, PghaError, SiteAnswers, ToolFailed, Unhealthy
from pgha.model.topology import Host, Site, Topology
from pgha.project.project import Project
from pgha.recover.judging import Archived, Survivor, archived_beyond, choose, what_may_be_lost
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.stack.maintenance import stopped
from pgha.tools import etcd_alone, postgres
from pgha.tools.docker import Container
from pgha.tools.etcd_alone import Known
from pgha.tools.position import POSITION, parse_position

LIVE = ("running", "paused", "restarting")
"""States of a container that answers, or may do so at any moment."""


@dataclass(frozen=True)
class Account:
    """What an operator has to know before the rest is given up."""

    lost: Mapping[str, Mapping[str, str]]
    """site -> its hosts -> the state of their containers"""
    left: tuple[str, ...]
    """the sites that answer"""
    etcd: str
    """the member etcd is made again from"""
    indexes: Mapping[str, int]
    """etcd member that is left -> how far its log goes"""
    members: int
    """etcd members there were"""
    survivors: tuple[Survivor, ...]
    silent: Mapping[str, str]
    """Postgres nodes of the sites that answer, and that cannot be asked -> why"""
    candidate: str
    known: Known
    archived: Archived
    lossless: bool
    may_lose: str
    gone: tuple[str, ...] = field(default=())
    """every host that is given up: those of the lost sites, and the other etcd members"""

    @property
    def leads(self) -> Survivor:
        """The survivor that is to lead."""
        return next(survivor for survivor in self.survivors if survivor.name == self.candidate)


def take_account(project: Project) -> Account:
    """Look at what is left.

    Raises HasQuorum while etcd can commit, SiteAnswers when what answers would be a quorum, NotUp when nothing runs,
    Unhealthy for a lost site that was stopped for maintenance or an etcd member that is left and does not run, NoQuorum
    and NoLeader when there is no etcd member or no Postgres node to go on with.
    """
    engine.require_any_engine(project)
    topology, containers = project.topology, engine.containers(project)
    states = {host.name: _state(containers, host) for host in topology.hosts}
    if not any(state in LIVE for state in states.values()):
        raise NotUp(f"Project {project.name} is stopped", "inv start; inv up")
    lost, left = split(topology, states)
    away = {host: state for host, state in states.items() if state != "running"}
    with connect(project).leaving_out(away):
        _require_no_quorum(project)
        _require_lost(project, lost, left, states)
        nodes, members = _left_with(topology, left)
        if not any(states[node.name] == "running" for node in nodes):
            told = ", ".join(f"{node.name} ({states[node.name]})" for node in nodes)
            raise NoLeader(f"No Postgres node that is left runs: {told}", f"inv start --node {nodes[0].name}")
        indexes = _read_indexes(project, nodes, [member.name for member in members], states)
        best = max(indexes, key=lambda name: indexes[name])
        known = _read_known(project, nodes, best)
        survivors, silent = _read_survivors(project, nodes)
        if not survivors:
            raise NoLeader(f"No Postgres that is left can be asked: {'; '.join(silent.values())}", "inv status")
        chosen = choose(survivors, known)
        archived = _read_archived(project, chosen)
    gone = [host.name for site in lost for host in topology.at(site)] + [m.name for m in members if m.name != best]
    lossless, may_lose = what_may_be_lost(chosen, known, archived, gone, best)
    return Account(
        lost={site.name: {host.name: states[host.name] for host in topology.at(site)} for site in lost},
        left=tuple(site.name for site in left),
        etcd=best,
        indexes=indexes,
        members=len(topology.etcd),
        survivors=tuple(survivors),
        silent=silent,
        candidate=chosen.name,
        known=known,
        archived=archived,
        lossless=lossless,
        may_lose=may_lose,
        gone=tuple(gone),
    )


def _state(containers: Mapping[str, Container], host: Host) -> str:
    return containers[host.name].state if host.name in containers else "missing"


def split(topology: Topology, states: Mapping[str, str]) -> tuple[list[Site], list[Site]]:
    """The sites none of whose hosts answers, and the others; the repository's is none of them."""
    sites = [site for site in topology.sites if site.kind != "backup"]
    lost = [site for site in sites if not any(states[host.name] in LIVE for host in topology.at(site))]
    return lost, [site for site in sites if site not in lost]


def _left_with(topology: Topology, left: Collection[Site]) -> tuple[list[Host], list[Host]]:
    """The Postgres nodes and the etcd members of the sites that are left. Raises NoLeader, NoQuorum."""
    nodes = [node for node in topology.nodes if node.site in left]
    members = [member for member in topology.etcd if member.site in left]
    names = " and ".join(site.name for site in left) or "no site"
    if not nodes:
        raise NoLeader(f"No Postgres node is left, only {names}", "docs/restore.md: the repository may be all there is")
    if not members:
        raise NoQuorum(
            f"No etcd member is left at {names}", "docs/restore.md: inv destroy --keep-repository, inv up restore"
        )
    return nodes, members


# Refusals ---------------------------------------------------------------------------------------------------


def _require_no_quorum(project: Project) -> None:
    view = read_etcd(project)
    if view.has_quorum:
        raise HasQuorum(
            f"etcd has its quorum ({', '.join(view.healthy)} of {view.members} members): there is nothing to recover",
            "inv status; without a leader: inv failover --candidate <name>",
        )


def _require_lost(project: Project, lost: Collection[Site], left: Collection[Site], states: Mapping[str, str]) -> None:
    """Raises SiteAnswers unless the lost sites are what etcd lacks to its quorum; Unhealthy for a planned stop."""
    topology = project.topology
    answering = "; ".join(_hosts_that_answer(topology, site, states) for site in left)
    members = [member.name for member in topology.etcd if member.site in left]
    if len(members) >= topology.etcd_quorum:
        away = [name for name in members if states[name] != "running"]
        what = (
            f"{' and '.join(away)} {'does' if len(away) == 1 else 'do'} not run"
            if away
            else "they do not reach each other"
        )
        raise SiteAnswers(
            f"etcd members enough for a quorum are at sites that answer: {what}. What answers: {answering}",
            "inv up starts what does not run; inv chaos.heal, or mend the network between the sites",
        )
    names = {host.name: host.site for site in lost for host in topology.at(site)}
    planned = [entry.host for entry in stopped(project, engine.containers(project)) if entry.host in names]
    if planned:
        site = names[planned[0]].name
        raise Unhealthy(f"{planned[0]} is not lost: it is stopped for maintenance", f"inv start --dc {site}")


def _hosts_that_answer(topology: Topology, site: Site, states: Mapping[str, str]) -> str:
    live = [f"{host.name} ({states[host.name]})" for host in topology.at(site) if states[host.name] in LIVE]
    return f"{site.name}: {', '.join(live)}"


# Asking -----------------------------------------------------------------------------------------------------


def _read_indexes(
    project: Project, nodes: Collection[Host], members: Collection[str], states: Mapping[str, str]
) -> dict[str, int]:
    """How far the log of each etcd member goes. Raises Unhealthy when none can say."""
    found: dict[str, int] = {}
    for name in members:
        with suppress(PghaError):
            names = [node.name for node in nodes]
            found[name] = connect(project).first(
                names, etcd_alone.status(project.topology.urls, name), etcd_alone.parse_index
            )[1]
    if not found:
        told = ", ".join(f"{name} ({states[name]})" for name in members)
        raise Unhealthy(f"No etcd member that is left answers: {told}", f"inv start --node {next(iter(members))}")
    return found


def _read_known(project: Project, nodes: Collection[Host], member: str) -> Known:
    names = [node.name for node in nodes]
    return connect(project).first(names, etcd_alone.local_keys(project.topology.urls, member), etcd_alone.parse_known)[
        1
    ]


def _read_survivors(project: Project, nodes: Collection[Host]) -> tuple[list[Survivor], dict[str, str]]:
    """The Postgres servers that can be asked, and why the others cannot."""
    answers = connect(project).everywhere({node.name: postgres.query(POSITION) for node in nodes})
    found: list[Survivor] = []
    silent: dict[str, str] = {}
    for node in nodes:
        answer = answers[node.name]
        try:
            if isinstance(answer, PghaError):
                raise answer
            if not answer.ok:
                raise ToolFailed(f"psql failed on {node.name}", answer.words)
            found.append(Survivor(node.name, node.site.name, parse_position(answer.stdout)))
        except PghaError as error:
            silent[node.name] = error.message.splitlines()[0]
    return found, silent


def _read_archived(project: Project, chosen: Survivor) -> Archived:
    if project.topology.repository is None:
        return Archived(words="there is no repository")
    try:
        stanza = read_stanza(project)
        if not stanza.archive_id:
            return Archived(words="nothing is archived")
        return archived_beyond(read_archive(project, stanza), chosen)
    except PghaError as error:
        return Archived(words=f"it cannot be asked: {error.message.splitlines()[0]}")


def document(account: Account) -> dict[str, Any]:
    """The account for programs and for the record."""
    chosen = account.leads
    return {
        "lost": {site: list(hosts) for site, hosts in account.lost.items()},
        "left": list(account.left),
        "gone": list(account.gone),
        "etcd": {"from": account.etcd, "members": account.members, "raft_index": dict(account.indexes)},
        "candidate": account.candidate,
        "survivors": [survivor.document() for survivor in account.survivors],
        "silent": dict(account.silent),
        "known": {
            "leader": account.known.led or None,
            "standbys": list(account.known.standbys),
            "waits_for": account.known.waits_for,
            "written": account.known.written,
        },
        "archive": account.archived.document(),
        "last_commit": chosen.position.committed,
        "lossless": account.lossless,
        "may_lose": account.may_lose,
    }
