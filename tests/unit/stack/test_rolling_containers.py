"""Whether containers are made again one after another, or all at once and why."""

from types import SimpleNamespace

import pytest

from pgha.cluster.gates import Refusal
from pgha.cluster.rollout import NOT_RUNNING
from pgha.cluster.rollout_record import Record, write_rollout
from pgha.errors import NoQuorum, OtherKeys, Unhealthy
from pgha.project.certificates import authority, ensure_certificates
from pgha.stack import rolling
from pgha.stack.rolling import begin, choose_way, given_up, plan_of
from pgha.stack.rollout import GONE, PORTS, Rollout
from pgha.tools.command import Answer, Command

FILES = "their files changed"
HOSTS = ["etcd1", "pgbackrest", "pg1-node1", "pg1-node2"]


@pytest.fixture
def project(make_project):
    made = make_project(data_centers=1, nodes=2)
    made.folder.mkdir(parents=True)
    ensure_certificates(made)
    return made


@pytest.fixture
def told(monkeypatch, project):
    """What the containers say of the authority they trust: this checkout's."""
    ca = authority(project).certificate.read_text()
    told = {host: Answer(Command(("cat",)), ca, "", 0) for host in ("pgbackrest", "pg1-node1", "pg1-node2")}

    def everywhere(commands):
        return {host: told[host] for host in commands}

    monkeypatch.setattr(rolling, "connect", lambda project: SimpleNamespace(everywhere=everywhere))
    monkeypatch.setattr(rolling, "_is_well", lambda project, host: False)
    return told


def planned(why=FILES, create=(), start=(), again=HOSTS, stopped=(), **more):
    running = tuple(host for host in again if host not in stopped)
    return Rollout(tuple(create), dict.fromkeys(again, why), tuple(start), running, **more)


def test_what_runs_has_turns_and_the_rest_is_brought_up_before(project, told):
    way = choose_way(project, planned(create=["etcd2"], start=["etcd3"], stopped=["pg1-node2"]), at_once=False)
    assert (way.at_once, way.first) == ("", ("etcd2", "etcd3", "pg1-node2"))
    assert way.turns == ("etcd1", "pgbackrest", "pg1-node1")


def test_what_is_stopped_for_maintenance_is_left_out_while_others_have_their_turns(make_project, told):
    project = make_project(data_centers=1, nodes=3)
    again = ["etcd1", "pg1-node1", "pg1-node2", "pg1-node3"]
    seen = planned(again=again, start=["etcd3"], stopped=["pg1-node3"])
    way = choose_way(project, seen, at_once=False, stopped=["pg1-node3", "etcd3"])
    assert (way.first, way.turns) == ((), ("etcd1", "pg1-node1", "pg1-node2"))
    assert way.left_out == ("pg1-node3", "etcd3")
    assert "pg1-node3 stays stopped for maintenance, and is left out" in plan_of(project, way).describe()[0]
    # Where nobody has a turn, or all have it together, it is started as everything else.
    assert "etcd3" in choose_way(project, planned(again=[], start=["etcd3"]), at_once=False, stopped=["etcd3"]).first
    assert choose_way(project, seen, at_once=True, stopped=["pg1-node3"]).left_out == ()


def test_the_only_member_that_runs_is_not_made_again(project, told):
    with pytest.raises(Unhealthy, match="without pg1-node2, stopped for maintenance, nobody could take over") as caught:
        choose_way(project, planned(stopped=["pg1-node2"]), at_once=False, stopped=["pg1-node2"])
    assert caught.value.hint.startswith("inv start --node pg1-node2")
    alone = planned(again=["etcd1"], start=["pg1-node2"])
    assert choose_way(project, alone, at_once=False, stopped=["pg1-node2"]).turns == ("etcd1",)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"renumbered": True}, "every container gets another address"),
        ({"why": GONE}, "their network is gone"),
        ({"why": PORTS}, "the ports change"),
        ({"why": "Compose 2.26.1 made them and this one is 1.29.2"}, "another Compose made them"),
        ({"again": ["etcd1", "pg1-node1", "pg1-node2"], "stopped": ["pg1-node1", "pg1-node2"]}, "no Postgres runs"),
    ],
)
def test_what_cannot_be_done_one_after_another_is_done_at_once_and_why(project, told, given, why):
    way = choose_way(project, planned(**given), at_once=False)
    assert why in way.at_once
    assert (way.first, way.turns) == ((), ())
    plan = plan_of(project, way)
    assert set(plan.together) == set(given.get("again", HOSTS))
    assert any(why in line for line in plan.describe()) and "until a leader is back" in plan.describe()[-1]


