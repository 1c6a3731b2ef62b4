"""etcd: etcdctl, as it is at hand in every Postgres node."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.model.topology import SCOPE, Topology
from pgha.tools.command import Command

KEYS = f"/service/{SCOPE}/"
"""Where Patroni keeps its keys (its default namespace)."""


@dataclass(frozen=True)
class EtcdView:
    """Which members answer, and what the cluster can still lose."""

    healthy: tuple[str, ...]
    unhealthy: tuple[str, ...]
    alarm: str = ""
    """NOSPACE or CORRUPT: none takes writes then, and none is healthy"""
    size: int = 0
    """bytes of the largest member's data, when there is an alarm"""

    @property
    def members(self) -> int:
        return len(self.healthy) + len(self.unhealthy)

    @property
    def quorum(self) -> int:
        return self.members // 2 + 1

    @property
    def may_fail(self) -> int:
        """How many more members may fail before the quorum is lost."""
        return max(0, len(self.healthy) - self.quorum)

    @property
    def has_quorum(self) -> bool:
        return len(self.healthy) >= self.quorum


def _ctl(topology: Topology, seconds: float, *arguments: str) -> Command:
    endpoints = ",".join(topology.urls.etcd(member.name) for member in topology.etcd)
    options = (f"--endpoints={endpoints}", f"--command-timeout={seconds:g}s")
    return Command(("etcdctl", *options, *arguments), timeout=seconds + 5)


def health(topology: Topology, timeout: float) -> Command:
    """Ask every member at once whether it can commit; exits 1 when one cannot, and still prints all."""
    return _ctl(topology, timeout, f"--dial-timeout={timeout / 2:g}s", "--write-out=json", "endpoint", "health")


def curl_health(topology: Topology, timeout: float) -> str:
    """The same in a shell line that costs a third of a start of etcdctl: a member a line, in the order they answer."""
    # Braces are curl's: one -o and one -w for all of them.
    urls = ",".join(f"{topology.urls.etcd(member.name)}/health" for member in topology.etcd)
    return f"curl -Zs -m {timeout:g} -o /dev/null -w '%{{http_code}} %{{url_effective}}\\n' '{{{urls}}}'"


def parse_curl_health(text: str) -> tuple[str, ...]:
    """The members that can commit: etcd answers 503 when it cannot, and curl prints 000 when nobody answers."""
    return tuple(sorted(re.findall(r"^200 https?://([^:/]+):", text, re.MULTILINE)))


def put_config(topology: Topology, document: dict[str, Any]) -> Command:
    """The dynamic configuration, while no Patroni runs to take an edit-config. It holds no secret."""
    return _ctl(topology, 10, "put", f"{KEYS}config", json.dumps(document, sort_keys=True))


def member_keys(topology: Topology) -> Command:
    """What each Patroni writes of itself when it has looked at the cluster."""
    return _ctl(topology, 5, "get", "--prefix", f"{KEYS}members/")


@dataclass(frozen=True)
class Lock:
    """Patroni's leader key: who leads, or did so a moment ago."""

    holder: str
    lease: int
    seconds: int | None = None
    """until it expires unless its holder renews it; None while that is not known"""


def leader_key(topology: Topology) -> Command:
    return _ctl(topology, 2, "--write-out=json", "get", f"{KEYS}leader")


def parse_leader_key(text: str) -> Lock | None:
    """None when nobody holds it. Raises ToolFailed when it is not etcdctl's JSON."""
    try:
        line = next(line for line in text.splitlines() if line.startswith("{"))
        keys = json.loads(line).get("kvs") or []
        return Lock(base64.b64decode(keys[0]["value"]).decode(), keys[0].get("lease", 0)) if keys else None
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ToolFailed("etcdctl get did not print its JSON", text) from error


def time_to_live(topology: Topology, lease: int) -> Command:
    return _ctl(topology, 2, "--write-out=json", "lease", "timetolive", f"{lease:x}")


def parse_time_to_live(text: str) -> int | None:
    """Seconds; None when it has expired meanwhile."""
    found = re.search(r'"ttl":(-?\d+)', text)
    return int(found[1]) if found and int(found[1]) >= 0 else None


def forget_cluster(topology: Topology) -> Command:
    """Remove what Patroni knows of the cluster but its configuration: leader, members, history, sync, ...

    One range: from the first name after `config` to the end of the scope ('0' follows '/').
    """
    return _ctl(topology, 10, "del", f"{KEYS}config0", f"{KEYS[:-1]}0")


def parse_health(text: str, topology: Topology) -> EtcdView:
    """The JSON line of `etcdctl endpoint health`; a member it does not name is unhealthy."""
    line = next((line for line in text.splitlines() if line.startswith("[")), "")
    try:
        entries = {entry["endpoint"]: entry for entry in json.loads(line)}
        states = {m.name: entries.get(topology.urls.etcd(m.name), {"health": False}) for m in topology.etcd}
        healthy = tuple(name for name, state in states.items() if state["health"])
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("etcdctl endpoint health did not print its JSON", text) from error
    alarm = re.search(r"Active Alarm\(s\): *(\w+)", line)
    return EtcdView(healthy, tuple(m.name for m in topology.etcd if m.name not in healthy), alarm[1] if alarm else "")


