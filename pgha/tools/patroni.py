"""Patroni: patronictl, and the REST API's answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import yaml

from pgha.documents import read_yaml
from pgha.errors import CutOff, ToolFailed
from pgha.model.merging import flatten
from pgha.model.topology import SCOPE, Topology
from pgha.model.urls import Urls
from pgha.tools import etcd
from pgha.tools.command import Command

CONFIG = "/pgha/config/patroni.conf"

SERVICE = "/service/patroni"

LEADER_ROLES = ("leader", "master", "primary", "standby_leader")

SYNC_ROLES = ("sync_standby", "quorum_standby")


@dataclass(frozen=True)
class Member:
    """One Patroni member as the cluster sees it; lag in bytes behind the leader, None when unknown."""

    name: str
    role: str
    state: str
    timeline: int | None
    lag: int | None

    @property
    def is_leader(self) -> bool:
        return self.role == "leader"

    @property
    def is_sync(self) -> bool:
        """Whether a commit may wait for this member, so that it can take over without loss."""
        return self.role in SYNC_ROLES

    @property
    def streams(self) -> bool:
        return self.state == "streaming"


@dataclass(frozen=True)
class ClusterView:
    """The cluster as one member's REST API tells it."""

    members: tuple[Member, ...]
    paused: bool = False

    @property
    def leader(self) -> Member | None:
        """The member that holds the leader key and runs."""
        return next((m for m in self.members if m.is_leader and m.state == "running"), None)

    def member(self, name: str) -> Member | None:
        return next((m for m in self.members if m.name == name), None)

    def not_streaming(self, names: Iterable[str]) -> list[str]:
        """Which of these names neither lead nor stream on the leader's timeline."""
        leader = self.leader
        if leader is None:
            return list(names)
        return [name for name in names if not _is_well(self.member(name), leader)]


@dataclass(frozen=True)
class NodeState:
    """What a member says of its own Postgres (`GET /patroni`)."""

    name: str
    role: str
    state: str
    timeline: int | None
    system_id: str | None
    server_version: int | None
    location: int | None
    """Bytes of WAL written (leader) or received (replica)."""
    streaming: tuple[str, ...]
    """Members that stream from this one."""
    patroni_version: str
    replayed: int | None = None
    """Bytes of WAL; None on a leader."""
    replay_paused: bool = False
    pending_restart: tuple[str, ...] = ()
    """Parameters that wait for a restart of this Postgres."""
    dcs_last_seen: int | None = None
    """Seconds since 1970 by the member's own clock."""


@dataclass(frozen=True)
class Told:
    """What one member says: of itself, and of the cluster as it last saw it."""

    node: NodeState
    cluster: ClusterView | None  # None when it cannot ask the DCS
    dcs_age: float
    """seconds since its Patroni looked at the DCS, by its own clock"""
    etcd: tuple[str, ...]
    """the etcd members that can commit, as seen from there; one is enough, it asks the others itself"""

    @property
    def sees_quorum(self) -> bool:
        return bool(self.etcd)


def _is_well(member: Member | None, leader: Member) -> bool:
    if member is None:
        return False
    return member == leader or (member.streams and member.timeline == leader.timeline)


def ctl(*arguments: str, timeout: float = 60) -> Command:
    """patronictl on a node, with the node's own configuration."""
    return Command(("patronictl", "-c", CONFIG, *arguments), timeout=timeout)


def show_config() -> Command:
    return ctl("show-config", SCOPE)


def patch_config(patch: dict[str, Any]) -> Command:
    """Merge a patch into the dynamic configuration; it holds no secrets. patronictl reads values as YAML."""
    pairs = [f"--set={key}={json.dumps(value)}" for key, value in flatten(patch).items()]
    return ctl("edit-config", "--quiet", "--force", *pairs, SCOPE)


def switchover(leader: str, candidate: str | None) -> Command:
    target = ("--candidate", candidate) if candidate else ()
    return ctl("switchover", SCOPE, "--leader", leader, *target, "--force", timeout=90)


def failover(candidate: str) -> Command:
    return ctl("failover", SCOPE, "--candidate", candidate, "--force", timeout=90)


HOLD = "/pgdata/hold"
"""While this file is there Patroni does not start (images/patroni/patroni.run). On the volume: it outlives the
container."""


def hold(why: str, seconds: float = 120) -> Command:
    """Stop Patroni and its Postgres, and keep them from starting, also with the container."""
    script = 'echo "$0" > "$1" && s6-svc -wd -T "$2" -d "$3"'
    milliseconds = f"{1000 * seconds:.0f}"
    return Command(("sh", "-c", script, why, HOLD, milliseconds, SERVICE), timeout=seconds + 10)


def release() -> Command:
    """Let Patroni start, now and with the container."""
    return Command(("sh", "-c", 'rm -f "$0" && s6-svc -u "$1"', HOLD, SERVICE), timeout=15)


def get(urls: Urls, path: str, host: str = "localhost", timeout: float = 3) -> Command:
    """The REST API's answer whatever its status: a replica answers 503 to questions about the leader."""
    return Command(("curl", "-sS", "-m", f"{timeout:g}", f"{urls.patroni(host)}/{path}"), timeout=timeout + 5)


