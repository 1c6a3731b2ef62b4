"""Handing over and patching, against a cluster that is played by a few lines."""

import json

import pytest

from pgha.cluster import configuration, handover, quorum, slots, view
from pgha.cluster.configuration import apply_settings, patch_config
from pgha.cluster.handover import hand_over
from pgha.cluster.quorum import etcd_view, read_etcd, require_same_data, weigh_etcd
from pgha.cluster.view import able_first, able_member, agreed_view, cut_off, read_members, read_view, without_quorum
from pgha.console import Progress
from pgha.errors import BadValue, Missing, TimedOut, ToolFailed, Unhealthy, Unreachable
from pgha.tools.command import Answer
from pgha.tools.etcd import EtcdView
from pgha.tools.slots import LOGICAL


@pytest.fixture
def played(play):
    return play(configuration, handover, quorum, slots, view)


def ask_for(project, candidate="", **more):
    return hand_over(project, candidate, Progress(), **more)


# Handing over -----------------------------------------------------------------------------------------------


def test_a_healthy_leader_is_switched(project, played):
    done = ask_for(project, "pg2-node1")
    assert (done.verb, done.old, done.new) == ("switchover", "pg1-node1", "pg2-node1")
    assert done.before.leader.name == "pg1-node1"
    assert done.after.leader.name == "pg2-node1"
    assert done.waiting_for == ()
    assert len(played.commands) == 1


def test_patroni_may_choose(project, played):
    assert ask_for(project, only_switchover=True).new != "pg1-node1"


def test_a_lost_leader_is_failed_over(project, played):
    played.leader, played.away = None, {"pg1-node1"}
    done = ask_for(project, "pg3-node1")
    assert (done.verb, done.old, done.new) == ("failover", None, "pg3-node1")
    assert done.waiting_for == ()


@pytest.mark.parametrize(
    ("candidate", "words", "hint"),
    [
        ("pg1-node1", "already the leader", "pg2-node1"),
        ("pg3-node1", "does not stream", "pg2-node1"),
        ("pg9-node9", "not a Postgres node", "pg1-node1, pg2-node1, pg3-node1"),
        ("etcd1", "not a Postgres node", "pg1-node1, pg2-node1, pg3-node1"),
        ("pgbackrest", "not a Postgres node", "pg1-node1, pg2-node1, pg3-node1"),
    ],
)
def test_a_candidate_that_cannot_be_is_refused_before_anything_happens(project, played, candidate, words, hint):
    played.streaming.remove("pg3-node1")
    with pytest.raises(BadValue, match=words) as caught:
        ask_for(project, candidate)
    assert hint in caught.value.hint
    assert played.commands == []


def test_a_candidate_that_left_the_cluster_is_refused(project, played):
    played.names.remove("pg3-node1")
    with pytest.raises(BadValue, match="not in the cluster"):
        ask_for(project, "pg3-node1")


@pytest.mark.parametrize("ahead", [{"location": 1001}, {"location": 1000, "timeline": 2}], ids=["wal", "timeline"])
def test_a_failover_to_a_member_that_is_behind_is_refused(project, played, ahead):
    played.leader, played.away = None, {"pg1-node1"}
    played.location["pg3-node1"] = ahead["location"]
    played.timeline["pg3-node1"] = ahead.get("timeline", 1)
    with pytest.raises(BadValue, match="would lose what pg3-node1 has received") as caught:
        ask_for(project, "pg2-node1")
    assert caught.value.hint == "inv failover --candidate pg3-node1"
    assert played.commands == []


def test_a_failover_to_a_member_that_does_not_answer_is_refused(project, played):
    played.leader, played.away = None, {"pg1-node1"}
    with pytest.raises(BadValue, match="pg1-node1 does not run") as caught:
        ask_for(project, "pg1-node1")
    assert "pg2-node1, pg3-node1" in caught.value.hint


def test_a_switchover_needs_a_leader(project, played):
    played.leader = None
    with pytest.raises(Missing, match="no healthy leader"):
        ask_for(project, only_switchover=True)
    assert played.commands == []


