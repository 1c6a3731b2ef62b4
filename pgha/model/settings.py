"""The settings: read from Invoke's configuration, checked all together, and never changed afterwards."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pgha.errors import BadSettings
from pgha.model.releases import Release, release_for
from pgha.model.rules import find_wrong
from pgha.model.typed import read_typed

ENVIRONMENT = "INVOKE_PGHA_"


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """Everything an operator can choose. Times are in seconds."""

    project: str = _setting("pgha", "Compose project and container prefix")
    prefix: str = _setting("pg", "Postgres nodes are named <prefix><data center>-node<number>")
    data_centers: int = _setting(3, "data centers to simulate")
    nodes: int = _setting(2, "Postgres nodes per data center")
    postgres: int = _setting(17, "PostgreSQL major version")
    pgbackrest: bool = _setting(True, "run a pgBackRest repository host")
    base_image: str = _setting("", "base of all images; empty: the Debian suite that has this PostgreSQL")
    durability: str = _setting("quorum", "quorum or async")
    ttl: int = _setting(20, "Patroni: seconds until the lock of a lost leader expires")
    loop_wait: int = _setting(2, "Patroni: seconds between two looks at the cluster")
    retry_timeout: int = _setting(5, "Patroni: seconds an etcd or Postgres failure is retried")
    stock: bool = _setting(False, "none of this project's departures from stock Patroni, pgBackRest and Postgres")
    tls: bool = _setting(True, "etcd, Patroni and Postgres speak TLS, and know each other by certificates")
    certificate_names: str = _setting("", "further names and addresses of this host, for Postgres' certificates")
    publish_address: str = _setting("127.0.0.1", "host address of the published ports")
    postgres_port: int = _setting(50551, "first published Postgres port; the next nodes take the next ones")
    ssh_port: int = _setting(50651, "first published SSH port")
    subnet: str = _setting("", "addresses of the containers, such as 172.30.240.0/20; empty: a block that is free")
    retention_full: int = _setting(2, "full backups to keep")
    retention_diff: int = _setting(0, "differential backups to keep; 0: as long as their full backup")
    process_max: int = _setting(0, "pgBackRest processes; 0: as many as this host has CPUs")
    archive_queue_max: str = _setting("", "WAL a node keeps while the repository is away; empty: all of it")
    schedule_full: str = _setting("0 1 * * 0", "when cron takes a full backup, as in crontab(5), UTC; empty: never")
    schedule_diff: str = _setting("0 1 * * 1-6", "the same for a differential backup")
    schedule_incr: str = _setting("", "the same for an incremental backup")
    schedule_verify: str = _setting("0 3 * * *", "the same for the verification of the newest backup")
    scratch_preload_libraries: str = _setting("", "shared_preload_libraries of restored copies, as in `verify`")
    shm_size: str = _setting("256m", "shared memory of a Postgres container")
    locales: str = _setting("", "locales to generate in the images, such as de_DE.UTF-8; empty: none")
    image_tag: str = _setting("", "appended to the tags of the images, so that no other checkout's build changes them")
    parameters: Mapping[str, str] = field(default_factory=dict, metadata={"help": "Postgres parameters, over ours"})
    slots: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict, metadata={"help": "replication slots that outlive a change of the leader"}
    )
    up_timeout: int = _setting(180, "seconds `up` waits until every member streams")
    long_transaction: int = _setting(60, "seconds after which an open transaction keeps a rollout from going on")
    drill_gap_planned: float = _setting(6.0, "drills: seconds without a write in a planned switchover")
    drill_gap_stopped: float = _setting(4.0, "drills: when the leader is stopped")
    drill_gap_process: float = _setting(4.0, "drills: when a process of the leader is killed")
    drill_gap_hung: float = _setting(8.0, "drills: when the leader's Patroni hangs")
    drill_gap_lost: float = _setting(25.0, "drills: when the leader is lost, frozen or cut off")
    drill_gap_bystander: float = _setting(3.0, "drills: when something else than the leader is lost")
    drill_gap_link: float = _setting(13.0, "drills: when the link between two data centers is cut")
    drill_gap_operator: float = _setting(30.0, "drills: when an operator has to act: disk full, cold start")
    drill_gap_recovery: float = _setting(90.0, "drills: when sites are gone for good and an operator recovers")
    drill_whole_timeout: float = _setting(120.0, "drills: seconds until the cluster is whole again")
    drill_lost_writes: int = _setting(0, "drills: acknowledged writes that may be lost with quorum commit")
    superuser_password: str = _setting("", "password of postgres; generated when empty")
    replication_password: str = _setting("", "password of replicator; generated when empty")
    rewind_password: str = _setting("", "password of rewind_user; generated when empty")
    restapi_password: str = _setting("", "password of Patroni's REST API; generated when empty")
    repository_passphrase: str = _setting("", "what the repository is encrypted with; generated when empty")

    @property
    def release(self) -> Release:
        """What the images are made of."""
        return release_for(self.postgres, self.base_image, tuple(sorted({*self.locales.split()})), self.image_tag)

    @property
    def client_address(self) -> str:
        """Where clients on this host find the published ports."""
        return "127.0.0.1" if self.publish_address == "0.0.0.0" else self.publish_address

    @property
    def first_ports(self) -> dict[str, int]:
        """Where the published ports of each kind begin."""
        return {"postgres": self.postgres_port, "ssh": self.ssh_port}

    @property
    def processes(self) -> int:
        """pgBackRest processes: the setting, or the CPUs of this host."""
        return self.process_max or os.cpu_count() or 1

    @property
    def node_count(self) -> int:
        """Postgres nodes in all data centers together."""
        return self.data_centers * self.nodes


FIELDS = {f.name: f for f in fields(Settings)}


STOCK = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}
"""Patroni's own defaults (patroni/config.py), for those that are not given."""


