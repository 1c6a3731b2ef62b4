"""What chaos broke and nobody healed yet: written down before it is broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged, Unhealthy
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.remote import engine
from pgha.tools import docker

FILE = "broken.yaml"


class Mechanism(StrEnum):
    """How a thing is broken."""

    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    PARTITION = "partition"
    DELAY = "delay"
    FILL = "fill"


@dataclass(frozen=True)
class Broken:
    """One thing that is broken, with all that is needed to undo it."""

    mechanism: Mechanism
    host: str
    process: str = ""
    sites: tuple[str, ...] = ()
    """What a partition or delay lies between: the host's own site, then the other sites, or single hosts."""
    milliseconds: int = 0
    started: str = field(default="", compare=False)
    """When its container had been started last; as the engine says it."""

    @property
    def is_container(self) -> bool:
        """Whether the container itself was stopped, killed or paused."""
        return not self.process and self.mechanism in (Mechanism.STOP, Mechanism.KILL, Mechanism.PAUSE)

    def is_restarted(self, state: str, started: str) -> bool:
        """Whether its container, in this state and started then, was started again since."""
        return state == "running" and bool(self.started) and started != self.started

    def is_over(self, state: str, started: str) -> bool:
        """Whether it ended without being healed.

        The network and the processes of a container that is started again are new; one that runs is not paused. A
        small disk leaves something behind, its data.
        """
        if self.is_container and self.mechanism == Mechanism.PAUSE:
            return state == "running"
        return self.mechanism != Mechanism.FILL and self.is_restarted(state, started)

    def __str__(self) -> str:
        if self.mechanism == Mechanism.PARTITION:
            return f"{self.host} is cut off from {', '.join(self.sites[1:])}"
        if self.mechanism == Mechanism.DELAY:
            return f"{self.host} sends {self.milliseconds} ms late"
        if self.mechanism == Mechanism.FILL:
            return f"the disk of {self.host} is full"
        done = {Mechanism.STOP: "stopped", Mechanism.KILL: "killed", Mechanism.PAUSE: "paused"}[self.mechanism]
        return f"{self.process} on {self.host} is {done}" if self.process else f"{self.host} is {done}"


def path_of(project: Project) -> Path:
    return project.folder / FILE


def read(project: Project) -> tuple[Broken, ...]:
    """What is broken, the oldest first. Raises Missing when the record is damaged."""
    path = path_of(project)
    try:
        entries = read_yaml(path.read_text()) if path.exists() else []
        return tuple(_entry(entry) for entry in entries or [])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        name = project.relative(path)
        raise Damaged(
            f"{name} is damaged ({type(error).__name__}); it says what chaos broke",
            f"rm {name}, then inv down up: every container is made again, unbroken",
        ) from None


def _entry(entry: dict[str, Any]) -> Broken:
    return Broken(
        mechanism=Mechanism(entry["mechanism"]),
        host=str(entry["host"]),
        process=str(entry["process"]),
        sites=tuple(str(site) for site in entry["sites"]),
        milliseconds=int(entry["milliseconds"]),
        started=str(entry.get("started", "")),
    )


def add(project: Project, entries: Iterable[Broken]) -> None:
    """Write down what is about to be broken; what is broken once more replaces its older entry."""
    new = list(entries)
    _write(project, [*(entry for entry in read(project) if entry not in new), *new])


def remove(project: Project, entries: Iterable[Broken]) -> None:
    """Forget what is healed."""
    healed = set(entries)
    _write(project, [entry for entry in read(project) if entry not in healed])


def clear(project: Project) -> None:
    """Forget everything: the containers are gone, and the new ones are unbroken."""
    path_of(project).unlink(missing_ok=True)


def still(project: Project, containers: Iterable[docker.Container]) -> list[Broken]:
    """What did not end since it was broken, as these containers tell. Raises Missing when the record is damaged."""
    states = _states(containers)
    return [entry for entry in read(project) if not entry.is_over(*states.get(entry.host, ("", "")))]


def _states(containers: Iterable[docker.Container]) -> dict[str, tuple[str, str]]:
    return {container.service: (container.state, container.started) for container in containers}


@contextmanager
def ended_by_start(project: Project) -> Iterator[None]:
    """Starting containers ends what was done to them, and that is forgotten.

    Raises Missing when the record is damaged, before anything is started; and when a small disk ended with its
    container, after that: Patroni does not start on the older data.
    """
    read(project)
    yield
    containers = engine.containers(project).values()
    left, states = still(project, containers), _states(containers)
    remove(project, [entry for entry in read(project) if entry not in left])
    lost = [entry.host for entry in left if entry.is_restarted(*states.get(entry.host, ("", "")))]
    if lost:
        raise Unhealthy(f"The small disk of {' and '.join(lost)} ended with its container", "inv chaos.heal")


def _write(project: Project, entries: list[Broken]) -> None:
    if not entries:
        clear(project)
        return
    documents = [{**asdict(entry), "mechanism": str(entry.mechanism), "sites": list(entry.sites)} for entry in entries]
    write_file(path_of(project), yaml.safe_dump(documents))
