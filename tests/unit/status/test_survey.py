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
def asked(project, monkeypatch):
    """A cluster whose first member is cut off; who is asked what needs etcd, in this order."""
    played, asked = Played(project), []
    played.leader, played.cut, played.streaming = "pg2-node1", {"pg1-node1"}, {"pg2-node1", "pg3-node1"}
    ordinary = played.run
    played.run = lambda host, command, line=None: (asked.append(host), ordinary(host, command, line))[1]
    for module in (quorum, slots, stanza, view):
        monkeypatch.setattr(module, "connect", lambda project: played)
    monkeypatch.setattr(survey, "log_in", lambda project, leader: None)
    return asked


def test_a_member_that_is_cut_off_costs_one_question(project, asked):
    """Each one would wait for etcd there, and the waiting would add up."""
    seen = look(project, {})
    assert (seen.leader, list(seen.late)) == ("pg2-node1", ["pg1-node1"])
    assert asked.count("pg1-node1") == 1
