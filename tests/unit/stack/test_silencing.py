"""Whom nobody is told of while a host is stopped on purpose, and until when."""

import pytest

from pgha.console import Progress
from pgha.errors import Unreachable
from pgha.remote import monitoring
from pgha.stack import silencing
from pgha.tools.prometheus import Target

AWAY = Unreachable("alertmanager does not answer: refused")


class Told(Progress):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def asked(monkeypatch, hurry):
    """What Alertmanager was asked for; `asked.away` lets it not answer."""

    class Asked(list):
        away, targets = False, (Target("host", "etcd1", "up", ""),)

    made = Asked()

    def remember(what):
        def one(project, hosts):
            if made.away:
                raise AWAY
            made.append((what, tuple(hosts)))

        return one

    monkeypatch.setattr(monitoring, "silence", remember("silence"))
    monkeypatch.setattr(monitoring, "end_silences", remember("end"))
    monkeypatch.setattr(monitoring, "read_targets", lambda project: made.targets)
    monkeypatch.setattr(monitoring, "lacks", lambda project: "prometheus does not answer" if made.away else "")
    hurry(silencing)
    return made


def test_without_monitoring_nobody_is_asked(make_project, asked):
    for act in (silencing.begin, silencing.end, silencing.settle):
        act(make_project(), ["pg1-node1"], Told())
    assert asked == []


def test_a_host_that_is_stopped_and_started_again(make_project, asked):
    project = make_project(monitoring=True)
    silencing.begin(project, ["pg1-node1"], Told())
    silencing.end(project, ["pg1-node1"], Told())
    assert asked == [("silence", ("pg1-node1",)), ("end", ("pg1-node1",))]


def test_after_up_nobody_is_silenced_any_more(make_project, asked):
    silencing.settle(make_project(monitoring=True), ["etcd1", "pg1-node1", "monitoring"], Told())
    assert asked == [("end", ("etcd1", "pg1-node1"))]


@pytest.mark.parametrize("health", ["down", "unknown"])
def test_up_waits_until_everybody_is_heard_of_but_for_those_left_out(make_project, asked, health):
    asked.targets = (Target("host", "pg1-node1", health, "refused"),)
    for hosts, notes in ((["etcd1", "monitoring"], 0), (["pg1-node1", "monitoring"], 1)):
        told = Told()
        silencing.settle(make_project(monitoring=True), hosts, told)
        assert len(told.notes) == notes
    assert asked == [("end", ("etcd1",)), ("end", ("pg1-node1",))]


def test_a_monitoring_that_was_left_out_is_not_waited_for(make_project, asked):
    silencing.settle(make_project(monitoring=True), ["etcd1", "pg1-node1"], Told())
    assert asked == []


@pytest.mark.parametrize("act", [silencing.begin, silencing.end, silencing.settle])
def test_nothing_depends_on_it(make_project, asked, act):
    asked.away = True
    told = Told()
    hosts = ["pg1-node1", "monitoring"] if act is silencing.settle else ["pg1-node1"]
    act(make_project(monitoring=True), hosts, told)
    assert told.notes and all("does not answer" in note for note in told.notes)
