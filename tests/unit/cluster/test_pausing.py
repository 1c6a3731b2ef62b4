"""Pauses, against a cluster that is played by a few lines."""

import pytest

from pgha.cluster import configuration, handover, pausing, quorum, view
from pgha.cluster.handover import hand_over
from pgha.cluster.pausing import set_paused
from pgha.console import Progress
from pgha.errors import NoQuorum, TimedOut, ToolFailed, Unhealthy
from pgha.tools import patronictl


@pytest.fixture
def played(play):
    return play(configuration, handover, pausing, quorum, view)


def test_a_pause_is_known_to_every_member(project, played):
    mode = set_paused(project, True, Progress())
    assert (mode.paused, mode.was, mode.knowing, dict(mode.unaware)) == (True, False, tuple(played.names), {})
    assert mode.view.paused
    mode = set_paused(project, False, Progress())
    assert (mode.paused, mode.was, mode.view.paused) == (False, True, False)
    assert [command.split()[0] for command in played.commands] == ["pause", "resume"]


@pytest.mark.parametrize("paused", [True, False])
def test_what_is_so_already_is_not_asked_for_again(project, played, paused):
    played.config["pause"] = paused
    mode = set_paused(project, paused, Progress())
    assert mode.was == mode.paused == paused
    assert played.commands == []


def test_a_member_that_goes_on_as_before_is_named(project, played):
    played.hung = {"pg2-node1"}
    with pytest.raises(TimedOut, match=r"is paused, but .* \(not yet: pg2-node1\)"):
        set_paused(project, True, Progress())


@pytest.mark.parametrize(("spoil", "why"), [("away", "cannot be reached"), ("cut", "no etcd majority")])
def test_a_member_that_is_away_is_not_waited_for_and_named(project, played, spoil, why):
    getattr(played, spoil).add("pg2-node1")
    played.hung = {"pg2-node1"}
    mode = set_paused(project, True, Progress())
    assert mode.knowing == ("pg1-node1", "pg3-node1")
    assert why in mode.unaware["pg2-node1"]


def test_without_quorum_nothing_is_asked_for(project, played):
    played.etcd = dict.fromkeys(played.etcd, False)
    with pytest.raises(NoQuorum):
        set_paused(project, True, Progress())
    assert played.commands == []


def test_success_is_judged_by_the_configuration(project, played):
    played.deaf = True
    with pytest.raises(ToolFailed, match="The cluster is not paused"):
        set_paused(project, True, Progress())


def test_in_a_pause_patroni_chooses_no_candidate(project, played):
    played.config["pause"] = True
    with pytest.raises(Unhealthy, match="paused") as caught:
        hand_over(project, "", Progress(), only_switchover=True)
    assert "inv resume" in caught.value.hint
    assert played.commands == []
    assert hand_over(project, "pg2-node1", Progress(), only_switchover=True).new == "pg2-node1"


@pytest.mark.parametrize("text", ["name alone\n", "name\nno JSON\n", "name\n3\n"])
def test_keys_that_are_none_are_told(text):
    with pytest.raises(ToolFailed, match="etcdctl"):
        patronictl.parse_member_keys(text)
