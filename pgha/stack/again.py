"""Every container made again, one after another, as `up` does it when all images are others."""

from __future__ import annotations

from dataclasses import replace

from pgha.cluster.rolling import Rolled
from pgha.cluster.rollout_record import forget_rollout
from pgha.console import Progress
from pgha.errors import Unhealthy
from pgha.project.project import Project
from pgha.remote import connections, engine
from pgha.remote.readiness import compose_version
from pgha.stack import rolling, rollout
from pgha.stack.images import require_images
from pgha.stack.shipping import ship_images
from pgha.stack.writing import render_project


def make_every_again(project: Project, because: str, progress: Progress) -> Rolled:
    """Make every container again by the rendered files, one after another. The caller holds the lock.

    `project` is as the settings say. Interrupted, `up` completes it. Raises Unhealthy where one after another cannot
    be, what the gates refuse with, and TimedOut at the first that does not come back.
    """
    engine.require_engine(project)
    require_images(project)
    ship_images(project, progress)
    report = render_project(project)
    hosts = tuple(report.services)
    planned = rollout.plan(project, report.services, report.block, compose_version)
    way = rolling.choose_way(
        project, replace(planned, again={**dict.fromkeys(hosts, because), **planned.again}, interrupted=hosts),
        at_once=False,
    )  # fmt: skip
    if way.at_once:
        raise Unhealthy(f"The containers cannot be made again one after another: {way.at_once}", "inv up --plan")
    for line in rolling.plan_of(project, way).describe():
        progress.note(line)
    rolled = rolling.roll_out(project, way, progress)
    connections.close_all()
    forget_rollout(project, rolling.VERB)
    return rolled