def test_a_refusal_is_seen_although_patronictl_exits_0(project, played):
    played.deaf = True
    with pytest.raises(ToolFailed, match="412, no good candidates"):
        ask_for(project, "pg2-node1")


def test_a_member_that_stays_away_is_reported_and_undoes_nothing(project, played):
    played.streaming.remove("pg3-node1")
    done = ask_for(project, "pg2-node1")
    assert done.new == "pg2-node1"
    assert done.waiting_for == ("pg3-node1",)


@pytest.mark.parametrize("known", ["its key has expired", "it is down in a pause"])
def test_a_member_that_cannot_come_is_not_waited_for(project, played, hurry, known):
    hurry(handover, 3600)
    played.leader = None
    played.streaming.remove("pg1-node1")
    if known == "its key has expired":
        ordinary = played._patronictl
        played._patronictl = lambda argv: (played.names.remove("pg1-node1"), ordinary(argv))[1]
    else:
        played.config["pause"], played.states["pg1-node1"] = True, "stopped"
        played.location["pg2-node1"] = 1001
    assert ask_for(project, "pg2-node1").waiting_for == ("pg1-node1",)


def test_without_etcd_s_quorum_nothing_is_tried(project, played):
    played.etcd.update(etcd1=False, etcd2=False)
    for change in (lambda: ask_for(project, "pg2-node1"), lambda: patch_config(project, {"ttl": 30})):
        with pytest.raises(Missing, match="etcd has lost its quorum: 1 of 3"):
            change()
    assert played.commands == []


def test_an_etcd_minority_may_be_down(project, played):
    played.etcd["etcd1"] = False
    assert ask_for(project, "pg2-node1").new == "pg2-node1"


QUORUM = {"ttl": 20, "synchronous_mode": "quorum", "synchronous_node_count": 2}


@pytest.mark.parametrize("candidate", ["", "pg3-node1"])
def test_a_switchover_waits_until_a_candidate_is_synchronous(project, played, candidate):
    played.config = dict(QUORUM)
    looks, ordinary, member = [], played._standbys, played._member
    # Each look at the cluster asks once a member.
    played._standbys = lambda: [] if len(looks) < 9 and not played.commands else ordinary()
    played._member = lambda name: (looks.append(name), member(name))[1]
    assert ask_for(project, candidate, only_switchover=True).new == (candidate or "pg2-node1")
    assert len(looks) > 9


def refuse_rest(played, name, times):
    """The REST API of a member does not answer the others."""
    ordinary, left = played.run, [name] * times

    def run(host, command, line=None):
        if f"https://{name}:8008/patroni" in command.argv and left:
            left.pop()
            return Answer(command, "", "timed out", 28)
        return ordinary(host, command, line)

    played.run = run
    return left


def test_a_switchover_waits_until_a_candidates_api_answers(project, played):
    left = refuse_rest(played, "pg2-node1", 3)
    assert ask_for(project, "pg2-node1").new == "pg2-node1"
    assert left == []
    refuse_rest(played, "pg1-node1", 1000)
    with pytest.raises(TimedOut, match="pg1-node1: its REST API does not answer pg2-node1"):
        ask_for(project, "pg1-node1")
    assert len(played.commands) == 1
    assert ask_for(project, only_switchover=True).new != "pg2-node1", "another one can"


def test_with_quorum_commit_patroni_wants_the_newest_commit_among_the_candidates(project, played):
    """A commit waits for one of two: the other one may lack it."""
    played.config = {**QUORUM, "synchronous_node_count": 1}
    ordinary = played._member
    played._member = lambda name: {**ordinary(name), "role": "leader" if name == played.leader else "quorum_standby"}
    left = refuse_rest(played, "pg3-node1", 2)
    ask_for(project, only_switchover=True)
    assert left == []


def test_a_candidate_that_does_not_become_synchronous_is_not_asked(project, played):
    played.config = dict(QUORUM)
    # pg3-node1 is never among the synchronous ones.
    played._standbys = lambda: ["pg2-node1"]
    with pytest.raises(TimedOut, match=r"pg3-node1 can take over: .* \(pg3-node1: is not a synchronous standby yet\)"):
        ask_for(project, "pg3-node1")
    assert played.commands == []