def test_one_node_has_nobody_to_hand_over_to(make_project, told):
    project = make_project(data_centers=1, nodes=1)
    assert "nobody to hand over to" in choose_way(project, planned(again=["pg1-node1"]), at_once=False).at_once


def test_as_asked(project, told):
    assert choose_way(project, planned(), at_once=True).at_once == "as asked"


def test_containers_with_other_ssh_keys_cannot_be_asked(project, told):
    told["pg1-node2"] = OtherKeys("refuses the key")
    assert "other SSH keys" in choose_way(project, planned(), at_once=False).at_once


def test_certificates_of_another_authority_would_trust_one_half(project, told):
    told["pg1-node1"] = Answer(Command(("cat",)), "another one", "", 0)
    assert "another authority" in choose_way(project, planned(), at_once=False).at_once


def test_where_nothing_that_runs_is_made_again_nothing_is_asked(project):
    for given in ({"again": []}, {"again": [], "create": HOSTS}, {"stopped": HOSTS}):
        way = choose_way(project, planned(**given), at_once=False)
        assert (way.at_once, way.turns) == ("", ())
        assert set(plan_of(project, way).first) == {*given.get("again", HOSTS), *given.get("create", ())}


def test_where_it_stopped_comes_first_unless_it_is_well(project, told, monkeypatch):
    write_rollout(project, Record("up", 1.0, {}, "pg1-node2", ["etcd1"]))
    way = choose_way(project, planned(again=["pg1-node1", "pg1-node2"]), at_once=False)
    assert (way.first, way.turns) == (("pg1-node2",), ("pg1-node1",))
    assert begin(way).done == ["etcd1", "pg1-node2"]
    monkeypatch.setattr(rolling, "_is_well", lambda project, host: True)
    way = choose_way(project, planned(again=["pg1-node1", "pg1-node2"]), at_once=False)
    assert (way.first, set(way.turns)) == ((), {"pg1-node1", "pg1-node2"})


def test_a_host_that_has_to_be_made_again_once_more_is_not_done(project, told):
    write_rollout(project, Record("up", 1.0, {}, "", ["etcd1", "pgbackrest"]))
    way = choose_way(project, planned(again=["etcd1", "pg1-node1"]), at_once=False)
    assert begin(way).done == ["pgbackrest"]


def test_a_restart_that_is_half_done_is_given_up_and_it_is_said(project, told):
    write_rollout(project, Record("restart", 1.0, {"pending": "yes"}))
    way = choose_way(project, planned(), at_once=False)
    assert "is given up, and inv restart --pending begins anew" in given_up(way)
    assert begin(way).verb == "up"
    assert given_up(choose_way(project, planned(again=[]), at_once=False)) == ""


def test_the_plan_of_a_rollout_leaves_out_what_is_over_when_the_first_ones_run(project, told, monkeypatch):
    """etcd3 does not run, and is brought up before; pg1-node2 does not stream, and nothing is done about that."""
    found = [
        Refusal(NoQuorum("etcd could not do without one more member")),
        Refusal(Unhealthy("etcd3"), host="etcd3"),
        Refusal(Unhealthy("pg1-node2 does not stream"), host="pg1-node2"),
    ]
    monkeypatch.setattr(rolling, "look", lambda project, nodes, left_out: nodes)
    monkeypatch.setattr(rolling, "refusals", lambda seen: found if seen == ["pg1-node1", "pg1-node2"] else [])
    monkeypatch.setattr(rolling, "leading_etcd", lambda project: "etcd1")
    leader = SimpleNamespace(name="pg1-node2")
    monkeypatch.setattr(rolling, "read_view", lambda project: SimpleNamespace(leader=leader))
    way = choose_way(project, planned(start=["etcd3"]), at_once=False)
    plan = plan_of(project, way, gates=True)
    assert plan.first == {"etcd3": NOT_RUNNING}
    assert [step.host for step in plan.steps] == HOSTS
    assert plan.hands_over and plan.steps[0].because == FILES
    assert [str(error) for error in plan.refusals] == ["pg1-node2 does not stream"]
    assert plan_of(project, way).refusals == ()
    leader = None
    assert "nobody knows who leads" in plan_of(project, way).notes[-1]
