"""The settings: read from Invoke's configuration, checked all together, and never changed afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pgha.errors import BadSettings
from pgha.model.casts import CASTS, is_on
from pgha.model.releases import Release, release_for
from pgha.model.rules import find_wrong
from pgha.model.urls import POSTGRES

ENVIRONMENT = "INVOKE_PGHA_"

Machines = Mapping[str, Mapping[str, str]]
"""Site -> `engine` and perhaps `address`."""


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


def _table_setting(help: str) -> Any:
    return field(default_factory=dict, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """Everything an operator can choose. Times are in seconds. The texts are those of docs/settings.md, which
    `python docs/generate.py` makes of them."""

    project: str = _setting("pgha", "Compose project and prefix of the container names: `pgha-pg1-node1`")
    prefix: str = _setting("pg", "Postgres nodes are named `<prefix><data center>-node<number>` (`render -n`)")
    data_centers: int = _setting(3, "data centers to simulate (`render -d`)")
    nodes: int = _setting(2, "Postgres nodes per data center, at most 9 in all (`render -p`)")
    postgres: int = _setting(17, "PostgreSQL major, 14 to 18 (`render -v`)")
    pgbackrest: bool = _setting(True, "the repository host; `off` leaves it out")
    base_image: str = _setting(
        "",
        "base of all images. Empty: `debian:bookworm-slim` for 15, `debian:trixie-slim` for 17, `debian:forky-slim` "
        "for 18, which have these majors in their own archive; else trixie with the PostgreSQL project's apt "
        "repository. May name one of these or `ubuntu:24.04`, with a registry in front of it",
    )
    durability: str = _setting(
        "quorum",
        "`quorum`: a commit waits until standbys have it, at least one of them in another data center. `async`: it "
        "does not wait, and a failover may lose the newest commits",
    )
    ttl: int = _setting(
        20,
        "Patroni: seconds until a lost leader's lock expires (20 is Patroni's minimum, 30 its default)",
    )
    loop_wait: int = _setting(2, "Patroni: seconds between two looks at the cluster (Patroni's default: 10)")
    retry_timeout: int = _setting(
        5, "Patroni: seconds a failure of etcd or Postgres is retried (Patroni's default: 10)"
    )
    stock: bool = _setting(
        False,
        "`on`: none of this project's [departures](deviations.md) from stock Patroni, pgBackRest and PostgreSQL; "
        "where they are not given, `ttl`, `loop_wait` and `retry_timeout` are Patroni's own 30, 10 and 10, and "
        "`drill_gap_planned`, `_stopped`, `_process` and `_lost` 10, 10, 15 and 35",
    )
    tls: bool = _setting(True, "etcd, Patroni and Postgres speak TLS, and know each other by certificates")
    certificate_names: str = _setting("", "further names and addresses of this host, for Postgres' certificates")
    publish_address: str = _setting(
        "127.0.0.1",
        "host address of the published ports; `0.0.0.0`: all of them, and `inv dsn --address` names one that other "
        "machines know",
    )
    postgres_port: int = _setting(50551, "first published Postgres port; the next nodes take the next ones")
    ssh_port: int = _setting(50651, "first published SSH port")
    subnet: str = _setting(
        "",
        "[addresses](#addresses) of the containers, a private IPv4 network such as `172.30.240.0/20`, or `/21` for up "
        "to five data centers (four with `monitoring: on`); empty: a /20 that is free",
    )
    retention_full: int = _setting(2, "full backups to keep")
    retention_diff: int = _setting(0, "differential backups to keep; `0`: as long as their full backup")
    process_max: int = _setting(
        0,
        "pgBackRest processes for backup, restore and archiving; `0`: as many as this host has CPUs",
    )
    archive_queue_max: str = _setting(
        "",
        "WAL the leader keeps while the repository is away, such as `5GiB`; empty: all of it ([the "
        "price](restore.md#when-the-repository-is-away))",
    )
    schedule_full: str = _setting(
        "0 1 * * 0",
        "when cron takes a full backup once `inv schedule` has switched it on; as in crontab(5), UTC; empty: never",
    )
    schedule_diff: str = _setting("0 1 * * 1-6", "the same for a differential backup")
    schedule_incr: str = _setting("", "the same for an incremental backup")
    schedule_verify: str = _setting(
        "0 3 * * *",
        "the same for the verification of the repository and of the newest backup",
    )
    scratch_preload_libraries: str = _setting(
        "",
        "`shared_preload_libraries` of the copies that `verify`, `clone` and `restore` start: only what the data "
        "cannot be replayed or read without, such as `timescaledb` or `citus` "
        "([why](restore.md#what-a-copy-does-not-start))",
    )
    shm_size: str = _setting(
        "256m",
        "shared memory (`/dev/shm`) of a Postgres container and of a clone, which parallel queries use; at least `64m`",
    )
    locales: str = _setting(
        "",
        "[locales](#locales) of the C library in the images of Postgres, such as `de_DE.UTF-8 fr_FR.UTF-8`",
    )
    image_tag: str = _setting(
        "",
        "appended to the tags of the images; with one of its own a checkout's containers are not made again because "
        "another checkout of this host built other images",
    )
    parameters: Mapping[str, str] = _table_setting(
        "a table of Postgres parameters, over [the project's own](#postgres-parameters); in the environment its text: "
        "`INVOKE_PGHA_PARAMETERS='{work_mem: 8MB}'`",
    )
    slots: Mapping[str, Mapping[str, str]] = _table_setting(
        "a table of [replication slots](#replication-slots) that outlive a change of the leader: `{cdc: {database: "
        "app}}`",
    )
    monitoring: bool = _setting(
        False,
        "`on`: a host with Prometheus and Alertmanager, and exporters on the others ([monitoring](monitoring.md))",
    )
    monitoring_port: int = _setting(
        50751,
        "published port of Prometheus, on loopback whatever `publish_address` is; Alertmanager takes the next one",
    )
    notify: str = _setting(
        "",
        "who is told of alerts: the URL of a webhook, or a mail address. A URL is kept as a secret",
    )
    notify_smarthost: str = _setting(
        "",
        "the mail server for a mail address, such as `mail.example.com:587`; it has to offer STARTTLS",
    )
    machines: Machines = _table_setting(  # noqa: RUF009
        "a table of [machines](machines.md), one for each site: `{dc1: ssh://root@db-a, ...}`, or `{dc1: {engine: "
        "ssh://root@db-a, address: 10.0.2.9}, ...}`; empty: everything on this host",
    )
    up_timeout: int = _setting(180, "seconds `up` and `start` wait until every member streams")
    long_transaction: int = _setting(
        60,
        "seconds after which an open transaction, in use or idle, keeps [a rollout](runbooks/change-a-setting.md) "
        "from restarting its member: by then it is a report, a dump or a migration that somebody would miss",
    )
    drill_gap_planned: float = _setting(
        6.0,
        "drills: seconds without an acknowledged write that are allowed in a planned switchover",
    )
    drill_gap_stopped: float = _setting(4.0, "drills: the same when the leader is stopped")
    drill_gap_process: float = _setting(4.0, "drills: when a process of the leader is killed")
    drill_gap_hung: float = _setting(
        8.0,
        "drills: when the leader's Patroni hangs: its watchdog ends Postgres, then a promotion",
    )
    drill_gap_lost: float = _setting(25.0, "drills: when the leader is lost, frozen or cut off; `ttl` is most of it")
    drill_gap_bystander: float = _setting(3.0, "drills: when something else than the leader is lost")
    drill_gap_link: float = _setting(
        13.0,
        "drills: when the link between two data centers is cut: a commit that needs a standby beyond it waits for "
        "`wal_sender_timeout` (10 s)",
    )
    drill_gap_operator: float = _setting(30.0, "drills: when service waits for an operator: disk full, cold start")
    drill_gap_upgrade: float = _setting(120.0, "drills: when `pg_upgrade` brings in another major version")
    drill_gap_recovery: float = _setting(
        90.0,
        "drills: when two data centers of three are gone for good and `inv recover` goes on with the third",
    )
    drill_whole_timeout: float = _setting(
        120.0,
        "drills: seconds the cluster may take to be whole again: rewound or cloned, every standby synchronous",
    )
    drill_lost_writes: int = _setting(0, "drills: acknowledged writes that may be lost with quorum commit")
    superuser_password: str = _setting(
        "",
        "password of `postgres`; generated when empty, and kept in `build/<project>/passwords.yaml`, mode 0600",
    )
    replication_password: str = _setting("", "the same of `replicator`")
    rewind_password: str = _setting("", "the same of `rewind_user`")
    restapi_password: str = _setting("", "the same of Patroni's REST API")
    repository_passphrase: str = _setting(
        "",
        "what the repository is encrypted with; generated and kept like the passwords",
    )

    @property
    def release(self) -> Release:
        """What the images are made of."""
        locales = tuple(sorted({*self.locales.split()}))
        return release_for(self.postgres, self.base_image, locales, self.image_tag, monitored=self.monitoring)

    @property
    def client_address(self) -> str:
        """Where clients on this host find the published ports."""
        return "127.0.0.1" if self.publish_address == "0.0.0.0" else self.publish_address

    @property
    def first_ports(self) -> dict[str, int]:
        """Where the published ports of each kind begin."""
        return {
            "postgres": self.postgres_port,
            "ssh": self.ssh_port,
            "prometheus": self.monitoring_port,
            "alertmanager": self.monitoring_port + 1,
        }

    @property
    def processes(self) -> int:
        """pgBackRest processes: the setting, or the CPUs of this host."""
        return self.process_max or os.cpu_count() or 1

    @property
    def node_count(self) -> int:
        """Postgres nodes in all data centers together."""
        return self.data_centers * self.nodes


FIELDS = {f.name: f for f in fields(Settings)}


AMONG_MACHINES = {"postgres_port": POSTGRES, "nodes": 1}
"""Each machine has a port of its own for Postgres, the usual one, and one node that listens there."""


STOCK = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}
"""Patroni's own defaults (patroni/config.py), for those that are not given."""

