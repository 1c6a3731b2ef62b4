"""A change of the dynamic configuration, in a cluster that is played by a few lines."""

import pytest

from pgha.cluster import config_change, configuration, quorum, view
from pgha.cluster.config_change import apply_change, plan_change
from pgha.console import Progress
from pgha.errors import BadValue, NoLeader, NoQuorum, TimedOut

WORK_MEM = "postgresql.parameters.work_mem"


@pytest.fixture
def played(play):
    """Its Postgres knows work_mem and max_connections; its members take what the DCS holds."""
    played = play(config_change, configuration, quorum, view)
    played.config = {"ttl": 20, "postgresql": {"parameters": {"work_mem": "4MB", "jit": "on"}}}
    return played


def change(project, *sets, unset=()):
    planned = plan_change(project, sets, unset)
    return planned, apply_change(project, planned, Progress())


def test_a_change_is_shown_applied_and_taken(project, played):
    planned, taken = change(project, f"{WORK_MEM}=8MB", "failsafe_mode=false")
    assert [(c.key, c.before, c.after, c.in_force, c.restart) for c in planned.changes] == [
        (WORK_MEM, "4MB", "8MB", "8MB", False), ("failsafe_mode", None, False, "", False),
    ]  # fmt: skip
    assert played.config["postgresql"]["parameters"] == {"work_mem": "8MB", "jit": "on"}
    assert (dict(taken.pending), dict(taken.unaware), taken.overridden) == ({}, {}, ())


@pytest.mark.parametrize("word", [f"{WORK_MEM}=4MB", "postgresql.parameters.jit=on", "ignore_slots=null"])
def test_what_holds_already_is_no_change(project, played, word):
    assert plan_change(project, [word], []).changes == ()


def test_what_is_not_set_is_not_taken_out(project, played):
    assert plan_change(project, [], ["postgresql.parameters.nothing", "slots.nothing"]).changes == ()


def test_what_waits_for_a_restart_is_told(project, played):
    played.pending = {"pg2-node1": ["max_connections"]}
    planned, taken = change(project, "postgresql.parameters.max_connections=200")
    assert (planned.changes[0].in_force, planned.changes[0].restart) == ("100", True)
    assert dict(taken.pending) == {"pg2-node1": ("max_connections",)}
    assert [line.split(",")[0] for line in taken.overridden] == [
        "max_connections is 100 on pg1-node1 all the same", "max_connections is 100 on pg3-node1 all the same",
    ]  # fmt: skip


def test_a_value_that_postgres_does_not_take_is_refused_with_its_words(project, played):
    with pytest.raises(
        BadValue, match='Postgres does not take work_mem banana: invalid value for parameter "work_mem"'
    ):
        plan_change(project, [f"{WORK_MEM}=banana"], [])
    assert played.commands == []


@pytest.mark.parametrize(
    ("used", "sets", "unset", "words"),
    [
        ({"max_connections": 30}, ["max_connections=29"], [], "would be 29, and 30 are in use on pg2-node1"),
        ({"max_connections": 130}, [], ["max_connections"], "would be 100, and 130 are in use"),
        ({"logical_slots": 2}, ["wal_level=replica"], [], "pg2-node1 has 2 logical slots"),
        ({"logical_slots": 2}, [], ["wal_level"], "2 logical slots"),
    ],
)
def test_nothing_goes_below_what_is_in_use(project, played, used, sets, unset, words):
    played.used = {"pg2-node1": used}
    played.config["postgresql"]["parameters"] |= {"max_connections": 200, "wal_level": "logical"}
    names = [f"postgresql.parameters.{name}" for name in unset]
    with pytest.raises(BadValue, match=words):
        plan_change(project, [f"postgresql.parameters.{text}" for text in sets], names)
    assert played.commands == []


def test_a_library_that_a_member_lacks_is_refused(project, played):
    played.lacks = {"pg3-node1": "nosuch\n"}
    with pytest.raises(BadValue, match="pg3-node1 has no library nosuch"):
        plan_change(project, ["postgresql.parameters.session_preload_libraries='nosuch'"], [])


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["slots.cdc={type: logical, database: nosuch, plugin: pgoutput}"], "there is no database nosuch"),
        (["slots.cdc={type: logical, database: app}"], "cdc has no plugin"),
        (["slots.cdc={database: app, plugin: pgoutput}"], "cdc has no type"),
        (["slots.held.database=nosuch"], "there is no database nosuch"),
        (["slots.Cdc={type: physical}"], "'Cdc' is not the name of a slot"),
        (["slots.pg1_node1={type: physical}"], "a member's own slot"),
        (["slots.cdc={type: physical, database: app}"], "it has no database"),
    ],
)
def test_a_slot_that_patroni_cannot_make_is_refused(project, played, words, wrong):
    played.config["slots"] = {"held": {"type": "logical", "database": "app", "plugin": "pgoutput"}}
    with pytest.raises(BadValue, match=wrong):
        plan_change(project, words, [])
    assert plan_change(project, ["slots.cdc={type: logical, database: app, plugin: pgoutput}"], ["slots.held"]).changes


def test_a_member_that_is_being_made_takes_it_later(project, played):
    played.states, played.stuck = {"pg2-node1": "creating replica"}, {"pg2-node1": {"ttl": 20}}
    assert dict(change(project, f"{WORK_MEM}=8MB")[1].unaware) == {"pg2-node1": "it is creating replica"}


def test_a_name_that_is_none_is_refused(project, played):
    with pytest.raises(BadValue, match="'Work_Mem' is not the name") as caught:
        plan_change(project, ["postgresql.parameters.Work_Mem=8MB"], [])
    assert "work_mem" in caught.value.hint


def test_a_member_that_has_not_taken_it_is_named(project, played):
    played.stuck = {"pg2-node1": {"ttl": 20}}
    planned = plan_change(project, [f"{WORK_MEM}=8MB"], [])
    with pytest.raises(TimedOut, match=r"not yet: pg2-node1\)"):
        apply_change(project, planned, Progress())


@pytest.mark.parametrize("spoil", ["away", "cut"])
def test_a_member_that_is_away_takes_it_later(project, played, spoil):
    getattr(played, spoil).add("pg2-node1")
    played.stuck = {"pg2-node1": {"ttl": 20}}
    assert list(change(project, f"{WORK_MEM}=8MB")[1].unaware) == ["pg2-node1"]


def test_without_leader_or_quorum_nothing_is_changed(project, played):
    planned = plan_change(project, [f"{WORK_MEM}=8MB"], [])
    played.etcd = dict.fromkeys(played.etcd, False)
    with pytest.raises(NoQuorum):
        apply_change(project, planned, Progress())
    played.leader = None
    with pytest.raises(NoLeader):
        plan_change(project, [f"{WORK_MEM}=8MB"], [])
    assert played.commands == []
