"""Hosts that were stopped on purpose: written down before they are, so that nobody takes them for a failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged
from pgha.project.files import write_file
from pgha.project.project import Project

FILE = "maintenance.yaml"


@dataclass(frozen=True)
class Stopped:
    """A host that an operator stopped."""

    host: str
    started: str
    """When its container had been started last, as the engine says it: with another time it was started since."""
    since: int
    """seconds since 1970"""

    def is_over(self, started: str) -> bool:
        """Whether its container was started since, by whomever."""
        return started != self.started


def path_of(project: Project) -> Path:
    return project.folder / FILE


def read(project: Project) -> tuple[Stopped, ...]:
    """Who was stopped, in the order of that. Raises Damaged when the record cannot be read."""
    path = path_of(project)
    try:
        entries = read_yaml(path.read_text()) if path.exists() else []
        return tuple(Stopped(str(e["host"]), str(e["started"]), int(e["since"])) for e in entries or [])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        name = project.relative(path)
        raise Damaged(
            f"{name} is damaged ({type(error).__name__}); it says which hosts were stopped for maintenance",
            f"rm {name}, then inv start starts every host that does not run",
        ) from None


def still(project: Project, started: Mapping[str, str]) -> tuple[Stopped, ...]:
    """Those whose containers were not started since; `started` is host -> when, of the containers that are there.

    A container that was made anew, or is gone, was not stopped by anybody.
    """
    return tuple(e for e in read(project) if e.host in started and not e.is_over(started[e.host]))


def add(project: Project, entries: Iterable[Stopped]) -> None:
    """Write down who is about to be stopped; what is known of the same host is replaced."""
    new = list(entries)
    names = {entry.host for entry in new}
    _write(project, [*(entry for entry in read(project) if entry.host not in names), *new])


def remove(project: Project, hosts: Iterable[str]) -> None:
    """These hosts run again, or are gone."""
    names = set(hosts)
    _write(project, [entry for entry in read(project) if entry.host not in names])


def clear(project: Project) -> None:
    """No host is in maintenance any more."""
    path_of(project).unlink(missing_ok=True)


def _write(project: Project, entries: list[Stopped]) -> None:
    if not entries:
        clear(project)
        return
    write_file(path_of(project), yaml.safe_dump([asdict(entry) for entry in entries]))
