"""What `recover` had said, beside what the clients lost."""

from types import SimpleNamespace

import pytest

from pgha.drills import losses
from pgha.drills.ledger import ACKNOWLEDGED, Verdict, Write
from pgha.drills.losses import compare
from pgha.drills.scenario import other_with_etcd, quorum_in_two_centers
from pgha.errors import Unhealthy
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.recover import record
from pgha.waiting import wait_until

BEGAN = 1_795_600_000.0
WRITES = [Write(n, n * 0.1, n * 0.1 + 0.01, ACKNOWLEDGED) for n in range(1, 101)]


@pytest.fixture
def compared(a_project):
    def compared(lost, *, lossless=False, last_commit=BEGAN + 5.0, began=BEGAN + 8):
        said = {"may_lose": "a little", "lossless": lossless, "last_commit": last_commit}
        record.finish(a_project, record.Record(began, [], "etcd3", "pg3-node1", account=said), {})
        verdict = Verdict(100, tuple(lost), (), (), 0, (), ())
        return compare(SimpleNamespace(project=a_project), WRITES, verdict, BEGAN)

    return compared


def test_what_is_lost_and_had_been_named_keeps_the_promise(compared):
    found = compared([60, 61])
    assert found.wrong == ()
    assert "may be lost: a little; lost: 2 of 100, acknowledged from 2026-11-25 09:46:46.010Z to" in found.words
    assert compared([]).words.endswith("lost: 0 of 100")


def test_what_is_lost_and_had_not_been_named_breaks_it(compared):
    assert "1 writes are lost that were acknowledged before" in compared([40, 60]).wrong[0]
    assert "recover had said none would be" in compared([60], lossless=True).wrong[0]
    assert compared([40], last_commit=None).wrong == ()


def test_a_recovery_of_another_day_says_nothing_of_this_one(compared):
    with pytest.raises(Unhealthy, match="has not said"):
        compared([], began=BEGAN - 1)


@pytest.mark.parametrize(("shape", "playable"), [((3, 1), True), ((3, 2), True), ((4, 2), True), ((5, 1), False)])
def test_it_takes_two_data_centers_that_have_etcds_quorum_wherever_the_leader_is(shape, playable):
    topology = build_topology(read_settings({"data_centers": shape[0], "nodes": shape[1]}))
    assert (quorum_in_two_centers(topology) == "") == playable
    assert other_with_etcd(topology, topology.data_centers[0]).name in ("dc2", "dc3")


def test_those_who_are_left_lack_something_and_get_nothing_more(a_project, monkeypatch):
    said = []
    scene = SimpleNamespace(project=a_project, topology=a_project.topology, leader=a_project.topology.host("pg3-node2"))
    behind = iter(["0.2", "1.1", "1.3"])
    answer = lambda *_: said.append("asked") or SimpleNamespace(stdout=next(behind))  # noqa: E731
    monkeypatch.setattr(losses, "connect", lambda project: SimpleNamespace(must=answer))
    monkeypatch.setattr(losses.networks, "isolate", lambda project, name: said.append(f"{name} is cut off"))
    monkeypatch.setattr(losses.networks, "rejoin", lambda project, name: said.append(f"{name} is back"))
    monkeypatch.setattr(losses.containers, "signal_hosts", lambda project, mechanism, hosts: said.append(
        f"{mechanism} {' '.join(host.name for host in hosts)}"))  # fmt: skip
    monkeypatch.setattr(losses, "wait_until", lambda *given, **more: wait_until(*given, **{**more, "interval": 0.01}))
    losses._fall_behind(scene)
    losses._lose(scene)
    assert said == [
        "pg2-node1 is cut off", "pg2-node2 is cut off", "asked", "asked", "asked",
        "kill etcd1 etcd3 etcd4 pg1-node1 pg1-node2 pg3-node1 pg3-node2", "pg2-node1 is back", "pg2-node2 is back",
    ]  # fmt: skip