def test_nobody_to_ask_is_unreachable(project, played):
    played.away = set(played.names)
    with pytest.raises(Unreachable):
        ask_for(project, "pg2-node1")


# Logical slots ----------------------------------------------------------------------------------------------

CDC = {"slot_name": "cdc", "database": "app", "plugin": "pgoutput", "failover": False, "synced": False}
DECLARED = {"slots": {"cdc": {"type": "logical", "database": "app", "plugin": "pgoutput"}}}


def slots_on(played, *names, **changes):
    played.slots = {name: [{**CDC, **changes}] for name in ("pg1-node1", *names)}


@pytest.mark.parametrize(
    ("config", "held_by", "candidate", "said"),
    [
        ({}, (), "", "the logical slot cdc is dropped: nothing keeps it"),
        ({}, (), "pg2-node1", "the logical slot cdc is dropped: nothing keeps it"),
        (DECLARED, (), "pg2-node1", "the logical slot cdc is not on every member yet: it is created again"),
        (DECLARED, ("pg2-node1",), "pg3-node1", "not on every member yet: it is created again, and its consumer"),
        (DECLARED, ("pg2-node1",), "", "not on every member yet: it is created again if pg3-node1 leads"),
        (DECLARED, ("pg2-node1",), "pg2-node1", ""),
        (DECLARED, ("pg2-node1", "pg3-node1"), "", ""),
        # Patroni drops what it does not know, also where somebody made one of the same name.
        ({}, ("pg2-node1", "pg3-node1"), "", "the logical slot cdc is dropped: nothing keeps it"),
    ],
)
def test_a_slot_that_a_switchover_drops_is_named_before_it_happens(
    project, played, capsys, config, held_by, candidate, said
):
    played.config |= config
    slots_on(played, *held_by)
    told = []
    ordinary = played._answer

    def answer(host, argv):
        if "switchover" in argv:
            told.append(capsys.readouterr().err)
        return ordinary(host, argv)

    played._answer = answer
    ask_for(project, candidate, only_switchover=not candidate)
    assert len(told) == 1
    assert said in told[0] if said else "slot" not in told[0]


def test_a_slot_that_postgres_does_not_synchronize_is_named(project, played):
    """A former leader has one of its own under that name, and PostgreSQL does not synchronize over it."""
    slots_on(played, "pg2-node1", "pg3-node1", failover=True, synced=True)
    assert slots.warnings_of_handover(project, "pg1-node1", "pg2-node1") == []
    played.slots["pg3-node1"][0]["synced"] = False
    assert slots.warnings_of_handover(project, "pg1-node1", "pg2-node1") == []
    (said,) = slots.warnings_of_handover(project, "pg1-node1", "")
    assert "the logical slot cdc is not synchronized to pg3-node1" in said


def test_a_restore_names_the_slots_it_drops_and_those_it_creates_again(project, played):
    played.config |= DECLARED
    slots_on(played, "pg2-node1", "pg3-node1")
    played.slots["pg1-node1"] += [{**CDC, "slot_name": "mine"}]
    dropped, created = slots.warnings_of_restore(project, "pg1-node1")
    assert "dropped: mine" in dropped and "created again" in created and "cdc" in created
    played.slots = {}
    assert slots.warnings_of_restore(project, "pg1-node1") == []
    played.away = {"pg1-node1"}
    assert slots.warnings_of_restore(project, "pg1-node1") == []


def test_up_declares_a_slot_once_its_database_is_there(make_project, played):
    given = {"cdc": {"database": "app"}, "none": {"database": "later"}, "own": {"type": "physical"}}
    project = make_project(data_centers=3, nodes=1, slots=given)
    assert [line.split(":")[0] for line in apply_settings(project) if line.startswith("slots")] == [
        "slots.cdc.type", "slots.cdc.plugin", "slots.cdc.database", "slots.own.type",
    ]  # fmt: skip


def test_up_names_the_slots_that_patroni_drops_when_it_makes_another(make_project, played):
    project = make_project(data_centers=3, nodes=1, slots={"cdc": {"database": "app"}})
    played.slots["pg1-node1"] = [{**CDC, "slot_name": "mine"}, {**CDC, "slot_name": "synced", "failover": True}]
    (said,) = slots.warnings_of_new_slots(project)
    assert ": mine (" in said
    played.slots["pg1-node1"] += [CDC]
    assert slots.warnings_of_new_slots(project) == [], "none is made"
    assert slots.warnings_of_new_slots(make_project(data_centers=3, nodes=1)) == []


