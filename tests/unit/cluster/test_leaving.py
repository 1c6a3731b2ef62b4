"""What may leave: judged from the members and from etcd, before anything is touched."""

from dataclasses import replace

import pytest

from pgha.cluster import leaving
from pgha.cluster.leaving import lead_elsewhere, promised, require_quorum_without, require_standbys_without
from pgha.errors import LosesQuorum, LosesStandbys, NoLeader, NoQuorum, Unhealthy
from pgha.tools.etcd import EtcdView
from pgha.tools.patroni import ClusterView, Member

FIVE = tuple(f"etcd{n}" for n in range(1, 6))


@pytest.mark.parametrize(
    ("healthy", "unhealthy", "leaving"),
    [
        (FIVE, (), {"etcd1", "etcd4"}),
        (FIVE[:4], FIVE[4:], {"etcd1"}),
        (FIVE[:3], FIVE[3:], {"etcd4", "pg1-node1"}),  # it does not run anyway
    ],
)
def test_a_majority_that_stays_lets_etcd_members_go(healthy, unhealthy, leaving):
    require_quorum_without(EtcdView(healthy, unhealthy), leaving)


def test_a_quorum_that_would_go_is_refused_with_the_numbers():
    with pytest.raises(LosesQuorum, match=r"without etcd1 2 of 5 members .*\(etcd4 and etcd5 do not.*, 3 are needed"):
        require_quorum_without(EtcdView(FIVE[:3], FIVE[3:]), {"etcd1"})
    with pytest.raises(LosesQuorum, match="without etcd1 and etcd2 and etcd3 2 of 5"):
        require_quorum_without(EtcdView(FIVE, ()), {"etcd1", "etcd2", "etcd3", "pg1-node1"})
    with pytest.raises(NoQuorum, match="2 of 5 members are healthy, 3 are needed"):
        require_quorum_without(EtcdView(FIVE[:2], FIVE[2:]), {"pg1-node1"})


def view(*names, away=(), leader="pg1-node1", paused=False):
    members = [
        Member(n, "leader" if n == leader else "quorum_standby",
               "stopped" if n in away else "running" if n == leader else "streaming", 1, 0)
        for n in names
    ]  # fmt: skip
    return ClusterView(tuple(members), paused)


SIX = ("pg1-node1", "pg1-node2", "pg2-node1", "pg2-node2", "pg3-node1", "pg3-node2")


def judge(project, seen, *names, degraded=False):
    require_standbys_without(project, seen, names, degraded=degraded, usage="inv stop --node X --degraded")


@pytest.mark.parametrize(("durability", "count"), [("quorum", 2), ("async", 1)])
def test_as_many_standbys_have_to_stay_as_a_commit_waits_for(make_project, durability, count):
    project = make_project(durability=durability)
    assert promised(project) == count
    judge(project, view(*SIX), *SIX[: 5 - count])
    with pytest.raises(LosesStandbys) as caught:
        judge(project, view(*SIX), *SIX[: 6 - count])
    assert caught.value.hint.startswith("inv stop --node X --degraded")
    judge(project, view(*SIX), *SIX[: 6 - count], degraded=True)


def test_what_does_not_stream_anyway_is_not_missed(make_project):
    two = make_project(data_centers=1)
    judge(two, view("pg1-node1", "pg1-node2", away=("pg1-node2",)), "pg1-node2")
    with pytest.raises(LosesStandbys, match="0 standbys would be left beside the leader: nobody could take over"):
        judge(two, view("pg1-node1", "pg1-node2"), "pg1-node2")


def test_the_last_member_never_leaves(make_project):
    one = make_project(data_centers=1, nodes=1)
    with pytest.raises(LosesStandbys, match="no member that could lead") as caught:
        judge(one, view("pg1-node1"), "pg1-node1", degraded=True)
    assert caught.value.hint.startswith("inv stop stops all")
    with pytest.raises(LosesStandbys, match="no member that could lead"):
        judge(make_project(), view(*SIX, away=SIX[2:]), "pg1-node1", "pg1-node2", degraded=True)


def test_without_a_leader_nobody_leaves(a_project):
    with pytest.raises(NoLeader):
        judge(a_project, view(*SIX, leader=""), "pg1-node2")


def test_in_a_pause_nobody_leaves():
    leaving.require_not_paused(view(*SIX))
    with pytest.raises(Unhealthy, match="paused") as caught:
        leaving.require_not_paused(view(*SIX, paused=True))
    assert caught.value.hint == "inv resume"


@pytest.fixture
def asked(monkeypatch):
    """Candidates of switchovers that were asked for."""
    found = []
    monkeypatch.setattr(leaving, "hand_over", lambda project, candidate, *_, **__: found.append(candidate))
    monkeypatch.setattr(leaving, "wait_for_synchronous", lambda *given: None)
    return found


@pytest.mark.parametrize(
    ("leaves", "candidate"),
    [(["pg1-node2"], []), (["pg1-node1"], [""]), (["pg1-node1", "pg1-node2"], ["pg2-node1"])],
)
def test_the_lead_goes_to_one_that_stays(a_project, asked, leaves, candidate):
    """When all others stay Patroni chooses, which is quicker; else it could choose one that leaves, too."""
    lead_elsewhere(a_project, view(*SIX), leaves, None)
    assert asked == candidate


def test_a_synchronous_one_takes_it_where_there_is_one(a_project, asked):
    seen = view(*SIX, away=("pg3-node1",))
    members = tuple(replace(m, role="replica") if m.name == "pg2-node1" else m for m in seen.members)
    lead_elsewhere(a_project, ClusterView(members), ["pg1-node1", "pg1-node2"], None)
    assert asked == ["pg2-node2"]


def test_nobody_who_stays_can_take_it(make_project, asked):
    two = make_project(data_centers=1)
    with pytest.raises(LosesStandbys, match="no member that stays streams from it"):
        lead_elsewhere(two, view("pg1-node1", "pg1-node2", away=("pg1-node2",)), ["pg1-node1"], None)
    assert asked == []
