"""Members of etcd come and go, against an etcd that is played by a few lines."""

import json
from types import SimpleNamespace

import pytest

from pgha.cluster import etcd_members
from pgha.cluster.etcd_members import join, let_in_again, replace_lost, take_out
from pgha.console import Progress
from pgha.errors import TimedOut
from pgha.tools.command import Answer
from pgha.tools.etcd import EtcdView


class Etcd:
    """Three members; it refuses the first change, as etcd does while its members get to know each other."""

    def __init__(self):
        self.members = {f"etcd{n}": {"ID": n, "name": f"etcd{n}"} for n in (1, 2, 3)}
        self.refusals = 1
        self.lag = 1
        """how often a learner is not in step"""
        self.changes = []
        self.started = []

    def run(self, host, command):
        verb, *rest = command.argv[command.argv.index("member") + 1 :]
        if verb == "list":
            listed = [{**m, "peerURLs": [f"https://{name}:2380"]} for name, m in self.members.items()]
            return Answer(command, json.dumps({"members": listed}), "", 0)
        self.changes.append(f"{verb} {rest[0]}")
        if self.refusals:
            self.refusals -= 1
            return Answer(command, "", "Error: etcdserver: unhealthy cluster", 1)
        if verb == "add":
            self.members[rest[0]] = {"ID": 9, **({"isLearner": True} if "--learner" in rest else {})}
        elif verb == "remove":
            self.members = {name: m for name, m in self.members.items() if f"{m['ID']:x}" != rest[0]}
        elif self.lag:
            self.lag -= 1
            return Answer(command, "", "Error: can only promote a learner member which is in sync with leader", 1)
        else:
            self.members["etcd4"].pop("isLearner")
        return Answer(command, "", "", 0)

    def must(self, host, command, *_):
        return self.run(host, command)

    def start(self, name, file):
        """Its container starts with what the file says now."""
        self.members[name]["name"] = name
        self.started.append([line for line in file.read_text().splitlines() if line.startswith("initial-cluster")])

    @property
    def view(self):
        well = [name for name, m in self.members.items() if m.get("name") and not m.get("isLearner")]
        return EtcdView(tuple(well), ())


@pytest.fixture
def played(monkeypatch, hurry):
    played = Etcd()
    monkeypatch.setattr(etcd_members, "connect", lambda project: played)
    monkeypatch.setattr(etcd_members, "able_member", lambda project: "pg1-node1")
    monkeypatch.setattr(etcd_members, "read_etcd", lambda project: played.view)
    hurry(etcd_members, 0.3)
    return played


RENDERED = "name: x\ninitial-cluster: all=of-them\ninitial-cluster-state: new\n"


@pytest.fixture
def file_of(a_project):
    def file_of(name):
        file = a_project.folder / name / "etcd.yml"
        file.parent.mkdir(parents=True)
        file.write_text(RENDERED)
        return file

    return file_of


def cluster(*names):
    return [f"initial-cluster: {','.join(f'{n}=https://{n}:2380' for n in names)}", "initial-cluster-state: existing"]


def test_a_new_member_learns_first_and_is_promoted_when_it_is_in_step(a_project, played, file_of):
    file = file_of("etcd4")
    join(a_project, "etcd4", lambda: played.start("etcd4", file))
    assert played.changes == ["add etcd4", "add etcd4", "promote 9", "promote 9"]
    assert played.started == [cluster("etcd1", "etcd2", "etcd3", "etcd4")]
    assert "etcd4" in played.view.healthy
    assert file.read_text() == RENDERED, "`up` compares it with what it renders"


def test_a_member_that_was_added_and_not_started_is_not_added_twice(a_project, played, file_of):
    file, played.refusals = file_of("etcd4"), 0
    played.members["etcd4"] = {"ID": 9, "isLearner": True}
    join(a_project, "etcd4", lambda: played.start("etcd4", file))
    assert played.changes == ["promote 9", "promote 9"]
    assert played.started == [cluster("etcd1", "etcd2", "etcd3", "etcd4")]


def test_a_member_without_data_is_taken_out_and_let_in_again(a_project, played, file_of):
    file = file_of("etcd2")
    let_in_again(a_project, "etcd2", lambda: played.start("etcd2", file))
    assert played.changes == ["remove 2", "remove 2", "add etcd2"]
    assert played.started == [cluster("etcd1", "etcd3", "etcd2")]
    assert file.read_text() == RENDERED


def test_what_a_lost_member_still_has_is_removed_before_it_starts_again(a_project, played, file_of, monkeypatch):
    """All members began at once, and the one without data before it could ask the others: it has the data of a
    stranger, and etcd refuses those for ever."""
    file, done = file_of("etcd2"), []
    volumes = [SimpleNamespace(name=f"{a_project.name}_{name}") for name in ("etcd1", "etcd2")]
    does = {
        "remove": lambda project, names: done.append(names),
        "volumes": lambda project: volumes,
        "remove_volumes": lambda wanted: done.append([volume.name for volume in wanted]),
        "compose": lambda *_: played.start("etcd2", file),
    }
    monkeypatch.setattr(etcd_members, "engine", SimpleNamespace(**does))
    monkeypatch.setattr(etcd_members, "_lost", lambda *_: ["etcd2"])
    monkeypatch.setattr(etcd_members, "require_quorum", lambda project: None)
    assert replace_lost(a_project, Progress()) == ["etcd2"]
    assert done == [["etcd2"], [f"{a_project.name}_etcd2"]]
    assert played.started == [cluster("etcd1", "etcd3", "etcd2")]


def test_what_etcd_goes_on_refusing_is_told_in_its_words(a_project, played):
    played.refusals = 1000
    with pytest.raises(TimedOut, match=r"etcd3 leaves etcd: not within .*unhealthy cluster"):
        take_out(a_project, "etcd3")
    assert take_out(a_project, "etcd9") is False