@pytest.mark.parametrize(
    ("database", "held_by", "said"),
    [
        ("app", ("pg2-node1", "pg3-node1"), []),
        ("app", ("pg2-node1",), ["the slot cdc is not on every member yet"]),
        ("later", (), ['the slot cdc waits for its database later: create database "later", then inv up']),
    ],
)
def test_up_waits_for_the_slots_of_the_settings(make_project, played, database, held_by, said):
    project = make_project(data_centers=3, nodes=1, slots={"cdc": {"database": database}})
    played.config |= {"slots": {"cdc": {"type": "logical", "database": database, "plugin": "pgoutput"}}}
    slots_on(played, *held_by)
    notes = slots.await_slots(project, Progress())
    assert len(notes) == len(said) and all(words in note for words, note in zip(said, notes, strict=True))


def test_up_waits_for_a_standby_that_restarts_to_get_a_slot(make_project, played):
    """While it does, its Postgres takes no connection."""
    project = make_project(data_centers=3, nodes=1, slots={"cdc": {"database": "app"}})
    played.config |= DECLARED
    slots_on(played, "pg2-node1", "pg3-node1")
    ordinary, refusals = played.run, ["refused"] * 2

    def run(host, command, line=None):
        if host == "pg3-node1" and command.argv[-1] == LOGICAL and refusals:
            return Answer(command, "", refusals.pop(), 2)
        return ordinary(host, command, line)

    played.run = run
    assert slots.await_slots(project, Progress()) == []
    assert refusals == []


# Reading and patching ---------------------------------------------------------------------------------------


def test_the_view_comes_from_any_member_that_answers(project, played):
    played.away = {"pg1-node1", "pg2-node1"}
    assert read_view(project).leader.name == "pg1-node1"


def test_every_node_has_its_state_or_its_error(project, played):
    played.away = {"pg2-node1"}
    members = read_members(project)
    assert members["pg1-node1"].node.role == "leader"
    assert isinstance(members["pg2-node1"], Unreachable)


def other_side(played):
    """pg1-node1 is cut off, still thinks that it leads, and is asked first; pg2-node1 leads on timeline 2."""
    played.cut = {"pg1-node1"}
    ordinary = played._cluster

    def cluster(host=None):
        played.leader = "pg1-node1" if host == "pg1-node1" else "pg2-node1"
        return ordinary()

    answer = played._answer

    def tell(host, argv):
        played._cluster = lambda: cluster(host)
        return answer(host, argv)

    played._answer = tell


@pytest.mark.parametrize("clock", [0, 3600, -3600])
def test_the_view_is_the_majoritys_whoever_is_asked_first(project, played, clock):
    other_side(played)
    played.clock = {"pg1-node1": clock, "pg3-node1": -clock}
    assert read_view(project, "pg1-node1").leader.name == "pg2-node1"
    assert agreed_view(project, read_members(project)).leader.name == "pg2-node1"


def test_a_member_that_lost_sight_of_the_dcs_is_late_and_runs_no_patronictl(project, played):
    other_side(played)
    members = read_members(project)
    assert cut_off(project, members) == {"pg1-node1": "sees no etcd majority: it is cut off"}
    assert able_member(project) == "pg2-node1"
    assert able_member(project, "pg1-node1") != "pg1-node1"


def test_a_member_that_is_cut_off_is_asked_once_and_never_first_again(project, played):
    other_side(played)
    asked = []
    ordinary = played.run
    played.run = lambda host, command, line=None: (asked.append(host), ordinary(host, command, line))[1]
    assert able_first(project)[0] != "pg1-node1"
    assert read_view(project).leader.name == "pg2-node1"
    assert able_member(project) != "pg1-node1"
    assert asked.count("pg1-node1") == 1


