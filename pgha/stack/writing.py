"""The project's files: rendered and written, with ports and addresses chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from pgha.errors import Damaged
from pgha.model.topology import MONITORING
from pgha.project import subnets
from pgha.project.certificates import ensure_certificates
from pgha.project.files import write_file
from pgha.project.keys import containers_key, ensure_keys
from pgha.project.passwords import Passwords, write_passwords
from pgha.project.ports import LOOPBACK, Ports, can_bind, choose_ports, reserved_by_others
from pgha.project.project import Project
from pgha.project.record import Record
from pgha.project.running import kept_ports
from pgha.remote import engine, networks
from pgha.stack import transport
from pgha.stack.fit import fitting_passwords
from pgha.stack.rendering import render, secrets_of

PASSWORD_FILES = ("pgpass", "patroni.conf")
"""Those that hold a password of ROTATED."""

NOTIFY_FILE = f"{MONITORING}/notify_url"


@dataclass(frozen=True)
class RenderReport:
    """What `render` did: which files changed, and which ports and addresses something else had."""

    changed: tuple[str, ...]
    ports: Ports
    moved: tuple[str, ...]
    """What was taken: `port taken, the next free one is used: pg1-node1 postgres 50551 -> 50557`"""
    block: IPv4Network
    """where the containers' addresses are from"""
    services: dict[str, Any]
    """host name -> its container, as the compose file defines it"""


@dataclass(frozen=True)
class _Placed:
    """Ports and addresses, chosen and not written down yet."""

    block: IPv4Network
    ports: Ports
    moved: tuple[str, ...]


def render_project(project: Project, *, at_once: bool = False) -> RenderReport:
    """Write every file of the project that changed. The caller holds the lock; with `at_once` it makes all containers
    again together.

    Raises, before anything is written, OtherData when the settings do not fit the data that is there, SubnetTaken when
    there are no addresses for the containers, and OtherTransport unless `at_once` when those that run speak otherwise:
    one that is started again would take the new files.
    """
    if not at_once:
        transport.require_same(project)
    passwords = fitting_passwords(project)
    placed = _place(project)
    ensure_keys(project)
    write_passwords(project, passwords)
    first = project.settings.first_ports
    known = project.record()
    freed = _freed(known, placed.ports)
    project.write_record(
        replace(
            known,
            flags=project.flags,
            ports=placed.ports,
            freed=freed,
            first=first,
            subnet=str(placed.block),
            addresses=dict(project.addresses),
        )
    )
    # They name the addresses.
    ensure_certificates(project)
    rendered = render(project, passwords, placed.ports, placed.block)
    if NOTIFY_FILE not in rendered.files:
        # Nobody is told any more, and the URL is a secret.
        (project.folder / NOTIFY_FILE).unlink(missing_ok=True)
    changed = tuple(
        path
        for path, content in rendered.files.items()
        if write_file(project.folder / path, content, rendered.mode(path))
    )
    return RenderReport(changed, placed.ports, placed.moved, placed.block, rendered.services)


def preview_project(project: Project) -> RenderReport:
    """What `render_project` would come to; nothing is written, and no file is said to have changed.

    Raises as that does, and Damaged when a key or certificate would have to be made first.
    """
    passwords = fitting_passwords(project)
    placed = _place(project)
    for path in _identities(project):
        if not path.exists():
            raise Damaged(f"{project.relative(path)} is missing", "inv keys makes it, or inv up")
    services = render(project, passwords, placed.ports, placed.block).services
    return RenderReport((), placed.ports, placed.moved, placed.block, services)


def files_with(project: Project, passwords: Passwords, names: tuple[str, ...] = PASSWORD_FILES) -> dict[str, str]:
    """The rendered files of these names, those that hold a password of ROTATED, as they are with these: relative
    path -> text."""
    placed = _place(project)
    files = render(project, passwords, placed.ports, placed.block).files
    return {path: text for path, text in files.items() if path.rsplit("/", 1)[-1] in names}


def _identities(project: Project) -> list[Path]:
    """What `render` reads: the keys and certificates."""
    given = [path for host in project.topology.hosts for path in secrets_of(project, host).values()]
    paths = [(project.folder / path).resolve() for path in given if not path.startswith("./")]
    users = (project.identity_file, containers_key(project))
    return [*paths, *(path.with_name(path.name + ".pub") for path in users)]


def _place(project: Project) -> _Placed:
    known = project.record().subnet
    block = subnets.choose_block(project, known, subnets.reserved_by_others(project), networks.taken(project))
    own = _own_ports(project)
    reserved = reserved_by_others(project)
    addresses = {project.settings.publish_address, *((LOOPBACK,) if project.topology.monitoring else ())}

    def is_free(port: int) -> bool:
        return port in own or (port not in reserved and all(can_bind(address, port) for address in addresses))

    recorded = _with_freed(project, kept_ports(project))
    ports = choose_ports(project.settings, project.topology, recorded, is_free)
    moved = [f"port taken, the next free one is used: {line}" for line in _moved(project, recorded, ports)]
    if known and not project.settings.subnet and str(block) != known:
        moved.append(f"addresses taken, a block that is free is used: {known} -> {block}")
    return _Placed(block, ports, tuple(moved))


def _with_freed(project: Project, recorded: Ports) -> Ports:
    """With the ports that hosts had which went and come back; not those that were chosen from other first ones."""
    record, first = project.record(), project.settings.first_ports
    freed = {kind: record.freed.get(kind, {}) for kind in recorded if record.first.get(kind) == first[kind]}
    return {
        kind: {h: port for h, port in freed.get(kind, {}).items() if project.topology.host(h)} | ports
        for kind, ports in recorded.items()
    }


def _freed(known: Record, chosen: Ports) -> Ports:
    """The ports of hosts that are none of the project now."""
    kinds = {kind: {**known.freed.get(kind, {}), **known.ports.get(kind, {})} for kind in chosen}
    return {kind: {h: port for h, port in had.items() if h not in chosen[kind]} for kind, had in kinds.items()}


def _own_ports(project: Project) -> set[int]:
    """Ports this project's running containers publish: taken, but by ourselves. Those of a host that a scale removes
    are free when it is gone, and not before."""
    if engine.engine_problem(project) is not None:
        return set()
    return {
        port
        for container in engine.containers(project).values()
        if container.state in ("running", "paused", "restarting") and project.topology.host(container.service)
        for port in container.published
    }


def _moved(project: Project, recorded: Ports, chosen: Ports) -> list[str]:
    """Hosts whose port is not the recorded one, or not the settings' one when there is no record."""
    moved: list[str] = []
    if project.topology.machines:
        # Nobody looks for a free one there.
        return moved
    first = project.settings.first_ports
    for kind, entries in chosen.items():
        for index, (host, port) in enumerate(entries.items()):
            wished = recorded.get(kind, {}).get(host, first[kind] + index)
            if wished != port:
                moved.append(f"{host} {kind} {wished} -> {port}")
    return moved
