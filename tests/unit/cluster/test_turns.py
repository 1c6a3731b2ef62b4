"""Rolling changes, decided: whose turn comes when, what refuses, and what goes on after an interruption."""

from dataclasses import replace

import pytest

from pgha.cluster import gates
from pgha.cluster.gates import LAG, Refusal, Seen, refusals
from pgha.cluster.rollout import NOT_RUNNING, Part, Plan, Step, order
from pgha.cluster.rollout_record import (
    FILE,
    Record,
    begin_turn,
    describe_rollout,
    end_turn,
    forget_rollout,
    read_rollout,
    write_rollout,
)
from pgha.errors import Damaged, NoLeader, NoQuorum, TimedOut, ToolFailed, Unhealthy, Unreachable
from pgha.tools import etcd, patroni
from pgha.tools.activity import Session

NODES = ("pg1-node1", "pg2-node1", "pg3-node1")
ETCD = ("etcd1", "etcd2", "etcd3")

# Order ------------------------------------------------------------------------------------------------------


@pytest.fixture
def topology(make_project):
    return make_project(data_centers=3, nodes=1).topology


def hosts_of(steps):
    return [step.host for step in steps]


def test_whoever_leads_is_last_of_its_kind_and_the_repository_is_between(topology):
    everyone = [host.name for host in topology.hosts]
    steps = order(topology, everyone, leader="pg1-node1", etcd_leader="etcd2", because={"etcd1": "new image"})
    assert hosts_of(steps) == [
        "etcd1", "etcd3", "etcd2", "pgbackrest", "pg2-node1", "pg3-node1", "pg1-node1",
    ]  # fmt: skip
    assert steps[0] == Step("etcd1", Part.ETCD, "new image")
    assert [step.part for step in steps[-3:]] == [Part.REPLICA, Part.REPLICA, Part.LEADER]


def test_a_leader_that_has_to_be_first_is_before_the_replicas_only(topology):
    steps = order(topology, ("etcd1", *NODES), leader="pg2-node1", leader_first=True)
    assert hosts_of(steps) == ["etcd1", "pg2-node1", "pg1-node1", "pg3-node1"]


def test_only_the_hosts_that_are_asked_for_have_a_turn(topology):
    assert hosts_of(order(topology, ["pg3-node1"], leader="pg1-node1")) == ["pg3-node1"]
    assert order(topology, [], leader="pg1-node1") == ()


REPLICA, LEADER = Step("pg2-node1", Part.REPLICA), Step("pg1-node1", Part.LEADER)


@pytest.mark.parametrize(
    ("plan", "way", "outage"),
    [
        (Plan("up", "made again"), "nothing", "nothing that runs is touched"),
        (Plan("up", "made again", steps=(REPLICA,)), "rolling", "writes go on"),
        (Plan("up", "made again", steps=(REPLICA, LEADER)), "rolling", "writes stop for the switchover only"),
        (Plan("up", "made again", together={"etcd1": "new"}, at_once="as asked"), "at_once", "until a leader is back"),
        (Plan("up", "made again", first={"etcd1": "it is not there"}), "bring_up", "nothing that runs is touched"),
        (
            Plan("restart", "restarted", steps=(LEADER,), in_place="there is no other node"),
            "rolling", "writes stop while the leader's Postgres restarts",
        ),
    ],
)  # fmt: skip
def test_a_plan_says_what_clients_notice(plan, way, outage):
    assert plan.way == way
    assert outage in plan.outage


def test_a_plan_names_the_switchover_in_its_place():
    lines = Plan("up", "made again", steps=(REPLICA, LEADER), first={"etcd3": "it does not run"}).describe()
    assert lines == [
        "first, at once: etcd3",
        "made again one after another: pg2-node1, a switchover, pg1-node1",
        "writes stop for the switchover only",
    ]


def test_a_leader_that_hands_over_has_a_turn_more_unless_that_restarts_it():
    turns = Plan("up", "made again", steps=(REPLICA, LEADER), first={"etcd3": NOT_RUNNING}).turns
    assert [(t.turn, t.host, t.action) for t in turns] == [
        (1, "etcd3", "brought up"), (2, "pg2-node1", "made again"),
        (3, "pg1-node1", "hands over (switchover)"), (4, "pg1-node1", "made again"),
    ]  # fmt: skip
    turns = Plan("restart", "restarted", steps=(REPLICA, LEADER), by_switchover=True).turns
    assert turns[-1][:4] == (2, "pg1-node1", "leader", "hands over (switchover), and is restarted with that")


