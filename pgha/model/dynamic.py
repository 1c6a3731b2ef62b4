"""Patroni's dynamic configuration: what the DCS holds for the whole cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pgha.model.config_change import words_of
from pgha.model.merging import merge
from pgha.model.settings import Settings
from pgha.model.topology import Topology

WAL_SENDER_TIMEOUT = 10
"""Seconds until a standby that does not answer is given up."""


PARAMETERS: dict[str, Any] = {
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
    # Neither end of a cut line is notified. Until a walsender gives up, the leader still takes its standby for one of
    # those a commit waits for; until a walreceiver does, it does not connect again. Postgres' own 60 s would stop
    # writes for that long when two data centers lose sight of each other.
    "wal_receiver_timeout": f"{WAL_SENDER_TIMEOUT}s",
    "wal_sender_timeout": f"{WAL_SENDER_TIMEOUT}s",
    # A standby that Patroni asks to promote while it asks the archive once more may wait out this interval first
    # (Postgres' own: 5 s), and nobody accepts writes meanwhile. A shorter one has every standby ask the archive more
    # often while nobody leads, which takes processor time from the election: docs/deviations.md has the numbers.
    "wal_retrieve_retry_interval": "1s",
}
"""What a new cluster starts with; an `edit-config` or the setting `parameters` changes it. docs/settings.md lists them.

They are those of the hand-built setup this project began with, less what slots and data checksums made unnecessary
(wal_keep_size, wal_log_hints) and the logging collector: the container's log holds all."""


DEPARTURES = ("wal_receiver_timeout", "wal_sender_timeout", "wal_retrieve_retry_interval")
"""Parameters that a stock cluster leaves at Postgres' own values."""


TLS_PARAMETERS = {"ssl_min_protocol_version": "TLSv1.2"}
"""What a cluster with TLS starts with, too: Postgres' own value since 13, which an older template may not have had."""


def governed_configuration(settings: Settings, topology: Topology) -> dict[str, Any]:
    """What settings of the project govern: `up` brings the DCS to hold this, and leaves everything else in it alone."""
    governed: dict[str, Any] = {
        "ttl": settings.ttl,
        "loop_wait": settings.loop_wait,
        "retry_timeout": settings.retry_timeout,
        **_synchronous(settings, topology),
    }
    if not settings.stock:
        # A leader whose Postgres does not end (a shutdown amid crash recovery can hang) would keep its lock for ever.
        # Patroni waits for it twice, for the checkpoint before and for the shutdown: together a ttl. Patroni minds it
        # only in synchronous mode, where standbys have what was acknowledged.
        governed["primary_stop_timeout"] = settings.ttl // 2
    if settings.parameters:
        governed["postgresql"] = {"parameters": {key: _value(text) for key, text in settings.parameters.items()}}
    if settings.slots:
        governed["slots"] = {name: _slot(given) for name, given in settings.slots.items()}
    return governed


def bootstrap_configuration(settings: Settings, topology: Topology) -> dict[str, Any]:
    """What a new cluster starts with; its WAL is thrown away until `inv stanza` switches archiving on."""
    parameters = {key: value for key, value in PARAMETERS.items() if not (settings.stock and key in DEPARTURES)}
    if settings.tls:
        parameters |= TLS_PARAMETERS
    first: dict[str, Any] = {
        "maximum_lag_on_failover": 1048576,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {**parameters, "archive_command": "/bin/true"},
        },
    }
    if not settings.stock:
        # A crashed leader is replaced at once instead of being given five minutes to recover.
        first["primary_start_timeout"] = 0
        first["failsafe_mode"] = True
    governed = governed_configuration(settings, topology)
    if "slots" in governed:
        governed["slots"] = slots_of(governed["slots"], ["postgres"])
    return merge(first, governed)


def slots_of(slots: Mapping[str, Any], databases: Iterable[str]) -> dict[str, Any]:
    """Those that Patroni can create: one whose database is not there keeps it from creating those that follow."""
    there = set(databases)
    return {name: slot for name, slot in slots.items() if slot.get("database") in (None, *there)}


def without_known(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are not held yet. `on` and true, 200 and "200" are the same to Postgres."""
    return {key: value for key, value in wanted.items() if key not in held or words_of(held[key]) != words_of(value)}


def _slot(given: Mapping[str, str]) -> dict[str, str]:
    """As Patroni wants it; a logical slot is of the plugin that comes with Postgres, unless another one is named."""
    if given.get("type") == "physical":
        return {"type": "physical"}
    return {"type": "logical", "plugin": "pgoutput", **given}


def _value(text: str) -> str | int:
    return int(text) if re.fullmatch(r"0|-?[1-9][0-9]*", text) else text


def _synchronous(settings: Settings, topology: Topology) -> dict[str, Any]:
    count = topology.synchronous_node_count
    if settings.durability == "async" or count == 0:
        return {"synchronous_mode": False, "synchronous_node_count": 1}
    return {
        "synchronous_mode": "quorum",
        "synchronous_node_count": count,
    }
