"""From a stack without TLS to one with it: what is refused, and what etcd's members are told when."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pgha.console import Progress
from pgha.errors import NoQuorum, OtherTransport, ToolFailed
from pgha.project.running import note_running
from pgha.remote import engine
from pgha.stack import transport
from pgha.tools.command import Answer


class World:
    """An engine whose etcd answers in one of its kinds, or not at all."""

    def __init__(self, project):
        self.project = project
        self.volumes = [SimpleNamespace(name=f"{project.name}_etcd1")]
        self.speaks = "http"
        self.peers = {member.name: f"http://{member.name}:2380" for member in project.topology.etcd}
        self.stopped = False

    def containers(self, project):
        state = "exited" if self.stopped else "running"
        return {name: SimpleNamespace(state=state, tls=self.speaks == "https") for name in self.peers}

    def run(self, command):
        line = " ".join(command.argv)
        if f"--endpoints={self.speaks}://" not in line:
            return Answer(command, "", "context deadline exceeded", 1)
        if "member list" in line:
            listed = [{"ID": n, "name": name, "peerURLs": [url]} for n, (name, url) in enumerate(self.peers.items(), 1)]
            return Answer(command, json.dumps({"members": listed}), "", 0)
        identity, url = re.search(r"member update (\d+) --peer-urls=(\S+)", line).groups()
        self.peers[list(self.peers)[int(identity) - 1]] = url
        return Answer(command, "", "", 0)

    def compose(self, project, message, verb, **_):
        assert verb == "stop"
        self.stopped = True


@pytest.fixture
def world(make_project, monkeypatch):
    """A project that was brought up without TLS, and now has it in its settings."""
    project = make_project(data_centers=1, nodes=1, tls=False)
    project.write_record(project.record())
    note_running(project)
    made = World(make_project(data_centers=1, nodes=1))
    monkeypatch.setattr(engine, "engine_problem", lambda project: None)
    monkeypatch.setattr(engine, "volumes", lambda project: made.volumes)
    monkeypatch.setattr(engine, "containers", made.containers)
    monkeypatch.setattr(engine, "engine_of", lambda project, host: made)
    monkeypatch.setattr(engine, "revive", lambda project: None)
    monkeypatch.setattr(engine, "compose", made.compose)
    monkeypatch.setattr(transport, "PATIENCE", 0)
    return made


def schemes(world):
    return [url.split(":")[0] for url in world.peers.values()]


def test_what_runs_otherwise_is_named(world):
    with pytest.raises(OtherTransport, match="tls is on in the settings and off in what runs") as caught:
        transport.require_same(world.project)
    assert "inv up --at-once" in caught.value.hint and "set tls to off" in caught.value.hint


def test_what_was_brought_up_before_there_was_the_setting_runs_without(world):
    file = world.project.folder / "running.json"
    document = json.loads(file.read_text())
    del document["settings"]["tls"]
    file.write_text(json.dumps(document))
    with pytest.raises(OtherTransport):
        transport.require_same(world.project)


@pytest.mark.parametrize("there", [True, False])
def test_containers_say_it_where_nothing_is_noted(world, monkeypatch, there):
    """An `up` that came to no end has etcd's members know each other by their URLs already."""
    (world.project.folder / "running.json").unlink()
    if there:
        with pytest.raises(OtherTransport, match="tls is on in the settings and off in what runs"):
            transport.require_same(world.project)
    else:
        monkeypatch.setattr(engine, "containers", lambda project: {})
        transport.require_same(world.project)
    world.speaks = "https"
    transport.require_same(world.project)


def test_without_data_of_etcd_there_is_nothing_to_change(world):
    world.volumes = [SimpleNamespace(name=f"{world.project.name}_pgbackrest")]
    transport.require_same(world.project)
    transport.begin(world.project, Progress())
    assert schemes(world) == ["http"] * 3 and not world.stopped


def test_the_same_is_not_refused(world):
    transport.require_same(replace(world.project, settings=replace(world.project.settings, tls=False)))


def test_a_minority_is_told_before_and_the_rest_afterwards(world):
    transport.begin(world.project, Progress())
    assert schemes(world) == ["https", "http", "http"] and world.stopped
    world.speaks, world.stopped = "https", False
    transport.complete(world.project, Progress())
    assert schemes(world) == ["https"] * 3
    assert not (world.project.folder / transport.FILE).exists()


def test_interrupted_it_is_begun_again_with_etcd_stopped(world):
    transport.begin(world.project, Progress())
    world.speaks = ""
    transport.begin(world.project, Progress())
    assert schemes(world) == ["https", "http", "http"]


def test_taken_back_the_minority_is_told_so(world):
    transport.begin(world.project, Progress())
    world.stopped = False
    transport.complete(replace(world.project, settings=replace(world.project.settings, tls=False)), Progress())
    assert schemes(world) == ["http"] * 3


def test_an_etcd_that_cannot_be_told_is_named_before_anything_is_changed(world):
    world.speaks = ""
    with pytest.raises(NoQuorum, match="etcd cannot be told") as caught:
        transport.begin(world.project, Progress())
    assert "INVOKE_PGHA_TLS=off inv up" in caught.value.hint
    assert not world.stopped and not (world.project.folder / transport.FILE).exists()


def test_those_that_cannot_be_told_yet_are_named(world, make_project, monkeypatch):
    transport.begin(world.project, Progress())
    project = replace(world.project, settings=replace(world.project.settings, up_timeout=10))
    monkeypatch.setattr(transport, "wait_until", lambda look, holds, what, **_: holds(look()))
    world.stopped = False
    with pytest.raises(ToolFailed, match="etcd does not answer"):
        transport.complete(project, Progress())
    assert (project.folder / transport.FILE).exists()
