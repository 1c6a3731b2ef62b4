"""The project's images on the engines of its machines: built here once, and brought there as they are."""

from __future__ import annotations

from collections.abc import Iterable

from pgha.console import Progress
from pgha.errors import ToolFailed
from pgha.project.project import Project
from pgha.remote import shell
from pgha.remote.engines import HERE, Engine, at_once, engines
from pgha.stack.images import image_names
from pgha.tools import archives, docker


def ship_images(project: Project, progress: Progress) -> list[str]:
    """Bring the images to every machine that has not the same ones; returns these machines. No registry is needed.

    Raises ToolFailed, MachineUnreachable.
    """
    if not project.topology.machines:
        return []
    names = image_names(project)
    wanted = _ids(HERE, names)
    behind = [engine for engine, held in zip(engines(project), at_once(engines(project), lambda e: _ids(e, names)),
                                             strict=True) if held != wanted]  # fmt: skip
    for engine in behind:
        machine = engine.machine.name if engine.machine else ""
        with progress.stage(f"bring the images to {machine}"):
            _bring(engine, names, machine)
    return [engine.machine.name for engine in behind if engine.machine]


def _ids(engine: Engine, names: Iterable[str]) -> list[str]:
    """The ids of these images on an engine, nothing for one it has not."""
    return [engine.run(docker.image_exists(name)).stdout.strip() for name in names]


def _bring(engine: Engine, names: Iterable[str], machine: str) -> None:
    answer = shell.pipe(archives.save(tuple(names)), archives.load(), engine.environment)
    if not answer.ok:
        raise ToolFailed(f"The images could not be brought to {machine}", answer.words)
