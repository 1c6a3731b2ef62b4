"""What a drill changes on purpose: the cluster's shape, given back afterwards, and what it left half done."""

from __future__ import annotations

from dataclasses import replace

from pgha.cluster.rollout_record import forget_rollout, read_rollout
from pgha.console import Progress
from pgha.drills.upgrades import runs_drill_images
from pgha.project.project import Project
from pgha.project.running import as_it_runs
from pgha.project.upgrade_record import read_upgrade
from pgha.recover.record import read_recovery
from pgha.recover.recovering import resume
from pgha.stack import lifecycle, reshaping, scaling
from pgha.stack.fit import shape_flags
from pgha.upgrade import major


def scale_to(project: Project, data_centers: int, nodes: int, progress: Progress) -> None:
    """`inv scale`. Raises as that does."""
    now = replace(project, running=None, gone=project.record().gone)
    checked = scaling.check(now, str(data_centers), str(nodes))
    reshaping.scale(checked, progress)


def is_changed(project: Project) -> bool:
    """Whether the cluster has another shape than this project, or is on its way to one."""
    runs = as_it_runs(replace(project, running=None))
    record = project.record()
    return bool(record.scaling or record.gone) or shape_flags(runs) != shape_flags(project)


def give_back(project: Project, progress: Progress) -> None:
    """Give the cluster the shape of this project again, whatever a drill has begun. Raises as `inv scale` does."""
    if not is_changed(project):
        return
    scale_to(project, project.settings.data_centers, project.settings.nodes, progress)
    # The flags of `inv render` are the operator's, not the drill's.
    project.write_record(replace(project.record(), flags=project.flags))


def complete(project: Project, progress: Progress) -> None:
    """Bring a change that was interrupted to its end: a rollout or a replacement by `up`, and the shape as it was."""
    half_recovered = read_recovery(project)
    if half_recovered:
        resume(replace(project, running=None), half_recovered, progress)
    half_upgraded = read_upgrade(project)
    if half_upgraded:
        major.resume(replace(project, running=None), half_upgraded, progress)
    begun = read_rollout(project) or project.record().replacing or runs_drill_images(project)
    if not project.record().scaling and begun:
        lifecycle.up(replace(project, running=None), progress)
        # A Postgres that was not restarted in a drill does not have to be.
        forget_rollout(project)
    give_back(project, progress)