@pytest.mark.parametrize("lost", [False, True])
def test_a_line_that_is_cut_between_the_member_asked_and_the_leader_is_no_lost_leader(project, played, lost):
    """The member asked sees etcd, and the leader does, too."""
    played.leader = "pg2-node1"
    if lost:
        played.away = {"pg2-node1"}
    ordinary = played.run

    def run(host, command, line=None):
        unreached = ["pg1-node1", "pg3-node1"] if lost else ["pg1-node1"]
        if command.argv[0] == "curl" and "pg2-node1" in command.argv[-1] and host in unreached:
            return Answer(command, "", "timed out", 28)
        return ordinary(host, command, line)

    played.run = run
    leader = read_view(project).leader
    assert (leader.name if leader else None) == (None if lost else "pg2-node1")


def test_a_member_that_knows_is_asked_alone(project, played):
    asked = []
    ordinary = played.run
    played.run = lambda host, command, line=None: (asked.append(host), ordinary(host, command, line))[1]
    assert able_member(project, "pg3-node1") == "pg3-node1"
    assert able_first(project) == ["pg1-node1", "pg2-node1", "pg3-node1"]
    assert asked == ["pg3-node1", "pg1-node1"]


def test_without_anybody_who_can_tell_the_nodes_are_asked_in_their_order(project, played):
    played.away = set(played.names)
    assert able_first(project) == ["pg1-node1", "pg2-node1", "pg3-node1"]


def test_who_sees_no_quorum_while_others_do(project, played):
    other_side(played)
    played.silent = {"pg1-node1"}
    assert without_quorum(read_members(project)) == ["pg1-node1"]
    played.silent, played.cut = set(), {"pg1-node1", "pg3-node1"}
    assert without_quorum(read_members(project)) == ["pg1-node1", "pg3-node1"]
    played.cut = set(played.names)
    assert without_quorum(read_members(project)) == []


def test_a_member_whose_patroni_hangs_is_not_believed(project, played):
    other_side(played)
    played.cut, played.age = set(), {"pg1-node1": 35}
    assert read_view(project, "pg1-node1").leader.name == "pg2-node1"
    assert "Patroni hangs" in cut_off(project, read_members(project))["pg1-node1"]


def test_without_any_dcs_nobody_is_called_cut_off(project, played):
    played.cut = set(played.names)
    assert cut_off(project, read_members(project)) == {}


def test_a_patroni_that_was_started_beside_a_cut_and_waits_for_etcd_is_cut_off(project, played):
    played.silent = {"pg3-node1"}
    assert cut_off(project, read_members(project)) == {}
    played.cut = {"pg3-node1"}
    members = read_members(project)
    assert set(cut_off(project, members)) == {"pg3-node1"}
    assert agreed_view(project, members).leader.name == "pg1-node1"


def test_a_member_that_cannot_ask_the_dcs_is_not_the_one_to_believe(project, played):
    played.blind = {"pg1-node1"}
    assert read_view(project, "pg1-node1").leader.name == "pg1-node1"
    played.blind = set(played.names)
    with pytest.raises(ToolFailed, match="No member knows the cluster"):
        agreed_view(project, read_members(project))


def test_etcd_is_what_the_side_with_more_members_says(project, played):
    ordinary = played._answer

    def answer(host, argv):
        if argv[0] == "etcdctl" and host == "pg1-node1":
            return json.dumps([{"endpoint": f"https://{n}:2379", "health": False} for n in played.etcd])
        return ordinary(host, argv)

    played._answer = answer
    played.etcd["etcd1"] = False
    assert read_etcd(project).healthy == ("etcd2", "etcd3")


@pytest.mark.parametrize(
    ("down", "leaving", "asked"),
    [
        ([], [], "2"),
        (["etcd1"], [], "2"),
        (["etcd1"], [["etcd2"]], "26"),
        ([], [["etcd1"], ["etcd2"], ["etcd3"]], "2"),
        (["etcd1"], [["etcd1"], ["etcd2"]], "26"),
    ],
)
def test_etcd_has_more_time_before_anything_is_refused(project, played, down, leaving, asked):
    for name in down:
        played.etcd[name] = False
    timeouts = []
    ordinary = played._answer

    def answer(host, argv):
        if argv[0] == "etcdctl":
            timeouts.append(next(word for word in argv if word.startswith("--command-timeout="))[18:-1])
        return ordinary(host, argv)

    played._answer = answer
    assert len(weigh_etcd(project, *leaving).unhealthy) == len(down)
    assert "".join(dict.fromkeys(timeouts)) == asked


