"""A rollout against a cluster that is played by a few lines: who has had a turn when, and where it stops."""

from types import SimpleNamespace

import pytest

from pgha.cluster import restart as restarting
from pgha.cluster import rolling
from pgha.cluster.rolling import Work, roll
from pgha.cluster.rollout_record import Record, begin_turn, read_rollout, write_rollout
from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, NoLeader, TimedOut, ToolFailed, Unhealthy, Unreachable
from pgha.tools.command import Answer
from pgha.tools.restarts import Standing

NODES = ["pg1-node1", "pg2-node1", "pg3-node1"]


class Played:
    """What happens to a cluster that pg1-node1 leads; tests spoil what they need."""

    def __init__(self):
        self.leader, self.next_leader = "pg1-node1", "pg3-node1"
        self.happened, self.gates = [], []
        self.lacks, self.refuse = {}, {}
        self.late = ()
        self.restarts_the_leader = False
        self.done = set()

    def act(self, host):
        self.happened.append(host)
        self.done.add(host)

    def lead_elsewhere(self, project, view, leaving, progress):
        old, self.leader = self.leader, self.next_leader
        self.leaving = leaving
        self.happened.append(f"{old} -> {self.leader}")
        if self.restarts_the_leader:
            self.done.add(old)
        return SimpleNamespace(old=old, new=self.leader, waiting_for=self.late, leader_seconds=2.04)

    def require_open(self, project, restarted, hint, left_out):
        self.gates.append(set(restarted))
        if len(self.gates) in self.refuse:
            raise Unhealthy(self.refuse[len(self.gates)], hint)


@pytest.fixture
def project(make_project):
    made = make_project(data_centers=3, nodes=1)
    made.folder.mkdir(parents=True)
    return made


@pytest.fixture
def played(monkeypatch, hurry):
    played = Played()
    monkeypatch.setattr(rolling, "_leader", lambda project: played.leader)
    monkeypatch.setattr(rolling, "leading_etcd", lambda project: "etcd1")
    monkeypatch.setattr(rolling, "lead_elsewhere", played.lead_elsewhere)
    streaming = [SimpleNamespace(name=name, streams=name != played.leader) for name in NODES]
    monkeypatch.setattr(rolling, "read_view", lambda project: SimpleNamespace(members=streaming))
    monkeypatch.setattr(rolling, "require_open", played.require_open)
    for lacks in ("_etcd_lacks", "_repository_lacks", "_member_lacks"):
        monkeypatch.setattr(rolling, lacks, lambda project, host: played.lacks.get(host, ""))
    hurry(rolling, 0.1)
    return played


def work(played, **changes):
    return Work("made again", played.act, lambda host: host in played.done, "then inv up goes on", **changes)


def do(project, played, *hosts, record=None, **changes):
    return roll(project, record or Record("up", 1.0), hosts, work(played, **changes), Progress())


def test_the_leader_hands_over_when_all_others_have_had_their_turn(project, played):
    rolled = do(project, played, "etcd1", "etcd2", "pgbackrest", *NODES)
    turns = ["etcd2", "etcd1", "pgbackrest", "pg2-node1", "pg3-node1", "pg1-node1 -> pg3-node1", "pg1-node1"]
    assert played.happened == turns
    assert rolled.done == tuple(turn for turn in turns if ">" not in turn)
    assert rolled.handover.new == "pg3-node1"
    # All that are restarted are looked at before the first turn, then each before its own.
    assert played.gates[0] == set(NODES) and {"pg1-node1"} in played.gates[1:]


def test_a_switchover_that_restarts_the_leader_is_its_turn(project, played):
    played.restarts_the_leader = True
    assert do(project, played, *NODES).done == ("pg2-node1", "pg3-node1", "pg1-node1")
    assert played.happened == ["pg2-node1", "pg3-node1", "pg1-node1 -> pg3-node1"]


