"""Upgrades as drills: other images, and back; and another major, from where there is no way back."""

from __future__ import annotations

import time
from dataclasses import replace

from pgha.drills.scenario import GOES_ON, Scenario, nodes
from pgha.drills.scene import Scene
from pgha.errors import BadValue, ToolFailed
from pgha.model.releases import MAJORS
from pgha.model.settings import Settings
from pgha.project.project import Project
from pgha.project.upgrade_record import Record
from pgha.remote import engine
from pgha.remote.engine import HERE
from pgha.stack import lifecycle
from pgha.stack.images import IMAGES, image_names
from pgha.tools import docker
from pgha.upgrade import gates, major

TAG = "drill"
"""What the tags of a drill's images end with."""


# The newest packages ----------------------------------------------------------------------------------------


def _with_drill_images(project: Project) -> Project:
    own = "-".join(filter(None, (project.settings.image_tag, TAG)))
    return replace(project, settings=replace(project.settings, image_tag=own))


def runs_drill_images(project: Project) -> bool:
    """Whether a container still runs an image of a drill."""
    return any(container.image.endswith(f"-{TAG}") for container in engine.containers(project).values())


def _build(scene: Scene) -> None:
    """Images that hold the same and are others. Their names are a drill's own: no other checkout's `up` rolls them out.

    Raises ToolFailed.
    """
    project = scene.as_settings_say
    own, others = image_names(project), image_names(_with_drill_images(project))
    with scene.progress.stage(f"build {', '.join(others)}"):
        for image, name in zip(own, others, strict=True):
            answer = HERE.run(docker.build(IMAGES / "drill", [name], {"IMAGE": image}))
            if not answer.ok:
                raise ToolFailed(f"Building {name} failed", answer.words)


def _roll_out(scene: Scene) -> None:
    lifecycle.up(_with_drill_images(scene.as_settings_say), scene.progress)


def _roll_back(scene: Scene) -> None:
    lifecycle.up(scene.as_settings_say, scene.progress)
    HERE.run(docker.remove_images(image_names(_with_drill_images(scene.as_settings_say))))


# Another major ----------------------------------------------------------------------------------------------


def _next_major(settings: Settings) -> int | None:
    return next((number for number in MAJORS if number > settings.postgres), None)


def newer_major(settings: Settings) -> str:
    """A major that is newer than the cluster's."""
    return "" if _next_major(settings) else f"takes an older major than {MAJORS[-1]}, the newest one"


def _check(scene: Scene) -> gates.Checked:
    wanted = _next_major(scene.project.settings)
    checked = gates.check(scene.as_settings_say, wanted, drop_slots=False) if wanted else None
    if checked is None:
        raise BadValue(f"upgrade-major {newer_major(scene.project.settings)}", "inv drill.list")
    return checked


def _prepare(scene: Scene) -> None:
    """Images take minutes to build; that is no part of the upgrade."""
    checked = _check(scene)
    record = Record(checked.old, checked.new, time.time(), checked.leader, dict(checked.runs.flags))
    major.prepare_images(checked, record, scene.progress)


def _upgrade(scene: Scene) -> None:
    major.upgrade(_check(scene), scene.progress)


def _keep(scene: Scene) -> None:
    """There is nothing to give back, and no way."""
    scene.progress.note(
        f"the cluster is of another major from now on: set postgres: {_next_major(scene.project.settings)}"
    )


UPGRADES = (
    Scenario("upgrade-minor", "nothing: every container gets another image, one after another, then its own again",
             GOES_ON, "drill_gap_planned", _roll_out, prepare=_build, mend=_roll_back, needs=nodes(2)),
    Scenario("upgrade-major", "PostgreSQL: pg_upgrade to the next major", "writes come back, on the new one",
             "drill_gap_upgrade", _upgrade, prepare=_prepare, mend=_keep, needs_settings=newer_major, new_history=True,
             one_machine=True, only_by_name="cannot be taken back: inv drill --name upgrade-major"),
)  # fmt: skip
