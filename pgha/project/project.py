"""One project: its settings, its folder under build/, its record of choices, and its lock."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pgha import ROOT
from pgha.errors import BadSettings
from pgha.model.machines import Machine
from pgha.model.settings import Settings, read_settings
from pgha.model.topology import Topology, build_topology
from pgha.project.addresses import machine_addresses
from pgha.project.files import write_file
from pgha.project.lock import held
from pgha.project.record import RECORD, Record, folder_of, read_record

SECRETS = "secrets.json"
"""Host -> its secrets: name in the container -> path here, relative to the project's folder. Only with machines, whose
engines do not find these files themselves."""


@dataclass(frozen=True)
class Running:
    """What runs, where it is not what the settings and the rendered files say."""

    ports: dict[str, dict[str, int]]
    differs: Mapping[str, str]
    """setting -> in words how it differs"""


@dataclass(frozen=True)
class Project:
    """A project as the commands see it."""

    settings: Settings
    flags: dict[str, str]
    root: Path = ROOT
    """the checkout: build/, ssh/ and tls/ stand there"""
    running: Running | None = None
    """None: as the settings say"""
    gone: tuple[str, ...] = ()
    """hosts that `inv recover` has given up"""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """engine -> address of its machine, where the settings give a name"""

    @property
    def name(self) -> str:
        return self.settings.project

    @property
    def folder(self) -> Path:
        return folder_of(self.root, self.name)

    @property
    def keys_folder(self) -> Path:
        return self.root / "ssh" / self.name

    @property
    def certificates_folder(self) -> Path:
        return self.root / "tls" / self.name

    def relative_compose_file(self, machine: Machine | None) -> str:
        """Relative to the project's folder: of a machine, or of this host."""
        return f"{machine.name}/compose.yaml" if machine else "compose.yaml"

    def compose_file(self, machine: Machine | None = None) -> Path:
        return self.folder / self.relative_compose_file(machine)

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.keys_folder / "known_hosts"

    @property
    def identity_file(self) -> Path:
        return self.keys_folder / "id_ed25519"

    @property
    def pgpass(self) -> Path:
        return self.folder / "pgpass"

    @property
    def role_pgpass(self) -> Path:
        """The passfile of the roles of `inv database`; only for this host."""
        return self.folder / "roles.pgpass"

    @property
    def reports(self) -> Path:
        """The drills' reports."""
        return self.folder / "drills"

    @cached_property
    def topology(self) -> Topology:
        """What there is, or shall be; without the hosts that were given up."""
        return self.whole.without(self.gone)

    @cached_property
    def whole(self) -> Topology:
        """What the settings say, those among it that were given up."""
        return build_topology(self.settings, addresses=self.addresses)

    @property
    def rendered(self) -> bool:
        return all(self.compose_file(machine).exists() for machine in self.topology.machines or (None,))

    @property
    def ports(self) -> dict[str, dict[str, int]]:
        """Kind (`postgres`, `ssh`) -> host -> published port. Raises Missing when the record cannot be read."""
        return self.running.ports if self.running else self.record().ports

    def container(self, host: str) -> str:
        """The container's name of a host."""
        return f"{self.name}-{host}"

    def record(self) -> Record:
        """Raises Missing when the record cannot be read."""
        return read_record(self.root, self.name)

    def write_record(self, record: Record) -> None:
        document = {**asdict(record), "taken": list(record.taken), "gone": list(record.gone)}
        write_file(self.folder / RECORD, yaml.safe_dump(document))

    def lock(self, command: str) -> AbstractContextManager[None]:
        """Let one changing command at a time work. Raises Missing and says who holds the lock."""
        return held(self.folder.with_suffix(".lock"), self.name, command)

    def relative(self, path: Path) -> str:
        """A path of this checkout, for people."""
        return str(path.relative_to(self.root))

    def forget(self, keep: tuple[str, ...] = ()) -> bool:
        """Remove every rendered file but these, and not the drills' reports: they tell what was proven. Returns whether
        there was one."""
        rendered = [path for path in self.folder.glob("*") if path.name not in keep and path != self.reports]
        for path in rendered:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        # It is not empty where something is kept.
        with suppress(OSError):
            self.folder.rmdir()
        return bool(rendered)


def open_project(layers: list[Mapping[str, Any]], flags: Mapping[str, str] | None = None, root: Path = ROOT) -> Project:
    """The project these settings describe.

    Without flags the ones of the last `inv render` hold. Raises BadSettings, Missing for a damaged record.
    """
    name = _project_name(layers)
    record = read_record(root, name)
    chosen = dict(flags) if flags is not None else record.flags
    settings = read_settings(*layers, chosen)
    addresses = machine_addresses(settings, record.addresses)
    return Project(settings, chosen, root, gone=record.gone, addresses=addresses)


def _project_name(layers: list[Mapping[str, Any]]) -> str:
    """The name alone, before all else is checked: the record of that project holds more settings."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    only = {"project": merged["project"]} if "project" in merged else {}
    try:
        return read_settings(only).project
    except BadSettings:
        read_settings(*layers)
        raise