def test_whoever_leads_meanwhile_is_last(project, played):
    """Somebody else took over while the first replica had its turn."""
    ordinary = played.act

    def act(host):
        ordinary(host)
        if len(played.happened) == 1:
            played.leader, played.next_leader = "pg3-node1", "pg2-node1"

    played.act = act
    do(project, played, *NODES)
    assert played.happened == ["pg2-node1", "pg1-node1", "pg3-node1 -> pg2-node1", "pg3-node1"]


def test_a_leader_that_does_not_hand_over_is_restarted_in_place(project, played):
    do(project, played, *NODES, in_place=True, leader_first=True)
    assert played.happened == ["pg1-node1", "pg2-node1", "pg3-node1"]


@pytest.mark.parametrize(
    ("avoid", "leaving"),
    [
        ((), ["pg1-node1"]),
        (["pg2-node1"], ["pg1-node1", "pg2-node1"]),
        # When there is no other one it is one of those.
        (["pg2-node1", "pg3-node1"], ["pg1-node1"]),
    ],
)
def test_the_lead_does_not_go_to_one_that_is_about_to_go(project, played, avoid, leaving):
    do(project, played, *NODES, avoid=avoid)
    assert played.leaving == leaving


def test_a_leader_that_lost_the_lead_meanwhile_has_its_turn_as_a_replica(project, played, monkeypatch):
    monkeypatch.setattr(rolling, "lead_elsewhere", lambda *_: setattr(played, "leader", "pg3-node1"))
    assert do(project, played, "pg1-node1", "pg2-node1").handover is None
    assert played.happened == ["pg2-node1", "pg1-node1"]


def test_one_that_has_a_record_of_its_own_writes_none(project, played):
    roll(project, None, NODES, work(played), Progress())
    assert "pg1-node1 -> pg3-node1" in played.happened and read_rollout(project) is None


def test_it_stops_at_the_first_that_does_not_come_back_and_knows_where(project, played):
    played.lacks = {"pg2-node1": "it does not stream (starting)"}
    with pytest.raises(TimedOut, match=r"stops at pg2-node1, .* within \d+ s: it does not stream") as caught:
        do(project, played, "etcd1", *NODES)
    assert caught.value.hint == "inv logs --node pg2-node1 tells why; then inv up goes on"
    assert played.happened == ["etcd1", "pg2-node1"]
    record = read_rollout(project)
    assert (record.at, record.done) == ("pg2-node1", ["etcd1"])


def test_one_that_runs_as_before_is_not_back(project, played):
    """It streams, but was not made again."""
    played.act = lambda host: None
    with pytest.raises(TimedOut, match="it is not made again yet"):
        do(project, played, "pg2-node1")


def test_a_member_that_does_not_follow_the_new_leader_stops_it(project, played):
    played.late = ("pg2-node1",)
    with pytest.raises(TimedOut, match="after the switchover to pg3-node1: pg2-node1 does not stream"):
        do(project, played, *NODES)
    assert "pg1-node1" not in played.happened


@pytest.mark.parametrize(("gate", "happened", "hint"), [(1, [], ""), (2, ["pg2-node1"], "1 of 3 are done")])
def test_a_gate_that_closes_stops_it_before_the_next_turn(project, played, gate, happened, hint):
    played.refuse = {gate: "a transaction is open"}
    with pytest.raises(Unhealthy, match="a transaction is open") as caught:
        do(project, played, *NODES)
    assert played.happened == happened
    assert caught.value.hint.startswith(hint)
    record = read_rollout(project)
    assert record is None if gate == 1 else (record.at, record.done) == ("", ["pg2-node1"])


def test_an_interruption_leaves_the_host_it_was_at(project, played):
    def act(host):
        raise KeyboardInterrupt

    played.act = act
    with pytest.raises(KeyboardInterrupt):
        do(project, played, *NODES)
    assert read_rollout(project).at == "pg2-node1"


# Restart ----------------------------------------------------------------------------------------------------


