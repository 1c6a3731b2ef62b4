"""A member that lags while leader and next leader are lost: the order in which that happens, without a cluster."""

import itertools
from types import SimpleNamespace

import pytest

from pgha.console import Progress
from pgha.drills import runner, scenarios
from pgha.drills.result import Marks
from pgha.drills.scenarios import BY_NAME
from pgha.drills.scene import Scene
from pgha.errors import TimedOut
from pgha.failures import broken
from pgha.failures.broken import Broken, Mechanism
from pgha.tools.command import Answer
from pgha.tools.patroni import ClusterView, Member

LAGGING = BY_NAME["lagging-candidate"]


@pytest.fixture
def said(monkeypatch, hurry):
    """What is done, in its order."""
    said = []
    behind = itertools.chain([0.5, 12.0], itertools.repeat(31.0))

    def must(host, command, message):
        if "pg_switch_wal" in str(command):
            said.append(f"{host} archives")
            return Answer(command, "", "", 0)
        said.append(f"{host} is asked")
        return Answer(command, f"{next(behind)}\n", "", 0)

    def isolate(project, node):
        said.append(f"{node} is cut off")
        broken.add(project, [Broken(Mechanism.PARTITION, node, sites=("dc2", "pg1-node1"))])

    def rejoin(project, node):
        said.append(f"{node} is back")

    def signal_hosts(project, mechanism, hosts, process):
        said.extend(f"{mechanism} {host.name}" for host in hosts)

    monkeypatch.setattr(scenarios, "connect", lambda project: SimpleNamespace(must=must))
    monkeypatch.setattr(scenarios.networks, "isolate", isolate)
    monkeypatch.setattr(scenarios.networks, "rejoin", rejoin)
    monkeypatch.setattr(scenarios.containers, "signal_hosts", signal_hosts)
    hurry(scenarios, 10)
    return said


def led_by(project, name):
    members = [
        Member(node.name, "leader" if node.name == name else "quorum_standby",
               "running" if node.name == name else "streaming", 1, 0)
        for node in project.topology.nodes
    ]  # fmt: skip
    return Scene(project, Progress(), ClusterView(tuple(members)))


def test_the_first_candidate_lags_while_the_archive_goes_on(a_project, said):
    scene = led_by(a_project, "pg1-node1")
    LAGGING.first(scene)
    assert said == ["pg2-node1 is cut off", "pg1-node1 archives", *3 * ["pg2-node1 is asked"]]
    LAGGING.inject(scene)
    assert said[-1] == "kill pg1-node1"


def test_the_link_comes_back_when_the_next_leader_is_gone(a_project, said):
    """The other way round the member would stream from it, and lag no more."""
    LAGGING.first(led_by(a_project, "pg1-node1"))
    said.clear()
    LAGGING.then(led_by(a_project, "pg3-node2"))
    assert said == ["kill pg3-node2", "pg2-node1 is back"]


def test_after_the_next_fault_somebody_else_has_to_serve(a_project, said, monkeypatch, hurry):
    scene = led_by(a_project, "pg1-node1")
    # The first looks still name the lost leader, or nobody.
    looks = [scene.view, ClusterView(()), led_by(a_project, "pg3-node1").view]
    monkeypatch.setattr(runner, "read_view", lambda project: looks.pop(0))
    hurry(runner, 10)
    traffic = SimpleNamespace(clock=lambda: 50.0, wait_for_service=lambda *given: said.append(given) or 72.0)
    marks = Marks(served=45.0)
    runner._break_next("lagging-candidate", LAGGING.then, scene, traffic, marks)
    assert said == ["kill pg3-node1", (50.0, "pg3-node1", 4 * a_project.settings.ttl)]
    assert marks.served == 72.0


def test_without_service_there_is_no_next_leader_to_lose(a_project, said, monkeypatch, hurry):
    scene = led_by(a_project, "pg1-node1")
    monkeypatch.setattr(runner, "read_view", lambda project: ClusterView(()))
    hurry(runner, 0.05)
    with pytest.raises(TimedOut, match="The next leader is known"):
        runner._break_next("lagging-candidate", LAGGING.then, scene, SimpleNamespace(clock=lambda: 50.0), Marks())
    assert said == []