def read_settings(*layers: Mapping[str, Any]) -> Settings:
    """Settings from the layers, the later ones over the earlier ones; values may be typed or text.

    Raises BadSettings with every problem, each with its key.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    if _is_on(merged.get("stock", False)):
        merged = {**STOCK, **merged}
    values, problems = {}, []
    for key, value in merged.items():
        if key not in FIELDS:
            problems.append(f"{key}: there is no such setting")
            continue
        try:
            values[key] = _CASTS[str(FIELDS[key].type)](value)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    settings = Settings(**values)
    bad_keys = {problem.split(":")[0] for problem in problems}
    problems += [p for p in find_wrong(settings) if not bad_keys & _KEYS_TOGETHER.get(p.split(":")[0], set())]
    if problems:
        raise BadSettings(problems)
    return settings


def environment_layer(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings given as INVOKE_PGHA_..., as text.

    Invoke would cast them by the type of the value they replace, which reads `false` as true and ends in a
    traceback on a non-number.
    """
    return {
        name.removeprefix(ENVIRONMENT).lower(): value for name, value in environ.items() if name.startswith(ENVIRONMENT)
    }


_KEYS_TOGETHER = {key: {key} for key in FIELDS} | {
    "nodes": {"nodes", "data_centers"},
    "slots": {"slots", "prefix", "data_centers", "nodes"},
    "subnet": {"subnet", "data_centers"},
    "ttl": {"ttl", "loop_wait", "retry_timeout"},
}
"""A rule's key -> every key the rule looks at: where one of them could not be read, the rule says nothing."""


def _is_on(value: Any) -> bool:
    try:
        return _switch(value)
    except ValueError:
        return False


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"-?(0|[1-9][0-9]*)", str(value).strip()):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def _switch(value: Any) -> bool:
    words = {
        "on": True,
        "true": True,
        "yes": True,
        "1": True,
        "off": False,
        "false": False,
        "no": False,
        "0": False,
    }
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither on nor off") from None


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"{value!r} is not a text")
    return "" if value is None else str(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", str(value).strip()):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _mapping(value: Any, example: str) -> Mapping[Any, Any]:
    """A table, or its text."""
    if isinstance(value, str):
        value = read_typed(value) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a table such as {example}")
    return value


def _table(value: Any, example: str = "{work_mem: 8MB}") -> dict[str, str]:
    """A table of texts, or its text: `{work_mem: 8MB}`."""
    table = {}
    for key, entry in _mapping(value, example).items():
        if entry is None or isinstance(entry, (dict, list)):
            raise ValueError(f"{key} has no value" if entry is None else f"{entry!r} of {key} is not a text")
        table[str(key)] = {True: "on", False: "off"}[entry] if isinstance(entry, bool) else str(entry)
    return table


SLOT_EXAMPLE = "{cdc: {database: app}}"


def _tables(value: Any) -> dict[str, dict[str, str]]:
    """A table of such tables, or its text."""
    return {str(name): _table(entry, SLOT_EXAMPLE) for name, entry in _mapping(value, SLOT_EXAMPLE).items()}


_CASTS: dict[str, Callable[[Any], Any]] = {
    "int": _integer,
    "float": _number,
    "bool": _switch,
    "str": _text,
    "Mapping[str, str]": _table,
    "Mapping[str, Mapping[str, str]]": _tables,
}
