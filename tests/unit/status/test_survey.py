"""One look at a cluster that is played by a few lines."""

import pytest
from played import Played

from pgha.backup import stanza
from pgha.cluster import quorum, slots, view
from pgha.status import survey
from pgha.status.survey import look


@pytest.fixture
def project(make_project):
    return make_project(data_centers=3, nodes=1, pgbackrest=False)


@pytest.fixture
def played(project, monkeypatch):
    """A cluster that notes who is asked, and with which words, in this order."""
    played, ordinary = Played(project), Played.run
    played.asked = []
    played.run = lambda host, command, line=None: (
        played.asked.append((host, " ".join(command.argv))), ordinary(played, host, command, line)
    )[1]  # fmt: skip
    for module in (quorum, slots, stanza, view):
        monkeypatch.setattr(module, "connect", lambda project: played)
    monkeypatch.setattr(survey, "log_in", lambda project, leader: None)
    return played


def test_a_member_that_is_cut_off_costs_one_question(project, played):
    """Each one would wait for etcd there, and the waiting would add up."""
    played.leader, played.cut, played.streaming = "pg2-node1", {"pg1-node1"}, {"pg2-node1", "pg3-node1"}
    seen = look(project, {})
    assert (seen.leader, list(seen.late)) == ("pg2-node1", ["pg1-node1"])
    assert [host for host, _ in played.asked].count("pg1-node1") == 1


def test_a_leader_whose_container_is_frozen_is_not_waited_for(project, played):
    """Until its lock expires the DCS goes on naming it; it takes a connection, and answers nobody."""
    played.away = {"pg1-node1"}
    with played.leaving_out({"pg1-node1": "paused"}):
        seen = look(project, {})
    assert seen.leader is None
    assert not [words for _, words in played.asked if "//pg1-node1" in words]


def test_a_leader_whose_patroni_hangs_is_waited_for_once(project, played):
    """Beside it; whoever asks it from elsewhere would wait, too."""
    played.silent = {"pg1-node1"}
    seen = look(project, {})
    assert seen.leader is None
    assert not [words for _, words in played.asked if "//pg1-node1" in words]
