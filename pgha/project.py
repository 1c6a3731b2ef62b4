"""One project: its settings, its folder under build/, its record of choices, and its lock."""

from __future__ import annotations

import fcntl
import getpass
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pgha import ROOT
from pgha.errors import BadSettings, Missing
from pgha.settings import Settings, read_settings
from pgha.topology import Topology, build_topology

BUILD = ROOT / "build"
SSH = ROOT / "ssh"
RECORD = "project.yaml"


@dataclass(frozen=True)
class Record:
    """What a project remembers between two commands: the flags of `render`, and the ports it was given."""

    flags: dict[str, str]
    ports: dict[str, dict[str, int]]
    first: dict[str, int] = field(default_factory=dict)
    """The settings' first ports when these ports were chosen: with others they are chosen anew."""
    scheduled: bool = False
    """Whether cron runs the schedule in the containers."""


@dataclass(frozen=True)
class Project:
    """A project as the commands see it."""

    settings: Settings
    flags: dict[str, str]

    @property
    def name(self) -> str:
        return self.settings.project

    @property
    def folder(self) -> Path:
        return folder_of(self.name)

    @property
    def keys_folder(self) -> Path:
        return SSH / self.name

    @property
    def compose_file(self) -> Path:
        return self.folder / "compose.yaml"

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

    @cached_property
    def topology(self) -> Topology:
        return build_topology(self.settings)

    @property
    def rendered(self) -> bool:
        return self.compose_file.exists()

    def container(self, host: str) -> str:
        """The container's name of a host."""
        return f"{self.name}-{host}"

    def record(self) -> Record:
        """Raises Missing when the record cannot be read."""
        return read_record(self.name)

    def write_record(self, record: Record) -> None:
        write_file(self.folder / RECORD, yaml.safe_dump(asdict(record)))

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Keep two changing commands apart. Raises Missing and says who holds the lock.

        The lock is the kernel's: it is gone with its process, however that ended.
        """
        BUILD.mkdir(exist_ok=True)
        with (BUILD / f"{self.name}.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another command"
                raise Missing(
                    f"Project {self.name} is being changed by {holder}", "wait for it to end, or end it"
                ) from None
            file.truncate(0)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"`inv {command}` of {_user()}, process {os.getpid()}, since {now}")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def forget(self, keep: tuple[str, ...] = ()) -> None:
        """Remove every rendered file but these."""
        if not self.folder.exists():
            return
        if not keep:
            shutil.rmtree(self.folder)
            return
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in keep:
                path.unlink()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def folder_of(name: str) -> Path:
    return BUILD / name


def read_record(name: str) -> Record:
    """The record of a project; empty when there is none. Raises Missing when it is damaged."""
    path = folder_of(name) / RECORD
    try:
        document = yaml.safe_load(path.read_text()) if path.exists() else asdict(Record({}, {}))
        flags = {str(k): str(v) for k, v in document["flags"].items()}
        ports = {
            str(kind): {str(host): int(port) for host, port in entries.items()}
            for kind, entries in document["ports"].items()
        }
        first = {str(kind): int(port) for kind, port in document["first"].items()}
        scheduled = bool(document.get("scheduled", False))
    except (
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise Missing(
            f"{path.relative_to(ROOT)} is damaged ({type(error).__name__}); it holds the flags of `inv render` "
            "and the ports",
            f"rm {path.relative_to(ROOT)}, then `inv render` with the flags used before",
        ) from None
    return Record(flags, ports, first, scheduled)


def open_project(layers: list[Mapping[str, Any]], flags: Mapping[str, str] | None = None) -> Project:
    """The project these settings describe.

    Without flags the ones of the last `inv render` hold. Raises BadSettings, Missing for a damaged record.
    """
    name = _project_name(layers)
    chosen = dict(flags) if flags is not None else read_record(name).flags
    return Project(read_settings(*layers, chosen), chosen)


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


def other_projects(name: str) -> list[str]:
    """Projects rendered beside this one."""
    return sorted(p.parent.name for p in BUILD.glob(f"*/{RECORD}") if p.parent.name != name)


def write_file(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write when it differs, whole or not at all; returns whether it was written.

    A file with secrets is never readable for others, not even for a moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == content.encode() and path.stat().st_mode & 0o777 == mode:
        return False
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(mode)
    temporary.replace(path)
    return True
