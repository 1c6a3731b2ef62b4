"""The end of a stack: down keeps its volumes, destroy removes them."""

from __future__ import annotations

from dataclasses import replace

from pgha.cluster.rollout_record import forget_rollout
from pgha.console import Progress
from pgha.failures import broken
from pgha.model.topology import REPOSITORY
from pgha.model.words import counted
from pgha.project import maintenance
from pgha.project.passwords import passwords_file
from pgha.project.project import Project
from pgha.project.record import RECORD
from pgha.remote import engine
from pgha.stack import identities
from pgha.stack.lifecycle import compose


def down(project: Project, progress: Progress) -> None:
    """Remove containers and networks; every volume stays. A clone, which hangs on a network, goes, too.

    Raises Missing when the record of what is broken is damaged.
    """
    engine.require_engine(project)
    # What was done to a container ends with it; the volume of a node that had a small disk still holds older data.
    over = [entry for entry in broken.read(project) if entry.mechanism != "fill"]
    _remove_containers(project, progress)
    broken.remove(project, over)
    forget_rollout(project)
    maintenance.clear(project)


def _remove_containers(project: Project, progress: Progress) -> None:
    engine.remove_clones(project)
    title, failure = "remove containers and networks", "Compose could not take the stack down"
    compose(project, progress, title, failure, "down", "--remove-orphans")


def destroy(project: Project, progress: Progress, *, keep_repository: bool = False) -> list[str]:
    """Remove containers, networks, volumes and rendered files; returns what was removed.

    With `keep_repository` its volume stays, and with it the passwords: the restored data was made with them, and the
    repository is encrypted with one.
    """
    engine.require_engine(project)
    removed = []
    if project.rendered:
        _remove_containers(project, progress)
        broken.clear(project)
    engine.remove_clones(project)
    engine.remove_rest(project)
    kept = f"{project.name}_{REPOSITORY}" if keep_repository else ""
    wanted = [volume for volume in engine.volumes(project) if volume.name != kept]
    if wanted:
        volumes = counted(len(wanted), "volume")
        with progress.stage(f"remove {volumes}"):
            engine.remove_volumes(wanted)
        removed.append(volumes)
    # Nobody has an old key or certificate any more.
    identities.settle(project)
    if keep_repository:
        # The data that had a shape is gone; the repository fits any.
        record = project.record()
        made = {host: held for host, held in record.made.items() if host == REPOSITORY}
        emptied = replace(record, shape="", made=made, scaling={}, replacing="", identities={}, gone=())
        project.write_record(emptied)
    if project.forget(keep=(passwords_file(project).name, RECORD) if keep_repository else ()):
        removed.append("rendered files" if keep_repository else "rendered files and passwords")
    return removed
