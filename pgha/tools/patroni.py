"""Patroni: its dynamic configuration, patronictl, and the REST API's answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import yaml

from pgha.errors import ToolFailed
from pgha.settings import Settings
from pgha.tools.command import Command
from pgha.topology import SCOPE, Topology

CONFIG = "/pgha/config/patroni.conf"
PORT = 8008
SERVICE = "/service/patroni"

WAL_SENDER_TIMEOUT = 10
"""Seconds until a standby that does not answer is given up."""

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


def _is_well(member: Member | None, leader: Member) -> bool:
    if member is None:
        return False
    return member == leader or (member.streams and member.timeline == leader.timeline)


def dynamic_configuration(settings: Settings, topology: Topology) -> dict[str, Any]:
    """What the DCS holds for the whole cluster, whether or not it archives yet.

    The Postgres parameters are the seed's, less what slots and data checksums made unnecessary
    (wal_keep_size, wal_log_hints) and the logging collector: the container's log holds all.
    """
    return {
        "ttl": settings.ttl,
        "loop_wait": settings.loop_wait,
        "retry_timeout": settings.retry_timeout,
        "maximum_lag_on_failover": 1048576,
        # A crashed leader is replaced at once instead of being given five minutes to recover.
        "primary_start_timeout": 0,
        # A leader whose Postgres does not end (a shutdown amid crash recovery can hang) would keep its lock for good.
        # It counts twice, for the checkpoint before and for the shutdown: together a ttl. Patroni minds it only in
        # synchronous mode, where standbys have what was acknowledged.
        "primary_stop_timeout": settings.ttl // 2,
        "failsafe_mode": True,
        **_synchronous(settings, topology),
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                "archive_mode": "on",
                "archive_timeout": "1800s",
                "hot_standby": "on",
                "log_line_prefix": "%m [%r] [%p]: [%l-1] user=%u,db=%d,host=%h ",
                "log_lock_waits": "on",
                "log_min_duration_statement": 1000,
                "max_replication_slots": 10,
                "max_wal_senders": 12,
                "max_wal_size": "1GB",
                "wal_level": "logical",
                # A cut line tells nobody. Until a walsender gives up, the leader goes on counting its standby among
                # those a commit waits for; until a walreceiver does, it does not connect anew. Postgres' own 60 s
                # would stop writes for that long when two data centers lose sight of each other.
                "wal_receiver_timeout": f"{WAL_SENDER_TIMEOUT}s",
                "wal_sender_timeout": f"{WAL_SENDER_TIMEOUT}s",
                # A standby that is told to promote while it asks the archive once more may sit out this interval
                # first (Postgres' own: 5 s), and nobody accepts writes meanwhile. pgbackrest-archive-get asks the
                # archive for the same file once in three seconds, however often Postgres asks.
                "wal_retrieve_retry_interval": "250ms",
            },
        },
    }


def bootstrap_configuration(settings: Settings, topology: Topology) -> dict[str, Any]:
    """What a new cluster starts with: as above, and WAL is thrown away until `inv stanza` switches archiving on."""
    configuration = dynamic_configuration(settings, topology)
    configuration["postgresql"]["parameters"]["archive_command"] = "/bin/true"
    return configuration


def _synchronous(settings: Settings, topology: Topology) -> dict[str, Any]:
    count = topology.synchronous_node_count
    if settings.durability == "async" or count == 0:
        return {"synchronous_mode": False, "synchronous_node_count": 1}
    return {
        "synchronous_mode": "quorum" if settings.release.quorum_commit else True,
        "synchronous_node_count": count,
    }


def merge_patch(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The part of `wanted` that `current` does not hold: what to patch the dynamic configuration with."""
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        held = current.get(key)
        if isinstance(value, dict):
            inner = merge_patch(held if isinstance(held, dict) else {}, value)
            if inner:
                patch[key] = inner
        elif held != value:
            patch[key] = value
    return patch


def merge(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`current` with what is wanted over it."""
    merged = dict(current)
    for key, value in wanted.items():
        held = merged.get(key)
        merged[key] = merge(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return merged


def flatten(patch: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested patch, for people."""
    flat: dict[str, Any] = {}
    for key, value in patch.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


# Commands ---------------------------------------------------------------------------------------------------


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


def get(path: str, host: str = "localhost", timeout: float = 3) -> Command:
    """The REST API's answer whatever its status: a replica answers 503 to questions about the leader."""
    return Command(("curl", "-sS", "-m", f"{timeout:g}", f"http://{host}:{PORT}/{path}"), timeout=timeout + 5)


# Answers ----------------------------------------------------------------------------------------------------


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
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ToolFailed(f"Patroni's /patroni lacks {error}", text) from error


def without_answer(view: ClusterView, name: str) -> ClusterView:
    """The view when a member does not answer: until its lock expires the DCS goes on naming a lost leader."""
    return replace(view, members=tuple(replace(m, state="no answer") if m.name == name else m for m in view.members))


def confirm_streaming(view: ClusterView, leader: NodeState) -> ClusterView:
    """The view with each standby's state checked against the leader's own list of who streams from it.

    Patroni before 3.1 reports a streaming standby as `running`, and any version may report a state that is a
    loop_wait old.
    """

    def checked(member: Member) -> Member:
        if member.is_leader or member.state not in ("running", "streaming"):
            return member
        return replace(member, state="streaming" if member.name in leader.streaming else "running")

    return replace(view, members=tuple(checked(m) for m in view.members))


def parse_replica_method(log: str) -> str:
    """Which method made this replica last, from Patroni's log; nothing when none did."""
    found = re.findall(r"replica has been created using (\w+)", log)
    return found[-1] if found else ""


def parse_config(text: str) -> dict[str, Any]:
    """`patronictl show-config`."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ToolFailed("patronictl show-config did not print YAML", text) from error
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
