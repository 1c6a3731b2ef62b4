"""The machines a cluster runs on: which site on which, and how each is reached.

Absent, everything runs on this host's engine. Otherwise each site has a machine with an engine of its own, reached over
SSH as DOCKER_HOST names it, and an address at which the other machines and the clients find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgha.model.urls import POSTGRES
from pgha.model.words import named

if TYPE_CHECKING:
    from pgha.model.settings import Settings

SCHEME = "ssh://"

EXAMPLE = "ssh://root@db-a, or {engine: ssh://root@db-a, address: 10.0.2.9}"

HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})"

URL = re.compile(rf"{SCHEME}(?:[A-Za-z_][A-Za-z0-9_.-]*@)?(?P<host>{HOST}?)(?::(?P<port>[1-9][0-9]{{0,4}}))?")

NODES_A_MACHINE = 1
"""Postgres nodes: each listens at 5432 of its machine."""


@dataclass(frozen=True)
class Machine:
    """A machine with a container engine."""

    name: str
    """of its folder in `build/<project>/`, and for people"""
    engine: str
    """`ssh://root@db-a`"""
    address: str
    """where the other machines and clients find it; a name until `render` has looked it up"""


def as_given(value: Any) -> dict[str, str]:
    """An entry of the setting: a URL, or a table with one. Raises ValueError."""
    if isinstance(value, str):
        return {"engine": value.strip()}
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not {EXAMPLE}")
    unknown = sorted(str(key) for key in value if key not in ("engine", "address"))
    if unknown:
        raise ValueError(f"there is no {unknown[0]}, only engine and address")
    if not value.get("engine"):
        raise ValueError("the engine is missing, such as ssh://root@db-a")
    return {str(key): str(entry).strip() for key, entry in value.items() if entry is not None}


def machines_of(
    given: Mapping[str, Mapping[str, str]], looked_up: Mapping[str, str] | None = None
) -> dict[str, Machine]:
    """Site -> its machine; sites of one engine have the same one. Of an engine's entries one may give the address;
    `looked_up` has those of engines that are named."""
    addresses = {entry["engine"]: entry["address"] for entry in given.values() if entry.get("address")}
    found = {}
    for site, entry in given.items():
        engine = entry["engine"]
        name = _name(engine)
        found[site] = Machine(name, engine, (looked_up or {}).get(engine) or addresses.get(engine) or _host(engine))
    return found


def site_names(settings: Settings) -> list[str]:
    """The sites of these settings, by name: data centers, witness, the repository's."""
    return [
        *(f"dc{n}" for n in range(1, settings.data_centers + 1)),
        *(["witness"] if settings.data_centers == 2 else []),
        *(["backup"] if settings.pgbackrest else []),
    ]


def wrong_machines(s: Settings) -> Iterator[str]:
    """Every site has a machine, and each machine one name."""
    given = s.machines
    if not given:
        return
    for site, entry in given.items():
        if not entry["engine"].startswith(SCHEME):
            yield f"machines: {site}: {entry['engine']!r} does not begin with {SCHEME}"
        elif not _is_url(entry["engine"]):
            yield f"machines: {site}: {entry['engine']!r} is not a URL such as ssh://root@db-a or ssh://root@db-a:2222"
        elif not re.fullmatch(HOST, entry.get("address") or "x1"):
            yield f"machines: {site}: {entry['address']!r} is neither an IPv4 address nor a host name"
    if all(_is_url(entry["engine"]) for entry in given.values()):
        yield from _wrong_sites(s)
        yield from _one_twice(given)
    if s.postgres_port != POSTGRES:
        yield f"machines: postgres_port {s.postgres_port}: on a machine Postgres has {POSTGRES}, its usual port"
    if not s.tls:
        yield "machines: with tls off anybody between the machines could read and change etcd: leave tls on"
    if s.monitoring:
        yield "machines: monitoring is not there yet on several machines: leave it off"


def _wrong_sites(s: Settings) -> Iterator[str]:
    sites, placed = site_names(s), machines_of(s.machines)
    for site in placed:
        if site not in sites:
            yield f"machines: {site} is no site of this shape; there are {', '.join(sites)}"
    missing = [site for site in sites if site not in placed]
    if missing:
        yield f"machines: {named(missing, 'has', 'have')} no machine: every site is named, or none"
    for machine in dict.fromkeys(placed.values()):
        nodes = s.nodes * sum(held == machine and site.startswith("dc") for site, held in placed.items())
        if nodes > NODES_A_MACHINE:
            yield (
                f"machines: {nodes} Postgres nodes would be on {machine.name}: there is room for {NODES_A_MACHINE} a "
                "machine, at its port 5432"
            )


def _one_twice(given: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """A machine with two engines, or an engine with two addresses."""
    addresses: dict[str, str] = {}
    for site, entry in given.items():
        address, engine = entry.get("address", ""), entry["engine"]
        if address and addresses.setdefault(engine, address) != address:
            yield f"machines: {site}: {engine} has two addresses, {addresses[engine]} and {address}"
    engines: dict[str, str] = {}
    for site, machine in machines_of(given).items():
        known = engines.setdefault(machine.address.lower(), machine.engine)
        if known != machine.engine:
            yield (
                f"machines: {site}: {known} and {machine.engine} have one address, {machine.address}: the same machine "
                "under two names"
            )


def destination(machine: Machine) -> tuple[str, str]:
    """What ssh takes: `root@db-a`, and the port, or nothing."""
    rest = machine.engine.removeprefix(SCHEME)
    place, _, port = rest.partition(":")
    return place, port


def _is_url(engine: str) -> bool:
    found = URL.fullmatch(engine)
    return found is not None and int(found["port"] or 1) <= 65535


def _host(engine: str) -> str:
    found = URL.fullmatch(engine)
    return found["host"] if found else ""


def _name(engine: str) -> str:
    found = URL.fullmatch(engine)
    if found is None:
        return engine
    return f"{found['host']}-{found['port']}" if found["port"] else found["host"]