def version() -> Command:
    return Command(("etcdctl", "version"))


def status(topology: Topology, timeout: float = 2) -> Command:
    """Ask every member for its raft state; exits 1 when one does not answer, and still prints the others."""
    return _ctl(topology, timeout, "--dial-timeout=1s", "--write-out=json", "endpoint", "status")


def parse_leader(text: str, topology: Topology) -> str:
    """The etcd member that leads, from `etcdctl endpoint status`. Raises ToolFailed when none does."""
    line = next((line for line in text.splitlines() if line.startswith("[")), "")
    try:
        for entry in json.loads(line):
            if entry["Status"]["leader"] == entry["Status"]["header"]["member_id"]:
                return next(m.name for m in topology.etcd if topology.urls.etcd(m.name) == entry["Endpoint"])
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ToolFailed("etcdctl endpoint status did not print its JSON", text) from error
    raise ToolFailed("No etcd member leads", text, "inv status")


def parse_size(text: str) -> int:
    """Bytes of the largest member's data, from `etcdctl endpoint status`; 0 when it does not say."""
    return max(map(int, re.findall(r'"dbSize":(\d+)', text)), default=0)


def parse_revision(text: str) -> int:
    """The revision that every member has which answered `status`. Raises ToolFailed."""
    revisions = [int(found) for found in re.findall(r'"header":\{[^}]*"revision":(\d+)', text)]
    if not revisions:
        raise ToolFailed("etcdctl endpoint status did not print its JSON", text)
    return min(revisions)


def hashes(topology: Topology, revision: int) -> Command:
    """Ask every member for the hash of its data at a revision."""
    return _ctl(topology, 5, "--write-out=json", "endpoint", "hashkv", f"--rev={revision}")


def parse_hashes(text: str, topology: Topology) -> dict[str, tuple[int, int]]:
    """Member -> the revision its history was compacted at, and the hash of what came after. Raises ToolFailed."""
    names = {topology.urls.etcd(member.name): member.name for member in topology.etcd}
    line = next((line for line in text.splitlines() if line.startswith("[")), "")
    try:
        return {
            names[entry["Endpoint"]]: (entry["HashKV"].get("compact_revision", 0), entry["HashKV"]["hash"])
            for entry in json.loads(line)
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("etcdctl endpoint hashkv did not print its JSON", text) from error


def member_list(topology: Topology) -> Command:
    return _ctl(topology, 5, "--write-out=json", "member", "list")


@dataclass(frozen=True)
class MemberEntry:
    """A member as etcd lists it."""

    name: str
    """from its peer address when it was added and never started"""
    id: str
    learner: bool
    started: bool
    peers: tuple[str, ...] = ()
    """what the other members ask it at"""


def parse_members(text: str) -> tuple[MemberEntry, ...]:
    """`etcdctl member list`."""
    try:
        return tuple(
            MemberEntry(
                name=entry.get("name") or re.sub(r"^https?://([^:/]+).*", r"\1", entry["peerURLs"][0]),
                id=f"{entry['ID']:x}",
                learner=bool(entry.get("isLearner")),
                started=bool(entry.get("name")),
                peers=tuple(entry.get("peerURLs", ())),
            )
            for entry in json.loads(text)["members"]
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ToolFailed("etcdctl member list did not print its JSON", text) from error


def joining(topology: Topology, config: str, members: Iterable[str]) -> str:
    """A rendered etcd.yml for a member that joins a cluster of these members, itself among them."""
    cluster = ",".join(f"{member}={topology.urls.peer(member)}" for member in members)
    config = re.sub(r"(?m)^initial-cluster: .*$", f"initial-cluster: {cluster}", config)
    return config.replace("initial-cluster-state: new", "initial-cluster-state: existing")


def member_remove(topology: Topology, identity: str) -> Command:
    return _ctl(topology, 10, "member", "remove", identity)


def member_add(topology: Topology, name: str, *, learner: bool = False) -> Command:
    """A learner gets all data first and has no vote until it is promoted: the quorum does not change meanwhile."""
    peers = f"--peer-urls={topology.urls.peer(name)}"
    return _ctl(topology, 10, "member", "add", name, peers, *(["--learner"] if learner else []))


def member_update(topology: Topology, identity: str, url: str) -> Command:
    """Let the other members ask this one at another URL."""
    return _ctl(topology, 10, "member", "update", identity, f"--peer-urls={url}")


def member_promote(topology: Topology, identity: str) -> Command:
    """Fails while the learner lacks data."""
    return _ctl(topology, 10, "member", "promote", identity)


def forget_member(topology: Topology, name: str) -> Command:
    """Remove what Patroni knows of a member that is gone; by itself that expires after `ttl`."""
    return _ctl(topology, 10, "del", f"{KEYS}members/{name}")


def is_lost(log: str) -> bool:
    """Whether etcd ended because it is a known member without its data, or one that was taken out and not let in
    again."""
    return "has already been bootstrapped" in log or "has been permanently removed from the cluster" in log