@pytest.fixture
def standing(monkeypatch, played):
    """Since when each Postgres runs; a restart makes it later."""
    standing = {name: Standing("08:00") for name in NODES}
    monkeypatch.setattr(restarting, "read_standing", lambda project: dict(standing))
    monkeypatch.setattr(restarting, "require_leader", lambda project: SimpleNamespace(name=played.leader))
    monkeypatch.setattr(restarting, "look", lambda project, hosts, left_out: None)
    monkeypatch.setattr(restarting, "refusals", lambda seen: [])
    monkeypatch.setattr(restarting, "able_member", lambda project: "pg3-node1")

    def run(host, command):
        member = command.argv[5]
        played.happened.append(member)
        if member in played.refuse:
            return Answer(command, f"Failed: restart for member {member}, status code=503", "", 0)
        standing[member] = Standing("09:00")
        return Answer(command, f"Success: restart on member {member}", "", 0)

    monkeypatch.setattr(restarting, "connect", lambda project: SimpleNamespace(run=run))
    ordinary = played.lead_elsewhere

    def lead_elsewhere(*given):
        standing[played.leader] = Standing("09:00")
        return ordinary(*given)

    monkeypatch.setattr(rolling, "lead_elsewhere", lead_elsewhere)
    return standing


def prepare(project, node="", pending=False, stopped=()):
    return restarting.prepare(project, node, pending, stopped)


def restart(project, **asked):
    return restarting.restart(project, prepare(project, **asked), Progress())


def hosts_of(plan):
    return [step.host for step in plan.steps]


def test_every_member_is_restarted_the_leader_by_its_switchover(project, played, standing):
    done = restart(project)
    assert played.happened == ["pg2-node1", "pg3-node1", "pg1-node1 -> pg3-node1"]
    assert done.done == ("pg2-node1", "pg3-node1", "pg1-node1")
    assert read_rollout(project) is None


def test_only_those_that_wait_for_it(project, played, standing):
    assert prepare(project, pending=True).plan.empty
    standing["pg2-node1"] = Standing("08:00", {"shared_buffers": ("128MB", "256MB")})
    plan = prepare(project, pending=True).plan
    assert [(step.host, step.because) for step in plan.steps] == [("pg2-node1", "shared_buffers 128MB -> 256MB")]
    assert plan.outage == "writes go on"


def test_one_member_that_leads_hands_over(project, played, standing):
    assert prepare(project, node="pg1-node1").plan.hands_over
    restart(project, node="pg1-node1")
    assert played.happened == ["pg1-node1 -> pg3-node1"]


def test_a_name_that_is_no_node_is_refused(project, played, standing):
    with pytest.raises(BadValue, match="etcd1 is not a Postgres node"):
        prepare(project, node="etcd1")


@pytest.mark.parametrize(("then", "in_place"), [("50", True), ("200", False), ("", False)])
def test_a_limit_that_becomes_smaller_restarts_the_leader_first_and_in_place(project, played, standing, then, in_place):
    for name in NODES:
        standing[name] = Standing("08:00", {"max_connections": ("100", then)})
    plan = prepare(project).plan
    assert bool(plan.in_place) is in_place
    assert hosts_of(plan)[0] == ("pg1-node1" if in_place else "pg2-node1")
    restart(project)
    assert played.happened[0] == plan.steps[0].host
    assert any(">" in happened for happened in played.happened) is not in_place


def test_one_node_is_restarted_in_place(make_project, played, standing):
    project = make_project(data_centers=1, nodes=1)
    project.folder.mkdir(parents=True)
    plan = prepare(project).plan
    assert (plan.in_place, plan.outage) == (restarting.ONE_NODE, "writes stop while the leader's Postgres restarts")
    restart(project)
    assert played.happened == ["pg1-node1"]


MARKS = dict.fromkeys(NODES, "08:00")


