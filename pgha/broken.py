"""What chaos broke and nobody healed yet: written down before it is broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from pgha import ROOT
from pgha.errors import Missing
from pgha.project import Project, write_file

FILE = "broken.yaml"


@dataclass(frozen=True)
class Broken:
    """One thing that is broken, with all that is needed to undo it."""

    mechanism: str
    """`stop`, `kill`, `pause`, `partition`, `delay` or `fill`."""
    host: str
    process: str = ""
    sites: tuple[str, ...] = ()
    """The sites a partition or delay lies between: the host's own, then the others."""
    milliseconds: int = 0

    @property
    def is_container(self) -> bool:
        """Whether the container itself was stopped, killed or paused."""
        return not self.process and self.mechanism in ("stop", "kill", "pause")

    def __str__(self) -> str:
        if self.mechanism == "partition":
            return f"{self.host} is cut off from {', '.join(self.sites[1:])}"
        if self.mechanism == "delay":
            return f"{self.host} sends {self.milliseconds} ms late"
        if self.mechanism == "fill":
            return f"the disk of {self.host} is full"
        done = {"stop": "stopped", "kill": "killed", "pause": "paused"}[self.mechanism]
        return f"{self.process} on {self.host} is {done}" if self.process else f"{self.host} is {done}"


def path_of(project: Project) -> Path:
    return project.folder / FILE


def read(project: Project) -> tuple[Broken, ...]:
    """What is broken, the oldest first. Raises Missing when the record is damaged."""
    path = path_of(project)
    try:
        entries = yaml.safe_load(path.read_text()) if path.exists() else []
        return tuple(_entry(entry) for entry in entries or [])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        name = path.relative_to(ROOT)
        raise Missing(
            f"{name} is damaged ({type(error).__name__}); it says what chaos broke",
            f"rm {name}, then inv down up: every container is made anew, unbroken",
        ) from None


def _entry(entry: dict[str, Any]) -> Broken:
    return Broken(
        mechanism=str(entry["mechanism"]),
        host=str(entry["host"]),
        process=str(entry["process"]),
        sites=tuple(str(site) for site in entry["sites"]),
        milliseconds=int(entry["milliseconds"]),
    )


def add(project: Project, entries: Iterable[Broken]) -> None:
    """Write down what is about to be broken."""
    known = read(project)
    _write(project, [*known, *(entry for entry in entries if entry not in known)])


def remove(project: Project, entries: Iterable[Broken]) -> None:
    """Forget what is healed."""
    healed = set(entries)
    _write(project, [entry for entry in read(project) if entry not in healed])


def clear(project: Project) -> None:
    """Forget everything: the containers are gone, and what is made anew is unbroken."""
    path_of(project).unlink(missing_ok=True)


def _write(project: Project, entries: list[Broken]) -> None:
    if not entries:
        clear(project)
        return
    documents = [{**asdict(entry), "sites": list(entry.sites)} for entry in entries]
    write_file(path_of(project), yaml.safe_dump(documents))