# Gates ------------------------------------------------------------------------------------------------------


def told(name, **changes):
    leads = name == "pg1-node1"
    streaming = NODES[1:] if leads else ()
    node = patroni.NodeState(name, "leader" if leads else "replica", "running", 1, "77", 170012, 1 << 30, streaming, "")
    changed = {"replayed": None if leads else 1 << 30, **changes}
    return patroni.Told(replace(node, **changed), None, 0, ETCD)


def member(name, state="streaming", role="quorum_standby"):
    leads = name == "pg1-node1"
    return patroni.Member(name, "leader" if leads else role, "running" if leads else state, 1, 0)


def view(*others, paused=False):
    known = {name: member(name) for name in NODES} | {other.name: other for other in others}
    return patroni.ClusterView(tuple(known.values()), paused)


WELL = Seen(
    names=NODES,
    members={name: told(name) for name in NODES},
    late={},
    view=view(),
    etcd=etcd.EtcdView(ETCD, ()),
    quorum=True,
    sessions=dict.fromkeys(NODES, ()),
)


def seen(**changes):
    return replace(WELL, **changes)


def members(name, **changes):
    return {**WELL.members, name: told(name, **changes)}


OLD = Session(4711, "app", "shop", 812)


def test_a_cluster_that_is_well_is_open():
    assert refusals(WELL) == []


def test_an_etcd_of_one_member_has_none_to_spare_and_that_refuses_nothing():
    """`inv recover` leaves it so, and a Postgres can be restarted all the same."""
    assert refusals(seen(etcd=etcd.EtcdView(ETCD[:1], ()))) == []
    assert [type(refusal.error) for refusal in refusals(seen(etcd=etcd.EtcdView((), ETCD[:1])))] == [NoQuorum]


CASES = [
    (seen(view=view(paused=True)), Unhealthy, False, "Patroni is paused (maintenance mode): nobody would take over"),
    (seen(view=patroni.ClusterView(())), NoLeader, True, "no leader"),
    (seen(view=ToolFailed("No member knows the cluster")), ToolFailed, True, "No member knows"),
    (
        seen(view=view(member("pg3-node1", "starting"))),
        Unhealthy, True, "pg3-node1 does not stream from the leader pg1-node1 (its state is starting)",
    ),
    (seen(names=(*NODES, "pg4-node1")), Unhealthy, True, "pg4-node1 does not stream from the leader pg1-node1 (it is"),
    (seen(late={"pg2-node1": "sees no etcd majority"}), Unhealthy, True, "pg2-node1 sees no etcd majority"),
    (
        seen(members=members("pg2-node1", location=(1 << 30) - LAG - 1)),
        Unhealthy, True, "pg2-node1 is 16.0MB of WAL behind the leader pg1-node1",
    ),
    (seen(members=members("pg2-node1", replayed=(1 << 30) - LAG - 1)), Unhealthy, True, "pg2-node1 is 16.0MB of WAL"),
    (seen(members=members("pg2-node1", replay_paused=True)), Unhealthy, False, "pg2-node1: replay is paused"),
    (
        seen(view=view(member("pg2-node1", role="replica"))),
        Unhealthy, True, "pg2-node1 streams, but is not synchronous yet",
    ),
    (
        seen(etcd=etcd.EtcdView(ETCD[:2], ETCD[2:])),
        NoQuorum, True, "could not do without one more member: 2 of 3 are healthy, 2 are needed",
    ),
    (seen(etcd=Unreachable("nobody can ask")), Unreachable, True, "nobody can ask"),
    (
        seen(sessions={"pg1-node1": (OLD,)}),
        Unhealthy, False, "pg1-node1: a transaction of app in shop has been open for 812 s (pid 4711), and would",
    ),
    (
        seen(sessions={"pg2-node1": (replace(OLD, backup=True),)}),
        Unhealthy, False, "pg2-node1: a backup has been running for 812 s (pid 4711): it would fail",
    ),
    (seen(sessions={"pg2-node1": ToolFailed("psql failed")}), Unhealthy, True, "cannot be asked for long transactions"),
]  # fmt: skip


