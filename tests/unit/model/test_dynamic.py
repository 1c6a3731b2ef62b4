import pytest

from pgha.model.dynamic import bootstrap_configuration, dynamic_configuration
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


def test_only_a_new_cluster_throws_its_wal_away():
    """`up` applies the configuration again and again: it must not switch archiving off."""
    settings = read_settings({})
    topology = build_topology(settings)
    assert "archive_command" not in dynamic_configuration(settings, topology)["postgresql"]["parameters"]
    assert "archive_command" in bootstrap_configuration(settings, topology)["postgresql"]["parameters"]
