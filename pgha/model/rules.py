"""What settings of the right type may still be wrong with: a rule a theme, each finding `key: sentence`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from cronsim import CronSim, CronSimError

from pgha.model.machines import wrong_machines
from pgha.model.releases import MAJORS, SUITES, suite_of
from pgha.model.words import counted

if TYPE_CHECKING:
    from pgha.model.settings import Settings

MAX_NODES = 9
"""Postgres nodes at most: as many as the document this project implements generates."""

NETWORK_PREFIX = 24
"""Of each network of a project."""

OTHER_NETWORKS = 3
"""Networks a block has room for beside those of the data centers: `wan`, the repository's site, the witness. The
monitoring's is one more, where there is one."""

PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918."""

MIN_SHM = 64 * 1024**2
"""Docker's own default."""

SECRETS = (
    "superuser_password", "replication_password", "rewind_password", "restapi_password", "repository_passphrase",
)  # fmt: skip

CONFIDENTIAL = (*SECRETS, "notify")
"""Settings that are in no record and in no report: a webhook's URL is the right to use it."""

SCHEDULES = ("schedule_full", "schedule_diff", "schedule_incr", "schedule_verify")

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""Of a host name (RFC 1123)."""

CRONTAB_PART = r"(\*|\d{1,2}|[A-Za-z]{3})(-(\d{1,2}|[A-Za-z]{3}))?(/\d{1,2})?"
CRONTAB_FIELD = rf"{CRONTAB_PART}(,{CRONTAB_PART})*"
"""What crontab(5) knows; the library that reads it knows more."""


def find_wrong(settings: Settings) -> list[str]:
    """Every problem, in the order of the rules."""
    return [problem for rule in RULES for problem in rule(settings)]


def _names(s: Settings) -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,30}", s.project):
        yield f"project: {s.project!r} is not a Compose project name (a-z, 0-9, - and _, at most 31 characters)"
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,30})", s.prefix):
        yield f"prefix: {s.prefix!r} does not begin a DNS host name (a-z, then a-z, 0-9 and -, at most 31 characters)"


def _shape(s: Settings) -> Iterator[str]:
    if s.data_centers < 1:
        yield f"data_centers: {s.data_centers} is not 1 or more"
    if s.nodes < 1:
        yield f"nodes: {s.nodes} is not 1 or more"
    if s.data_centers >= 1 and s.nodes >= 1 and s.node_count > MAX_NODES:
        asked = f"{counted(s.data_centers, 'data center')} with {counted(s.nodes, 'node')}"
        yield f"nodes: {asked} are {s.node_count} Postgres nodes; {MAX_NODES} is the most"


def _release(s: Settings) -> Iterator[str]:
    if s.postgres not in MAJORS:
        yield f"postgres: {s.postgres} is not a supported major version ({', '.join(map(str, MAJORS))})"
    for name in s.locales.split():
        if not re.fullmatch(r"[A-Za-z]{2,3}(_[A-Z]{2})?(\.[A-Za-z0-9-]+)?(@[a-z]+)?", name):
            yield f"locales: {name!r} is not the name of a locale such as de_DE.UTF-8"
    if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?", s.image_tag):
        yield f"image_tag: {s.image_tag!r} is not up to 64 letters, digits, '_', '.' and '-'"
    if s.base_image and suite_of(s.base_image) is None:
        known = ", ".join(SUITES)
        yield f"base_image: {s.base_image!r} is not a base this project knows (debian or ubuntu, one of {known})"


def _patroni(s: Settings) -> Iterator[str]:
    """Patroni's own bounds: patroni/config.py and docs/dynamic_configuration."""
    if s.durability not in ("quorum", "async"):
        yield f"durability: {s.durability!r} is neither quorum nor async"
    if s.ttl < 20:
        yield f"ttl: {s.ttl} is below Patroni's minimum of 20 seconds"
    if s.loop_wait < 1:
        yield f"loop_wait: {s.loop_wait} is below Patroni's minimum of 1 second"
    if s.retry_timeout < 3:
        yield f"retry_timeout: {s.retry_timeout} is below Patroni's minimum of 3 seconds"
    least = s.loop_wait + 2 * s.retry_timeout
    if least > s.ttl:
        yield f"ttl: {s.ttl} is less than loop_wait + 2 x retry_timeout = {least}"


def _ports(s: Settings) -> Iterator[str]:
    try:
        ipaddress.IPv4Address(s.publish_address)
    except ValueError:
        yield f"publish_address: {s.publish_address!r} is not an IPv4 address"
    for key in ("postgres_port", "ssh_port", "monitoring_port"):
        port = getattr(s, key)
        if not 1024 <= port <= 65000:
            yield f"{key}: {port} is not a port between 1024 and 65000"


