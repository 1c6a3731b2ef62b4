"""Where each host's data is: it is never started on another machine, with an empty volume."""

from __future__ import annotations

from collections.abc import Iterable

from pgha.errors import OtherData
from pgha.project.project import Project
from pgha.project.running import as_it_runs
from pgha.remote import readiness
from pgha.remote.engine import HERE, Engine, Volume
from pgha.tools import docker

HELP = 'docs/machines.md, "Moving"'


def require_places(project: Project, volumes: Iterable[Volume]) -> None:
    """Raises OtherData when a host has a volume elsewhere than the settings place it, or had another machine at the
    last `up`."""
    for volume in volumes:
        host = project.whole.host(volume.name.removeprefix(f"{project.name}_"))
        if host and Engine(host.machine) != volume.engine:
            raise _moved(project, host.name, _place(volume.engine))
    ran = as_it_runs(project)
    for before in ran.whole.hosts if ran.running else ():
        now = project.whole.host(before.name)
        if now and (now.machine and now.machine.engine) != (before.machine and before.machine.engine):
            raise _moved(project, now.name, _place(Engine(before.machine)))
    if project.whole.machines and readiness.engine_problem() is None:
        left = HERE.must(docker.volumes(project.name)).stdout.split()
        if left:
            raise _moved(project, left[0].removeprefix(f"{project.name}_"), _place(HERE))


def _place(engine: Engine) -> str:
    return engine.machine.name if engine.machine else "this host"


def _moved(project: Project, host: str, place: str) -> OtherData:
    return OtherData(
        f"{host} of project {project.name} has its data on {place}, and the settings place it elsewhere",
        f"put the setting machines back as it was; {HELP}",
    )