def test_the_same_command_goes_on_where_it_was(project, played, standing):
    """Also with what somebody else restarted meanwhile."""
    write_rollout(project, Record("restart", 1.0, {}, "pg3-node1", [], MARKS))
    standing["pg3-node1"] = Standing("08:30")
    prepared = prepare(project)
    assert prepared.plan.done == ("pg3-node1",) and "this goes on with it" in prepared.plan.notes[0]
    restart(project)
    assert played.happened == ["pg2-node1", "pg1-node1 -> pg3-node1"]
    assert read_rollout(project) is None


def test_a_restart_whose_members_were_all_started_since_is_over(project, played, standing):
    write_rollout(project, Record("restart", 1.0, {}, "", [], MARKS))
    standing.update(dict.fromkeys(NODES, Standing("08:30")))
    assert restart(project).done == tuple(NODES)
    assert played.happened == [] and read_rollout(project) is None


def test_another_restart_begins_anew_and_says_so(project, played, standing):
    write_rollout(project, Record("restart", 1.0, {}, "", [], MARKS))
    standing["pg2-node1"] = Standing("08:30")
    prepared = prepare(project, node="pg2-node1")
    assert hosts_of(prepared.plan) == ["pg2-node1"]
    assert "it is given up for this one" in prepared.plan.notes[0]


def test_nothing_to_do_leaves_another_ones_record(project, played, standing):
    write_rollout(project, Record("restart", 1.0, {}, "", [], MARKS))
    restart(project, pending=True)
    assert read_rollout(project) is not None


def test_an_up_that_is_half_done_comes_first(project, played, standing):
    begin_turn(project, Record("up", 1.0), "pg2-node1")
    with pytest.raises(HalfDone, match="at pg2-node1") as caught:
        prepare(project)
    assert caught.value.hint == "inv up completes it"


def test_a_member_that_cannot_be_asked_is_not_restarted_blindly(project, played, standing):
    standing["pg2-node1"] = Unreachable("pg2-node1 cannot be reached")
    with pytest.raises(Unhealthy, match="pg2-node1 does not say since when"):
        restart(project)
    assert played.happened == []


def test_patronis_refusal_is_told_in_its_own_words(project, played, standing):
    played.refuse = {"pg2-node1": ""}
    with pytest.raises(ToolFailed, match=r"did not restart pg2-node1\n.*status code=503"):
        restart(project)
    assert read_rollout(project).at == "pg2-node1"


def test_what_still_waits_is_told(project, played, standing):
    standing["pg3-node1"] = Standing("08:00", {"shared_buffers": ("1", "2")})
    done = restart(project, node="pg2-node1")
    assert done.still_pending == {"pg3-node1": ("shared_buffers",)}


def test_without_a_leader_nothing_begins(project, played, standing, monkeypatch):
    def nobody(project):
        raise NoLeader("The cluster has no leader at the moment")

    monkeypatch.setattr(restarting, "require_leader", nobody)
    with pytest.raises(NoLeader):
        prepare(project)


def test_a_member_in_maintenance_is_left_out_of_a_restart_and_stays_stopped(project, played, standing):
    standing["pg2-node1"] = Unreachable("pg2-node1 is away")
    plan = prepare(project, stopped=["pg2-node1", "etcd2"]).plan
    assert (hosts_of(plan), plan.refusals) == (["pg3-node1", "pg1-node1"], ())
    assert plan.notes == (
        "pg2-node1 stays stopped for maintenance, and is left out: its Postgres starts anew with "
        "inv start --node pg2-node1",
    )
    assert restart(project, stopped=["pg2-node1"]).done == ("pg3-node1", "pg1-node1")
    with pytest.raises(Unhealthy, match="pg2-node1 is stopped for maintenance") as caught:
        prepare(project, node="pg2-node1", stopped=["pg2-node1"])
    assert "inv start --node pg2-node1" in caught.value.hint


def test_the_last_member_beside_those_in_maintenance_is_not_restarted(project, played, standing):
    with pytest.raises(Unhealthy, match="without pg2-node1 and pg3-node1, stopped for maintenance") as caught:
        prepare(project, stopped=["pg2-node1", "pg3-node1"])
    assert caught.value.hint == "inv start --node pg2-node1, then inv restart"
