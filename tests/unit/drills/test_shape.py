"""The shape a drill changes is given back, whatever came in between; what it left half done is completed."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from pgha.cluster.rollout_record import Record as Rollout
from pgha.cluster.rollout_record import read_rollout, write_rollout
from pgha.console import Progress
from pgha.drills import runner, shape
from pgha.drills.result import Marks, Notes
from pgha.drills.scenarios import BY_NAME
from pgha.drills.scene import as_it_is
from pgha.project.record import Record
from pgha.project.running import as_it_runs
from pgha.project.upgrade_record import Record as Upgrade
from pgha.project.upgrade_record import write_upgrade


@pytest.fixture
def project(make_project):
    return make_project(data_centers=1, nodes=2)


@pytest.fixture
def said(monkeypatch, project):
    """What the cluster is told to do; a scale is remembered as `inv scale` does it."""
    said = []

    def check(asked, data_centers, nodes):
        assert asked.running is None
        return SimpleNamespace(target=replace(asked, settings=replace(asked.settings, nodes=int(nodes))))

    def scale(checked, progress):
        said.append(f"scale to {checked.target.settings.nodes}")
        runs(checked.target)
        project.write_record(replace(project.record(), scaling={}, gone=(), flags={"nodes": "7"}))

    monkeypatch.setattr(shape.scaling, "check", check)
    monkeypatch.setattr(shape.reshaping, "scale", scale)
    monkeypatch.setattr(shape.lifecycle, "up", lambda project, progress: said.append("up"))
    project.write_record(Record({}, {}))
    runs(project)
    return said


@pytest.fixture(autouse=True)
def drill_images(monkeypatch):
    """Whether a container runs an image of a drill."""
    there = []
    monkeypatch.setattr(shape, "runs_drill_images", lambda project: bool(there))
    return there


def runs(project):
    document = {"settings": asdict(project.settings), "ports": {}}
    (project.folder / "running.json").write_text(json.dumps(document))


def test_a_shape_that_nobody_changed_is_left_alone(project, said):
    shape.complete(project, Progress())
    assert said == []


def test_images_of_a_drill_that_are_left_are_rolled_back(project, said, drill_images):
    drill_images.append("pgha-base:trixie-drill")
    shape.complete(project, Progress())
    assert said == ["up"]


def test_a_major_upgrade_that_was_interrupted_is_completed(project, said, monkeypatch):
    write_upgrade(project, Upgrade(17, 18, 1.0, "pg1-node1", {}))
    monkeypatch.setattr(shape.major, "resume", lambda project, record, progress: said.append(f"to {record.new}"))
    shape.complete(project, Progress())
    assert said == ["to 18"]


def test_after_a_major_upgrade_the_project_is_of_the_new_one(project, said):
    begun = as_it_runs(project)
    runs(replace(project, settings=replace(project.settings, postgres=18)))
    assert (begun.settings.postgres, as_it_is(begun).settings.postgres) == (17, 18)


def test_a_shape_is_given_back_with_the_operators_own_flags(project, said):
    shape.scale_to(project, 1, 3, Progress())
    assert shape.is_changed(project)
    shape.give_back(project, Progress())
    assert said == ["scale to 3", "scale to 2"]
    assert not shape.is_changed(project)
    assert project.record().flags == project.flags


def test_a_scale_that_is_half_done_is_taken_back(project, said):
    project.write_record(replace(project.record(), scaling={"data_centers": "1", "nodes": "3"}))
    shape.complete(project, Progress())
    assert said == ["scale to 2"]


def test_hosts_that_were_given_up_are_brought_back(project, said):
    project.write_record(replace(project.record(), gone=("pg1-node2", "etcd2")))
    shape.give_back(project, Progress())
    assert said == ["scale to 2"]
    assert project.record().gone == ()


def test_a_rollout_that_a_drill_left_half_done_is_completed_and_forgotten(project, said):
    write_rollout(project, Rollout("restart", 0, marks={"pg1-node1": "then"}))
    shape.complete(project, Progress())
    assert (said, read_rollout(project)) == (["up"], None)


@pytest.mark.parametrize("name", ["scale-out", "scale-in"])
def test_a_changed_shape_is_mended_by_giving_it_back_and_not_by_healing(project, said, monkeypatch, name):
    done = []
    monkeypatch.setattr(shape, "give_back", lambda project, progress: done.append("given back"))
    monkeypatch.setattr(runner.healing, "heal", lambda *given, **more: done.append("healed"))
    monkeypatch.setattr(runner, "wait_until_whole", lambda *given: None)
    traffic = SimpleNamespace(clock=lambda: 1.0, wait_for_service=lambda *given: 2.0)
    scene = SimpleNamespace(project=project, progress=Progress())
    runner._mend(BY_NAME[name], scene, traffic, Marks(), Notes())
    runner._mend(BY_NAME["leader-killed"], scene, traffic, Marks(), Notes())
    assert done == ["given back", "healed"]


def test_the_ports_are_those_of_now_and_the_shape_is_that_of_the_drill(project, said):
    begun = as_it_runs(project)
    assert as_it_is(project) == project, "as the settings say"
    document = {"settings": {**asdict(project.settings), "nodes": 3}, "ports": {"ssh": {"pg1-node1": 4711}}}
    (project.folder / "running.json").write_text(json.dumps(document))
    now = as_it_is(begun)
    assert (now.ports, now.settings.nodes) == ({"ssh": {"pg1-node1": 4711}}, 2)
