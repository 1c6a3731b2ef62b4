import pytest

from pgha.model.dynamic import (
    PARAMETERS,
    TLS_PARAMETERS,
    bootstrap_configuration,
    governed_configuration,
    without_known,
)
from pgha.model.merging import flatten, merge_patch
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.tools.patroni import ClusterView, Member, NodeState, confirm_streaming


def member(name, role="replica", state="streaming", timeline=1):
    return Member(name, role, state, timeline, lag=0)


LEADER = member("a", "leader", "running")


# Who streams ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standby", "well"),
    [
        (member("b"), True),
        (member("b", "sync_standby"), True),
        (member("b", timeline=2), False),
        (member("b", timeline=None), False),
        (member("b", state="running"), False),
        (member("b", state="in archive recovery"), False),
        (member("b", state="starting"), False),
        (member("b", "leader", "stopped"), False),
    ],
)
def test_a_standby_is_well_when_it_streams_on_the_leader_s_timeline(standby, well):
    assert ClusterView((LEADER, standby)).not_streaming(["a", "b"]) == ([] if well else ["b"])


def test_a_member_that_is_not_there_does_not_stream():
    assert ClusterView((LEADER,)).not_streaming(["a", "b"]) == ["b"]


def test_without_a_running_leader_nobody_streams():
    view = ClusterView((member("a", "leader", "starting"), member("b")))
    assert view.leader is None
    assert view.not_streaming(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("state", "listed", "seen"),
    [
        ("streaming", True, "streaming"),
        ("streaming", False, "running"),
        ("running", True, "streaming"),
        ("running", False, "running"),
        ("stopped", True, "stopped"),
        ("starting", False, "starting"),
    ],
)
def test_the_leader_s_own_list_decides_who_streams(state, listed, seen):
    said = NodeState("a", "leader", "running", 1, None, None, 1, ("b",) if listed else (), "3.0.2")
    view = confirm_streaming(ClusterView((LEADER, member("b", state=state)), paused=True), said)
    assert view.member("b").state == seen
    assert view.leader == LEADER
    assert view.paused


# The dynamic configuration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "wanted", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}, {}),
        ({"a": "1"}, {"a": 1}, {"a": 1}),
        ({"synchronous_mode": True}, {"synchronous_mode": "quorum"}, {"synchronous_mode": "quorum"}),
    ],
)
def test_a_patch_is_what_is_not_held_yet(current, wanted, patch):
    assert merge_patch(current, wanted) == patch


def test_a_patch_changes_neither_side():
    current, wanted = {"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}
    merge_patch(current, wanted)
    assert (current, wanted) == ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}})


def test_flat_keys_are_dotted():
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": 3}}}) == {"a": 1, "b.c": 2, "b.d.e": 3}


def both(**settings):
    read = read_settings(settings)
    topology = build_topology(read)
    return governed_configuration(read, topology), bootstrap_configuration(read, topology)


def test_up_leaves_alone_what_no_setting_governs():
    """Above all archiving, which only a new cluster has switched off, and an `edit-config` of a parameter."""
    governed, first = both()
    assert set(governed) == {
        "ttl", "loop_wait", "retry_timeout", "primary_stop_timeout", "synchronous_mode", "synchronous_node_count",
    }  # fmt: skip
    assert first["postgresql"]["parameters"] == {**PARAMETERS, **TLS_PARAMETERS, "archive_command": "/bin/true"}
    _, plain = both(tls=False)
    assert plain["postgresql"]["parameters"] == {**PARAMETERS, "archive_command": "/bin/true"}
    assert first | governed == first


SLOTS_TEXT = "{cdc: {database: app}, own: {type: physical}}"


def test_parameters_of_the_settings_go_over_the_project_s():
    governed, first = both(parameters={"max_wal_size": "2GB", "max_connections": "200", "pg_stat.on": "007"})
    given = {"max_wal_size": "2GB", "max_connections": 200, "pg_stat.on": "007"}
    assert governed["postgresql"] == {"parameters": given}
    assert first["postgresql"]["parameters"] == {
        **PARAMETERS,
        **TLS_PARAMETERS,
        "archive_command": "/bin/true",
        **given,
    }
    assert first["postgresql"]["use_slots"] is True


@pytest.mark.parametrize("given", [{"cdc": {"database": "app"}, "own": {"type": "physical"}}, SLOTS_TEXT])
def test_slots_are_given_to_patroni_as_it_wants_them(given):
    logical = {"type": "logical", "database": "app", "plugin": "pgoutput"}
    governed, first = both(slots=given)
    assert governed["slots"] == {"cdc": logical, "own": {"type": "physical"}}
    assert first["slots"] == {"own": {"type": "physical"}}, "a new cluster has no database app"
    assert both(slots={"cdc": {"database": "postgres"}})[1]["slots"]["cdc"]["database"] == "postgres"
    assert "slots" not in both()[1]
    assert both(slots={"cdc": {"database": "app", "plugin": "wal2json"}})[0]["slots"]["cdc"]["plugin"] == "wal2json"


@pytest.mark.parametrize(
    ("wanted", "held", "left"),
    [
        ({"a": 200}, {}, {"a": 200}),
        ({"a": 200}, {"a": 200, "b": 1}, {}),
        ({"a": 200}, {"a": "200"}, {}),
        ({"a": "on"}, {"a": True}, {}),
        ({"a": "off"}, {"a": False}, {}),
        ({"a": "on"}, {"a": False}, {"a": "on"}),
        ({"a": ""}, {"a": None}, {"a": ""}),
    ],
)
def test_a_parameter_that_is_held_is_no_change(wanted, held, left):
    assert without_known(wanted, held) == left
