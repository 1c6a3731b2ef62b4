"""etcd without a quorum: what one member still has, and how it is made a cluster of its own (etcd's documentation,
"Disaster recovery"; the option `force-new-cluster`).

What a member has applied can be ahead of what its log calls committed when it ends at once. With `force-new-cluster` it
cuts its log there, and skips as many new entries, since it takes them for applied. Members that join later and read the
log from its beginning apply them: they have other data, and other revisions, for ever (etcd/issues/14009; seen with
3.5.16: a watch that told nothing). So `mark` is written until it is answered: from then on nothing is skipped; and the
raft snapshot that comes with it makes those that join take this member's data instead of the log.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.model.urls import Urls
from pgha.tools.command import Command
from pgha.tools.etcd import KEYS

MARK = "/pgha/recovered"
"""A key outside Patroni's: when the recovery began after which this member is alone."""


def _ctl(urls: Urls, member: str, seconds: float, *arguments: str) -> Command:
    options = (f"--endpoints={urls.etcd(member)}", f"--command-timeout={seconds:g}s", "--dial-timeout=1s")
    return Command(("etcdctl", *options, *arguments), timeout=seconds + 5)


def status(urls: Urls, member: str) -> Command:
    """A member's own raft state; it answers that without a quorum, too."""
    return _ctl(urls, member, 2, "--write-out=json", "endpoint", "status")


def health(urls: Urls, member: str) -> Command:
    """Whether this member can commit; exits 1 when it cannot."""
    return _ctl(urls, member, 2, "endpoint", "health")


def list_members(urls: Urls, member: str) -> Command:
    """The members this one knows of, read through the quorum."""
    return _ctl(urls, member, 5, "--write-out=json", "member", "list")


def local_keys(urls: Urls, member: str) -> Command:
    """What Patroni had written of the cluster, as this member has it: `--consistency=s` asks no other one."""
    return _ctl(urls, member, 5, "--write-out=json", "get", "--prefix", "--consistency=s", KEYS)


def put(urls: Urls, member: str, key: str, value: str) -> Command:
    """One of Patroni's keys."""
    return _ctl(urls, member, 5, "put", f"{KEYS}{key}", value)


def delete(urls: Urls, member: str, key: str) -> Command:
    """One of Patroni's keys; nothing happens when it is not there."""
    return _ctl(urls, member, 5, "del", f"{KEYS}{key}")


def failover_request(candidate: str) -> str:
    """The value of Patroni's key `failover`, as `patronictl failover` leaves it when no leader answers
    (patroni/dcs/__init__.py, `manual_failover`): the named member takes the lead, and the others leave it to that."""
    return json.dumps({"member": candidate}, separators=(",", ":"))


def forcing(config: str) -> str:
    """A rendered etcd.yml for one start that gives every other member up. etcd keeps its data and its own name, and
    makes a raft snapshot at every second entry."""
    return config.rstrip("\n") + "\nforce-new-cluster: true\nsnapshot-count: 1\n"


def mark(urls: Urls, member: str, text: str) -> Command:
    """Write a key that nobody but a recovery reads."""
    return _ctl(urls, member, 1.5, "put", MARK, text)


def read_mark(urls: Urls, member: str) -> Command:
    """What the last recovery wrote there; nothing before the first one."""
    return _ctl(urls, member, 2, "get", "--print-value-only", MARK)


def parse_index(text: str) -> int:
    """The raft index of the member that `status` asked: how far its log goes. Raises ToolFailed."""
    line = next((line for line in text.splitlines() if line.startswith("[")), "")
    try:
        return int(json.loads(line)[0]["Status"]["raftIndex"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ToolFailed("etcdctl endpoint status did not print its JSON", text) from error


@dataclass(frozen=True)
class Known:
    """What Patroni had written into etcd, as one member has it: perhaps not the last of it."""

    leader: str
    """who held the lock; nothing when nobody did"""
    sync_leader: str
    """whose standbys these are; nothing without synchronous replication"""
    standbys: tuple[str, ...]
    """those a commit waited for"""
    waits_for: int
    """how many of them had to have a commit before it returned; 0: none"""
    written: int
    """bytes of WAL the leader had written when it said so last; 0 when it did not"""
    members: tuple[str, ...]
    config: dict[str, Any]
    """the dynamic configuration"""

    @property
    def led(self) -> str:
        """Who led last, as far as this member heard."""
        return self.leader or self.sync_leader


def parse_known(text: str) -> Known:
    """The answer to `local_keys`. Raises ToolFailed."""
    try:
        pairs = {_decoded(kv["key"]).removeprefix(KEYS): _decoded(kv["value"]) for kv in json.loads(text)["kvs"]}
        sync, config = (json.loads(pairs.get(key) or "{}") for key in ("sync", "config"))
        standbys = tuple(name.strip() for name in (sync.get("sync_standby") or "").split(",") if name.strip())
        # With quorum commit the votes a candidate needs and those a commit waited for are together all standbys;
        # without it every one that is listed has every commit.
        waits = len(standbys) - int(sync.get("quorum") or 0)
        return Known(
            leader=pairs.get("leader", ""),
            sync_leader=sync.get("leader") or "",
            standbys=standbys,
            waits_for=max(0, waits) if sync.get("leader") else 0,
            written=_optime(pairs.get("status", "")),
            members=tuple(sorted(key.removeprefix("members/") for key in pairs if key.startswith("members/"))),
            config=config,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("etcdctl get did not print Patroni's keys", text[:2000]) from error


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def _optime(status: str) -> int:
    """Patroni's key `status`: its JSON, or the bare number that older ones write."""
    if not status:
        return 0
    document = json.loads(status)
    return int(document.get("optime") or 0) if isinstance(document, dict) else int(document)