@pytest.mark.parametrize(
    ("second", "third", "differs"),
    [((-1, 7), (-1, 7), False), ((-1, 7), (-1, 8), True), ((20, 8), (20, 8), False), ((20, 8), (20, 9), True)],
)
def test_members_of_etcd_that_parted_are_named(project, played, second, third, differs):
    """Those whose history begins at another revision cannot be compared."""
    held = {"etcd1": (-1, 7), "etcd2": second, "etcd3": third}
    ordinary = played._answer

    def answer(host, argv):
        if "hashkv" in argv:
            assert "--rev=28" in argv
            hashed = [(n, {"compact_revision": c, "hash": h}) for n, (c, h) in held.items()]
            return json.dumps([{"Endpoint": f"https://{n}:2379", "HashKV": told} for n, told in hashed])
        if argv[0] == "etcdctl" and argv[-1] == "status":
            return '[{"Status":{"header":{"revision":30}}},{"Status":{"header":{"revision":28}}}]'
        return ordinary(host, argv)

    played._answer = answer
    if differs:
        with pytest.raises(Unhealthy, match=r"different data at revision 28: etcd1 7, etcd2 \d, etcd3 \d"):
            require_same_data(project)
    else:
        require_same_data(project)


def test_etcd_is_what_the_member_saw_that_sees_most(project, played):
    played.cut = {"pg1-node1"}
    played.etcd["etcd1"] = False
    assert etcd_view(project, read_members(project)) == EtcdView(("etcd2", "etcd3"), ("etcd1",))


def test_an_etcd_without_quorum_is_asked_again_where_no_member_answers(project, played):
    played.silent = {"pg2-node1", "pg3-node1"}
    played.cut = {"pg1-node1"}
    assert etcd_view(project, read_members(project)).has_quorum


def test_a_configuration_that_holds_is_not_patched(project, played):
    assert patch_config(project, {"ttl": 20}) == []
    assert played.commands == []


def test_a_change_is_made_and_told(project, played):
    assert patch_config(project, {"ttl": 30, "loop_wait": 5}) == ["ttl: 20 -> 30", "loop_wait: not set -> 5"]
    assert played.config == {"ttl": 30, "loop_wait": 5}


def test_a_change_that_does_not_hold_is_an_error(project, played):
    played.deaf = True
    with pytest.raises(ToolFailed, match="does not hold the change"):
        patch_config(project, {"ttl": 30})


def test_settings_are_applied_and_what_they_do_not_govern_stays(make_project, played):
    held = {"max_wal_size": "2GB", "log_min_duration_statement": -1}
    played.config = {"ttl": 30, "maximum_lag_on_failover": 5, "postgresql": {"parameters": dict(held)}}
    project = make_project(data_centers=3, nodes=1, parameters={"work_mem": "8MB"})
    assert "ttl: 30 -> 20" in apply_settings(project)
    assert played.config["maximum_lag_on_failover"] == 5
    assert played.config["postgresql"]["parameters"] == {**held, "work_mem": "8MB"}
    assert apply_settings(project) == []


@pytest.mark.parametrize(("slots", "done"), [(12, False), (10, True)])
def test_no_limit_is_set_below_what_is_in_use_anywhere(make_project, played, slots, done):
    played.config = {"postgresql": {"parameters": {"max_replication_slots": 30}}}
    played.used = {"pg1-node1": {"max_replication_slots": 3}, "pg2-node1": {"max_replication_slots": slots}}
    played.away = {"pg3-node1"}
    project = make_project(data_centers=3, nodes=1, parameters={"max_replication_slots": "10", "work_mem": "8MB"})
    said = apply_settings(project)
    assert played.config["postgresql"]["parameters"] == {"max_replication_slots": 10 if done else 30, "work_mem": "8MB"}
    line = "max_replication_slots stays: the setting is 10, and 12 are in use on pg2-node1"
    assert (line in said) is not done