def _certificate_names(s: Settings) -> Iterator[str]:
    for name in s.certificate_names.split():
        # An address alone is made of digits and dots, or has a colon.
        if re.fullmatch(r"[0-9.]+|.*:.*", name):
            try:
                ipaddress.ip_address(name)
            except ValueError:
                yield f"certificate_names: {name} is not an address"
        elif not re.fullmatch(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*", name, re.IGNORECASE | re.ASCII):
            yield f"certificate_names: {name!r} is not a host name such as db.example.com"


def _subnet(s: Settings) -> Iterator[str]:
    if not s.subnet:
        return
    try:
        block = ipaddress.IPv4Network(s.subnet)
    except ValueError:
        yield f"subnet: {s.subnet!r} is not an IPv4 network such as 172.30.240.0/20"
        return
    if not any(block.subnet_of(private) for private in PRIVATE):
        yield f"subnet: {s.subnet} is not within {', '.join(map(str, PRIVATE))}, the private networks"
    least = NETWORK_PREFIX - (OTHER_NETWORKS + s.monitoring + s.data_centers - 1).bit_length()
    if 1 <= s.data_centers <= MAX_NODES and block.prefixlen > least:
        count = counted(s.data_centers, "data center")
        more = " and the monitoring" if s.monitoring else ""
        yield f"subnet: {s.subnet} is too small for {count}{more}: it takes a /{least}"


def _backups(s: Settings) -> Iterator[str]:
    if s.retention_full < 1:
        yield f"retention_full: {s.retention_full} is not 1 or more"
    if s.retention_diff < 0:
        yield f"retention_diff: {s.retention_diff} is not 0 or more"
    if not 0 <= s.process_max <= 999:
        yield f"process_max: {s.process_max} is not between 1 and 999, nor 0"
    if not re.fullmatch(r"(\d+(B|[KMGTP]i?B)?)?", s.archive_queue_max):
        yield f"archive_queue_max: {s.archive_queue_max!r} is not a size such as 5GiB"
    libraries = s.scratch_preload_libraries
    if not re.fullmatch(r"([\w$/.-]+(,[\w$/.-]+)*)?", libraries, re.ASCII):
        yield f"scratch_preload_libraries: {libraries!r} is not a list of libraries such as timescaledb,citus"
    for key in SCHEDULES:
        problem = _crontab_problem(getattr(s, key))
        if problem:
            yield f"{key}: {problem}"


def _crontab_problem(times: str) -> str:
    if not times:
        return ""
    if not re.fullmatch(rf"{CRONTAB_FIELD}([ \t]+{CRONTAB_FIELD}){{4}}", times, re.ASCII):
        return f"{times!r} is not a crontab time: five fields such as '0 1 * * 0'"
    try:
        CronSim(times, datetime(2000, 1, 1))
    except CronSimError as error:
        return f"{times!r} is not a crontab time: {error}"
    return ""


def _bounds(s: Settings) -> Iterator[str]:
    size = re.fullmatch(r"([1-9][0-9]{0,14})([bkmg]?)b?", s.shm_size, re.IGNORECASE)
    if size is None or int(size[1]) * 1024 ** "bkmg".index(size[2].lower() or "b") < MIN_SHM:
        yield f"shm_size: {s.shm_size!r} is not a size of at least 64m, such as 256m or 1g"
    if s.up_timeout < 10:
        yield f"up_timeout: {s.up_timeout} is less than 10 seconds"
    if s.long_transaction < 1:
        yield f"long_transaction: {s.long_transaction} is less than 1 second"
    for key, value in vars(s).items():
        if key.startswith("drill_") and value < 0:
            yield f"{key}: {value} is less than 0"


LIMITS = {
    "max_connections": 25,
    "max_locks_per_transaction": 32,
    "max_prepared_transactions": 0,
    "max_replication_slots": 4,
    "max_wal_senders": 3,
    "max_worker_processes": 2,
}
"""Parameters a standby needs at least as high as its leader -> the least that Patroni takes (postgresql/config.py)."""

TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")
"""That are not broken."""

NOT_OURS = {
    "inv stanza": ("archive_command", "archive_mode", "restore_command"),
    "durability": ("synchronous_standby_names",),
    "tls": ("ssl", "ssl_ca_file", "ssl_cert_file", "ssl_key_file"),
    "Patroni": ("cluster_name", "hot_standby", "primary_conninfo", "primary_slot_name", "promote_trigger_file"),
    "the containers": (
        "config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "listen_addresses", "port",
        "password_encryption", "unix_socket_directories", "unix_socket_permissions",
    ),
}  # fmt: skip
"""Whose parameters cannot be a setting."""


def _parameters(s: Settings) -> Iterator[str]:
    owners = {name: owner for owner, names in NOT_OURS.items() for name in names}
    for name, value in s.parameters.items():
        if not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", name):
            yield f"parameters: {name!r} is not the name of a Postgres parameter"
        elif name in owners or name.startswith("recovery_target"):
            yield f"parameters: {name} is set by {owners.get(name, 'inv restore')}"
        elif not re.fullmatch(r"[ -~]*", value):
            yield f"parameters: {name} holds something else than printable ASCII"
        elif name == "ssl_min_protocol_version" and value not in TLS_VERSIONS:
            yield f"parameters: {name} {value} is none of {', '.join(TLS_VERSIONS)}"
        elif name in LIMITS and not (re.fullmatch(r"0|[1-9][0-9]{0,8}", value) and int(value) >= LIMITS[name]):
            yield f"parameters: {name} {value} is not a number of at least {LIMITS[name]}, Patroni's minimum"


def wrong_slots(s: Settings) -> Iterator[str]:
    """What Patroni would refuse, or drop again, in its log only (dcs/__init__.py, `_merge_permanent_slots`)."""
    prefix = s.prefix.replace("-", "_")
    for name, slot in s.slots.items():
        unknown = sorted(set(slot) - {"type", "database", "plugin"})
        if not re.fullmatch(r"[a-z0-9_]{1,63}", name, re.ASCII):
            yield f"slots: {name!r} is not the name of a slot (a-z, 0-9 and _, at most 63 characters)"
        elif re.fullmatch(rf"{re.escape(prefix)}\d+_node\d+", name):
            yield f"slots: {name} is the name of a member's own slot"
        elif unknown:
            yield f"slots: {name} has {unknown[0]}; there are type, database and plugin"
        elif slot.get("type", "logical") not in ("logical", "physical"):
            yield f"slots: {name} is of type {slot['type']!r}, neither logical nor physical"
        elif slot.get("type") == "physical":
            if len(slot) > 1:
                yield f"slots: {name} is physical: it has no database and no plugin"
        elif not re.fullmatch(r"[ -~]{1,63}", slot.get("database", "")):
            yield f"slots: {name} names no database, as a logical slot has to"
        elif not re.fullmatch(r"[\w$/.-]+", slot.get("plugin", "pgoutput"), re.ASCII):
            yield f"slots: {name} has the plugin {slot['plugin']!r}, which is not the name of a library"


def _secrets(s: Settings) -> Iterator[str]:
    for key in SECRETS:
        if not re.fullmatch(r"[ -~]*", getattr(s, key)):
            yield f"{key}: holds something else than printable ASCII"


WEBHOOK = r"https?://[^\s/@]+(/[!-~]*)?"
MAIL = r"[\w.+-]+@[A-Za-z0-9.-]+"


def _notify(s: Settings) -> Iterator[str]:
    """Never with the value: it may hold a secret."""
    if s.notify_smarthost and not re.fullmatch(r"[A-Za-z0-9.-]+:\d{1,5}", s.notify_smarthost):
        yield f"notify_smarthost: {s.notify_smarthost!r} is not a host and a port such as mail.example.com:587"
    if not s.notify:
        return
    is_mail = re.fullmatch(MAIL, s.notify, re.ASCII)
    if not is_mail and not re.fullmatch(WEBHOOK, s.notify, re.ASCII):
        yield "notify: it is neither the URL of a webhook (http or https, no user in it) nor a mail address"
    elif is_mail and not s.notify_smarthost:
        yield "notify: a mail address takes notify_smarthost, the server that sends the mails"
    elif not s.monitoring:
        yield "notify: nobody is told anything without monitoring: on"
    elif not is_mail and s.postgres in MAJORS and (not s.base_image or suite_of(s.base_image)):
        suite = s.release.suite
        if suite.alertmanager < (0, 26):
            has = ".".join(map(str, suite.alertmanager))
            yield f"notify: a webhook takes Alertmanager 0.26, {suite.name} has {has}"


RULES = (
    _names, _shape, _release, _patroni, _ports, _certificate_names, _subnet, _backups, _bounds, _parameters,
    wrong_slots, wrong_machines, _secrets, _notify,
)  # fmt: skip