@pytest.mark.parametrize(("looked", "kind", "passing", "words"), CASES, ids=[case[3][:40] for case in CASES])
def test_a_gate_refuses_with_one_sentence_and_a_hint(looked, kind, passing, words):
    (refusal,) = refusals(looked)
    assert type(refusal.error) is kind and words in refusal.error.message
    assert refusal.passing is passing
    assert refusal.error.hint or kind in (ToolFailed, Unreachable)


@pytest.mark.parametrize(
    "looked",
    [
        seen(members=members("pg2-node1", location=(1 << 30) - LAG)),
        seen(quorum=False, view=view(member("pg2-node1", role="replica"))),
        seen(etcd=etcd.EtcdView(tuple(f"etcd{n}" for n in range(4)), ("etcd5",))),
    ],
)
def test_what_costs_nothing_refuses_nothing(looked):
    assert refusals(looked) == []


LASTING, PASSING = Refusal(Unhealthy("paused", "resume")), Refusal(Unhealthy("it lags", "wait"), passing=True)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([[]], None),
        ([[PASSING], [PASSING], []], None),
        ([[PASSING], [LASTING]], "paused"),
        ([[LASTING], []], "paused"),
        ([[PASSING]] * 99, "it lags"),
        ([[PASSING, LASTING], []], "paused"),
    ],
)
def test_what_passes_by_itself_is_waited_for_and_nothing_else(project, monkeypatch, hurry, looks, said):
    coming = iter(looks)
    monkeypatch.setattr(gates, "look", lambda *_: next(coming))
    monkeypatch.setattr(gates, "refusals", lambda seen: [replace_error(refusal) for refusal in seen])
    hurry(gates, 0.2)
    if said is None:
        gates.require_open(project, [])
        return
    with pytest.raises(Unhealthy, match=said) as caught:
        gates.require_open(project, [], "1 of 3 are done")
    assert caught.value.hint.endswith("; 1 of 3 are done")


def replace_error(refusal):
    """A hint is added to the error: the next case has one of its own."""
    return replace(refusal, error=Unhealthy(refusal.error.message, refusal.error.hint))


def test_a_look_that_fails_is_no_open_gate(project, monkeypatch, hurry):
    def look(*_):
        raise ToolFailed("psql did not answer")

    monkeypatch.setattr(gates, "look", look)
    hurry(gates, 0.05)
    with pytest.raises(TimedOut, match="psql did not answer"):
        gates.require_open(project, [])


# The record -------------------------------------------------------------------------------------------------


@pytest.fixture
def project(make_project):
    made = make_project(data_centers=3, nodes=1)
    made.folder.mkdir(parents=True)
    return made


RECORD = Record("restart", 1795677494.6, {"node": "pg1-node1", "pending": "yes"}, marks={"pg1-node1": "2026"})


def test_a_record_says_where_it_is_and_how_it_goes_on(project):
    assert read_rollout(project) is None
    record = begin_turn(project, end_turn(project, RECORD, "pg2-node1"), "pg1-node1")
    assert read_rollout(project) == record
    assert record.command == "inv restart --node pg1-node1 --pending"
    said = describe_rollout(record)
    assert "begun 2026-11-26 07:18:14Z) is half done, at pg1-node1; done: pg2-node1" in said
    forget_rollout(project, "up")
    assert read_rollout(project) == record
    forget_rollout(project, "restart")
    assert read_rollout(project) is None
    forget_rollout(project)


@pytest.mark.parametrize(
    "text", ["", "verb: [", "verb: up\n", "verb: up\nbegan: soon\n", "verb: up\nbegan: 1\nasked: 3\n", "[]", "\x00"]
)
def test_a_damaged_record_is_named_with_a_way_out(project, text):
    write_rollout(project, RECORD)
    (project.folder / FILE).write_text(text)
    with pytest.raises(Damaged, match="the record of a rollout, is damaged") as caught:
        read_rollout(project)
    assert "rm build/pgha/rollout.yaml" in caught.value.hint