def ask(topology: Topology, timeout: float = 3) -> Command:
    """A line each: its clock, `/patroni`, `/cluster`, and which etcd members that can commit it sees (etcd's /health
    reads through the quorum; Patroni's `dcs_last_seen` goes on beside an etcd that is cut off)."""
    # A member that is cut off waits for etcd before it gives up on /cluster; the others have it in 0.03 s.
    limits = {"patroni": timeout, "cluster": CLUSTER_TIMEOUT}
    asked = (f"-sS -m {limit:g} -w '\\n' {topology.urls.patroni()}/{path}" for path, limit in limits.items())
    # At once: a member that is cut off lets each wait; what is printed comes in this order.
    told = f"curl --fail-early {' --next '.join(asked)} || echo; cat"  # one that hangs is waited for once
    line = f"date +%s; {etcd.curl_health(topology, HEALTH_TIMEOUT)} | {{ {told}; }}"
    return Command(("sh", "-c", line), timeout=2 * timeout + 3)


HEALTH_TIMEOUT, CLUSTER_TIMEOUT = 1.5, 2.0  # seconds: an election takes etcd 1 s; what another member can say as well


def parse_cluster(text: str) -> ClusterView:
    """`GET /cluster`. Raises ToolFailed when it is something else, such as an error page of a lost DCS."""
    document = _document(text, "/cluster")
    try:
        members = sorted((_member(entry) for entry in document["members"]), key=lambda m: m.name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToolFailed(f"Patroni's /cluster lacks {error}", text) from error
    return ClusterView(tuple(members), bool(document.get("pause")))


def _member(entry: dict[str, Any]) -> Member:
    role = "leader" if entry["role"] in LEADER_ROLES else entry["role"]
    lag = entry.get("lag")
    return Member(
        name=entry["name"],
        role=role,
        state=entry["state"],
        timeline=entry.get("timeline"),
        lag=lag if isinstance(lag, int) else None,
    )


def parse_node(text: str) -> NodeState:
    """`GET /patroni`. Raises ToolFailed when it is something else."""
    document = _document(text, "/patroni")
    try:
        patroni = document["patroni"]
        xlog = document.get("xlog") or {}
        positions = [xlog[key] for key in ("location", "received_location", "replayed_location") if key in xlog]
        role = document.get("role", "unknown")
        return NodeState(
            name=patroni.get("name", ""),
            role="leader" if role in LEADER_ROLES else role,
            state=document["state"],
            timeline=document.get("timeline"),
            system_id=document.get("database_system_identifier"),
            server_version=document.get("server_version"),
            location=max(positions) if positions else None,
            streaming=tuple(
                sorted(
                    standby["application_name"]
                    for standby in document.get("replication", [])
                    if standby.get("state") == "streaming"
                )
            ),
            patroni_version=patroni.get("version", ""),
            replayed=xlog.get("replayed_location"),
            replay_paused=bool(xlog.get("paused")),
            pending_restart=_pending(document),
            dcs_last_seen=document.get("dcs_last_seen"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ToolFailed(f"Patroni's /patroni lacks {error}", text) from error


def _pending(document: dict[str, Any]) -> tuple[str, ...]:
    """Which parameters wait for a restart; before Patroni 4.0 only that some do."""
    if not document.get("pending_restart"):
        return ()
    return tuple(sorted(document.get("pending_restart_reason") or {})) or ("some parameter",)


def parse_told(text: str) -> Told:
    """The answer to `ask`. Raises ToolFailed when the member says nothing of itself; CutOff when it sees no etcd
    majority either: a Patroni that was started there waits for one before it answers."""
    clock, node_text, cluster_text, healths = (*text.split("\n", 3), "", "", "")[:4]
    healthy = etcd.parse_curl_health(healths)
    try:
        node = parse_node(node_text)
    except ToolFailed:
        if healthy or not clock.isdigit():
            raise
        raise CutOff("sees no etcd majority, and its Patroni does not answer: it is cut off") from None
    try:
        cluster = parse_cluster(cluster_text)
    except ToolFailed:
        cluster = None
    age = float(clock) - node.dcs_last_seen if node.dcs_last_seen and clock.isdigit() else 0.0
    return Told(node, cluster, max(0.0, age), healthy)


def without_answer(view: ClusterView, name: str) -> ClusterView:
    """The view when a member does not answer: until its lock expires the DCS goes on naming a lost leader."""
    return replace(view, members=tuple(replace(m, state="no answer") if m.name == name else m for m in view.members))


def confirm_streaming(view: ClusterView, leader: NodeState) -> ClusterView:
    """The view with each standby's state checked against the leader's own list of who streams from it: what Patroni
    reports may be a loop_wait old."""

    def checked(member: Member) -> Member:
        if member.is_leader or member.state not in ("running", "streaming"):
            return member
        return replace(member, state="streaming" if member.name in leader.streaming else "running")

    return replace(view, members=tuple(checked(m) for m in view.members))


def parse_config(text: str) -> dict[str, Any]:
    """`patronictl show-config`, or `GET /config`."""
    try:
        document = read_yaml(text)
    except yaml.YAMLError:
        document = None
    if not isinstance(document, dict):
        raise ToolFailed("patronictl show-config printed no configuration", text)
    return document


def _document(text: str, what: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ToolFailed(f"Patroni's {what} did not answer with JSON", text) from error
    if not isinstance(document, dict):
        raise ToolFailed(f"Patroni's {what} did not answer with a JSON object", text)
    return document
