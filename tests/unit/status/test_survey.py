"""One look at a cluster that is played by a few lines."""

import threading

import pytest
from played import Played

from pgha.backup import stanza
from pgha.cluster import quorum, slots, view
from pgha.errors import MachineUnreachable, NotUp
from pgha.remote.engine import UNREACHABLE, Engine
from pgha.status import survey
from pgha.status.survey import look
from pgha.tools.docker import Container


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


MACHINES = {f"dc{n}": {"engine": f"ssh://root@db-{n}", "address": f"10.0.0.{n}"} for n in (1, 2, 3)}


@pytest.fixture
def far(make_project, played, monkeypatch):
    """A data center on each of three machines; the third is away, and is found so once `found` is set."""
    project = make_project(data_centers=3, nodes=1, pgbackrest=False, machines=MACHINES)
    played.found, played.state = threading.Event(), "running"

    def listed(project, there):
        is_away = there.machine.address == "10.0.0.3"
        if is_away and not played.found.wait(10):
            raise AssertionError("the members of the other machines were not asked meanwhile")
        names = [host.name for host in project.topology.hosts if host.machine == there.machine]
        state = UNREACHABLE if is_away else played.state
        return [Container(name, project.container(name), "", state, "", "", ()) for name in names]

    monkeypatch.setattr(Engine, "problem", property(lambda there: played.problems.get(there.machine.address)))
    monkeypatch.setattr(survey.engine, "containers_on", listed)
    monkeypatch.setattr(survey, "connect", lambda project: played)
    monkeypatch.setattr(survey, "find_problems", lambda seen: ())
    played.problems = {"10.0.0.3": MachineUnreachable("away")}
    return project


def test_members_are_asked_while_a_machine_that_is_away_is_looked_for(far, played):
    ordinary = played.run

    def run(host, command, line=None):
        answer = ordinary(host, command, line)
        if {host for host, _ in played.asked} >= {"pg1-node1", "pg2-node1"}:
            played.found.set()
        return answer

    played.run = run
    seen = survey.take(far).seen
    assert (seen.leader, seen.containers["pg3-node1"].state) == ("pg1-node1", UNREACHABLE)
    assert len([host for host, words in played.asked if host == "pg1-node1" and "/cluster" in words]) == 1


def test_where_no_machine_answers_the_first_one_s_error_is_raised(far, played):
    played.found.set()
    played.problems = {f"10.0.0.{n}": MachineUnreachable(f"machine {n} is away") for n in (1, 2, 3)}
    with pytest.raises(MachineUnreachable, match="machine 1 is away"):
        survey.take(far)


def test_a_project_of_which_nothing_runs_is_stopped_and_nobody_is_asked(far, played):
    played.found.set()
    played.state = "exited"
    with pytest.raises(NotUp, match="is stopped"):
        survey.take(far)
    assert played.asked == []