STOCK_PROMISES = {"drill_gap_planned": 10, "drill_gap_stopped": 10, "drill_gap_process": 15, "drill_gap_lost": 35}
"""Seconds that drills allow with those. A standby sits out `wal_retrieve_retry_interval` (5 s), a killed Postgres is
found after up to `loop_wait`, a lost leader after `ttl`; then 5 s for the promotion (model/plan.py)."""


def read_settings(*layers: Mapping[str, Any]) -> Settings:
    """Settings from the layers, the later ones over the earlier ones; values may be typed or text.

    Raises BadSettings with every problem, each with its key.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    if is_on(merged.get("stock", False)):
        merged = {**STOCK, **STOCK_PROMISES, **merged}
    if merged.get("machines"):
        merged = {**AMONG_MACHINES, **merged}
    values, problems = {}, []
    for key, value in merged.items():
        if key not in FIELDS:
            problems.append(f"{key}: there is no such setting")
            continue
        try:
            values[key] = CASTS[str(FIELDS[key].type)](value)
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
    "subnet": {"subnet", "data_centers", "monitoring"},
    "machines": {"machines", "data_centers", "nodes", "pgbackrest", "tls", "postgres_port", "monitoring"},
    "ttl": {"ttl", "loop_wait", "retry_timeout"},
    "notify": {"notify", "notify_smarthost", "monitoring", "base_image", "postgres"},
}
"""A rule's key -> every key the rule looks at: where one of them could not be read, the rule says nothing."""
