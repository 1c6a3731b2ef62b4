"""What a drill asks from outside while a data center is cut off, held against what the majority says itself."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from pgha.console import Progress
from pgha.drills import inquiries, runner
from pgha.drills.inquiries import Finding, status_agrees
from pgha.drills.result import Notes
from pgha.drills.scenarios import BY_NAME
from pgha.drills.scene import Scene
from pgha.errors import ToolFailed, Unreachable
from pgha.tools.etcd import EtcdView
from pgha.tools.patroni import ClusterView, Member

MINORITY, MAJORITY = ("etcd1", "etcd4"), ("etcd2", "etcd3", "etcd5")
WHOLE = EtcdView((*MINORITY, *MAJORITY), ())
CUT = EtcdView(MAJORITY, MINORITY)
LOST = EtcdView((), WHOLE.healthy)


def led_by(name):
    return ClusterView((Member(name, "leader", "running", 2, None),))


@dataclass
class Outside:
    """dc1 is cut off and pg2-node1 leads; what the members beyond say, and what `inv status` does, one look each."""

    cluster: ClusterView = field(default_factory=lambda: led_by("pg2-node1"))
    etcd: EtcdView = CUT
    status: list = field(default_factory=lambda: [("pg2-node1", CUT)])
    asked: list = field(default_factory=list)

    def first(self, hosts, command, parse):
        self.asked.append(hosts[0])
        return hosts[0], self.etcd if command.argv[0] == "etcdctl" else self.cluster

    def take(self, project):
        leader, view = self.status.pop(0) if len(self.status) > 1 else self.status[0]
        if isinstance(leader, Exception):
            raise leader
        return SimpleNamespace(seen=SimpleNamespace(leader=leader, etcd=view))


@pytest.fixture
def scene(a_project):
    return Scene(a_project, Progress(), led_by("pg1-node1"))


@pytest.fixture
def found(scene, monkeypatch, hurry):
    def found(**outside):
        played = Outside(**outside)
        monkeypatch.setattr(inquiries, "connect", lambda project: played)
        monkeypatch.setattr(inquiries.survey, "take", played.take)
        hurry(inquiries, 0.05)
        finding = status_agrees(scene)
        assert not any(host.startswith("pg1-") for host in played.asked), "the cut-off side is not asked"
        return finding

    return found


def test_a_status_that_says_what_the_majority_says_is_right(found):
    finding = found()
    assert finding.wrong == ()
    assert finding.words.startswith("inv status says that pg2-node1 leads, etcd 3 of 5, quorum, in ")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (("pg1-node1", CUT), "inv status says that pg1-node1 leads, pg2-node1 says pg2-node1"),
        ((None, CUT), "inv status says that nobody leads, pg2-node1 says pg2-node1"),
        (("pg2-node1", LOST), "inv status says etcd 0 of 5, QUORUM LOST, pg2-node1 says etcd 3 of 5, quorum"),
        (("pg2-node1", WHOLE), "inv status says etcd 5 of 5, quorum, pg2-node1 says etcd 3 of 5, quorum"),
    ],
)
def test_a_status_that_says_something_else_is_wrong(found, status, words):
    assert found(status=[status]).wrong == (words,)


def test_both_may_be_wrong(found):
    assert len(found(status=[("pg1-node1", LOST)]).wrong) == 2


def test_two_who_are_asked_a_moment_apart_are_asked_again(found):
    assert found(status=[("pg1-node1", CUT), ("pg2-node1", CUT)]).wrong == ()


def test_a_status_that_cannot_be_asked_is_an_error(found):
    with pytest.raises(Unreachable, match="nobody answers"):
        found(status=[(Unreachable("nobody answers"), None)])
    with pytest.raises(ToolFailed, match="etcd"):
        found(status=[("pg2-node1", ToolFailed("etcd cannot be asked"))])


# In a drill -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "asked", "broken"),
    [
        (Finding("all agree"), ["broken: all agree"], []),
        (Finding("pg1-node1 leads", ("it does not",)), ["broken: pg1-node1 leads"], ["broken: it does not"]),
        (Unreachable("nobody answers"), [], ["nobody answers"]),
    ],
)
def test_what_disagrees_breaks_the_promise_of_a_drill(scene, finding, asked, broken):
    def inquire(given):
        assert given is scene
        if isinstance(finding, Exception):
            raise finding
        return finding

    notes = Notes()
    runner._inquire(SimpleNamespace(inquire=inquire), scene, notes, "broken")
    assert (notes.asked, notes.broken) == (asked, broken)


def test_the_drill_that_cuts_a_data_center_off_asks(a_project):
    assert BY_NAME["site-cut"].inquire is status_agrees
    assert "inv status says what the majority says" in BY_NAME["site-cut"].promise
