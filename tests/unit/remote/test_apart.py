"""Several machines: which engine is asked for what, in which order. Engines are played by their command lines."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pgha.errors import MachineUnreachable, ToolFailed
from pgha.remote import apart, engine, engines
from pgha.remote.engines import Engine
from pgha.tools.command import Answer
from pgha.tools.docker import Compose, Container

SETTINGS = {
    "data_centers": 3,
    "nodes": 1,
    "machines": {"dc1": "ssh://10.0.0.1", "dc2": "ssh://10.0.0.2", "dc3": "ssh://10.0.0.3", "backup": "ssh://10.0.0.1"},
}


class Engines:
    """Containers by host, and what was run: (machine, words)."""

    def __init__(self, project, monkeypatch):
        self.project, self.states, self.ran, self.given, self.refuse = project, {}, [], {}, {}
        monkeypatch.setattr(
            Engine, "run", lambda engine, command, line=None, given=b"": self.run(engine, command, given)
        )
        monkeypatch.setattr(Engine, "environment", property(lambda engine: {"DOCKER_HOST": engine.machine.name}))
        monkeypatch.setattr(apart, "require_compose", lambda: Compose(("compose",)))
        monkeypatch.setattr(apart.shell, "run", self.compose)
        monkeypatch.setattr(apart.docker, "parse_containers", lambda text: self.seen(text))

    def seen(self, machine):
        return [
            Container(host, self.project.container(host), "", state, "", "", ())
            for host, state in self.states.items()
            if engines.engine_of(self.project, host).machine.name == machine
        ]

    def run(self, engine, command, given):
        words = str(command).removeprefix("docker ")
        where = engine.machine.name
        if words.startswith(("ps ", "container inspect")):
            return Answer(command, where if words.startswith("con") else "id" if self.states else "", "", 0)
        self.ran.append((where, words.replace("-t 120 ", "")))
        if given:
            self.given[words.split()[-1]] = given
        return Answer(command, "", self.refuse.get(words.split()[0], ""), 1 if words.split()[0] in self.refuse else 0)

    def compose(self, command, environment, line=None):
        words = str(command).split("compose.yaml ")[1]
        self.ran.append((environment["DOCKER_HOST"], f"compose {words}"))
        assert f"/{environment['DOCKER_HOST']}/compose.yaml" in str(command)
        if "--no-start" in words:
            named = [word for word in words.split() if self.project.topology.host(word)]
            there = [h for h in named or self.hosts() if self.machine(h) == environment["DOCKER_HOST"]]
            self.states.update({host: "created" for host in there if host not in self.states})
        return Answer(command, "", "", 0)

    def hosts(self):
        return [host.name for host in self.project.topology.hosts]

    def machine(self, host):
        return self.project.topology.host(host).machine.name


@pytest.fixture
def several(make_project, monkeypatch):
    project = make_project(**SETTINGS)
    project.folder.mkdir(parents=True)
    (project.folder / "a").write_text("secret")
    (project.folder / "a").chmod(0o600)
    names = ", ".join(f'"{host.name}": {{"a": "./a"}}' for host in project.topology.hosts)
    (project.folder / "secrets.json").write_text(f"{{{names}}}")
    return Engines(project, monkeypatch)


def test_each_host_has_the_engine_of_its_machine(make_project):
    project = make_project(**SETTINGS)
    found = {host.name: engines.engine_of(project, host.name).machine.name for host in project.topology.hosts}
    assert found["pg2-node1"] == found["etcd2"] == "10.0.0.2"
    assert engines.engine_of(project, "clone").machine.name == "10.0.0.1"
    assert [each.machine.name for each in engines.engines(project)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_one_machine_has_this_hosts_engine(a_project):
    assert engines.engines(a_project) == (engines.HERE,)
    assert engines.engine_of(a_project, "pg1-node1") == engines.HERE


def test_containers_are_made_then_get_their_secrets_then_start_etcd_first(several):
    engine.compose(several.project, "no", "up", "--detach", "--remove-orphans", "--no-recreate")
    steps = [words.split()[0] for _, words in several.ran]
    assert steps == ["compose"] * 3 + ["cp"] * 7 + ["start"] * 7
    assert {words for _, words in several.ran[:3]} == {"compose up --no-start --remove-orphans --no-recreate"}
    started = [word.removeprefix("pgha-") for _, words in several.ran[10:] for word in words.split()[1:]]
    assert started == ["etcd1", "etcd2", "etcd3", "pgbackrest", "pg1-node1", "pg2-node1", "pg3-node1"]


def test_only_the_named_hosts_are_made_on_their_machine_alone(several):
    engine.compose(several.project, "no", "up", "--detach", "--no-deps", "pg2-node1")
    assert several.ran == [
        ("10.0.0.2", "compose up --no-start --no-deps pg2-node1"),
        ("10.0.0.2", "cp - pgha-pg2-node1:/"),
        ("10.0.0.2", "start pgha-pg2-node1"),
    ]


def test_what_runs_is_left_alone(several):
    several.states = dict.fromkeys(several.hosts(), "running")
    engine.compose(several.project, "no", "up", "--detach", "--no-recreate")
    assert [words.split()[0] for _, words in several.ran] == ["compose"] * 3


def test_secrets_are_roots_and_keep_their_modes(several):
    engine.compose(several.project, "no", "up", "--detach", "--no-deps", "etcd3")
    (content,) = several.given.values()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        (entry,) = [member for member in archive if member.isfile()]
        assert (entry.name, entry.mode, entry.uid, entry.gid) == ("run/secrets/a", 0o600, 0, 0)
        assert archive.extractfile(entry).read() == b"secret"


def test_nodes_stop_before_the_repository_and_etcd(several):
    several.states = dict.fromkeys(several.hosts(), "running")
    engine.compose(several.project, "no", "down", "--remove-orphans")
    stopped = [words.split()[1].removeprefix("pgha-") for _, words in several.ran if words.startswith("stop")]
    assert [sorted(group) for group in (stopped[:3], stopped[3:4], stopped[4:])] == [
        ["pg1-node1", "pg2-node1", "pg3-node1"], ["pgbackrest"], ["etcd1", "etcd2", "etcd3"],
    ]  # fmt: skip
    assert [words for _, words in several.ran[7:]] == ["compose down --remove-orphans"] * 3


def test_a_container_that_does_not_start_is_an_error_with_the_engines_words(several):
    several.refuse["start"] = "Bind for 10.0.0.1:2379 failed: port is already allocated"
    with pytest.raises(ToolFailed, match="Compose could not start the stack") as caught:
        engine.compose(several.project, "Compose could not start the stack", "up", "--detach")
    assert "port is already allocated" in caught.value.words


def test_a_machine_that_is_away_has_hosts_in_a_state_of_their_own(several, monkeypatch):
    several.states = dict.fromkeys(several.hosts(), "running")
    answers = several.run

    def run(engine, command, given):
        if engine.machine.name == "10.0.0.2":
            raise MachineUnreachable("away")
        return answers(engine, command, given)

    monkeypatch.setattr(several, "run", run)
    states = {host: container.state for host, container in engine.containers(several.project).items()}
    assert {host for host, state in states.items() if state == "machine unreachable"} == {"etcd2", "pg2-node1"}
    assert set(states) == set(several.hosts())


def test_on_one_machine_secrets_are_nobodys_business(a_project):
    engine.deliver(a_project, ["pg1-node1"])
    assert not Path(a_project.folder).exists()


def test_a_machine_that_was_given_up_is_asked_for_what_came_back_and_for_nothing_else(several, make_project):
    left = replace(several.project, gone=("etcd2", "pg2-node1"))
    assert [each.machine.name for each in engines.engines(left)] == ["10.0.0.1", "10.0.0.3"]
    several.states = {"etcd1": "running", "etcd2": "running"}
    assert list(engine.containers(left)) == ["etcd1"]
    assert list(engine.given_up(left)) == ["etcd2"]


def test_what_is_made_again_is_stopped_in_phases_and_removed_where_it_is_there(several):
    several.states = {"etcd1": "running", "pg1-node1": "running", "pg2-node1": "exited"}
    apart.take_away(several.project, ["etcd1", "etcd2", "pg1-node1", "pg2-node1"])
    words = [words for _, words in several.ran]
    assert sorted(words[:2]) == ["stop pgha-pg1-node1", "stop pgha-pg2-node1"]
    assert words[2:] == [
        "stop pgha-etcd1", "rm --force --volumes pgha-etcd1 pgha-pg1-node1", "rm --force --volumes pgha-pg2-node1",
    ]  # fmt: skip
