"""A member, the leader or etcd is gone: what `inv` says, refuses and does. Then all of it stops and starts again."""

import pytest
from tools import sentences, until

pytestmark = pytest.mark.integration


def test_failover_needs_a_candidate_that_can_be(small):
    leader = small.wait_well()
    assert "pg9-node9" in small.refused(2, "failover", "--candidate", "pg9-node9")
    assert "etcd1" in small.refused(2, "failover", "--candidate", "etcd1")
    assert f"{leader} is already the leader" in small.refused(2, "failover", "--candidate", leader)
    assert "candidate" in small.refused(2, "failover")
    assert small.leader() == leader


def test_patroni_can_be_stopped_over_ssh_while_its_container_stays(small):
    node = small.replicas()[0]
    before = small.containers()
    small.inv("ssh", "--node", node, "--command", "s6-svc -d /service/patroni")
    try:
        until(lambda: not small.run(node, "pgrep", "-x", "postgres|patroni", check=False), "Patroni and Postgres end")
        assert small.inv("ssh", "--node", node, "--command", "hostname").stdout.strip() == node
        assert small.containers("running") == before
        said = small.refused(2, "failover", "--candidate", node)
        assert node in said
        status = small.status()
        assert status["healthy"] is False
        assert any(node in problem for problem in sentences(status))
    finally:
        small.inv("ssh", "--node", node, "--command", "s6-svc -u /service/patroni")
    small.wait_well()
    assert small.containers("running") == before


def test_status_names_a_node_that_is_stopped(small, without):
    node = small.replicas()[-1]
    without(node, how="stop")
    screen = small.inv("status").stdout
    assert f"{node}: container exited" in screen
    status = small.status()
    assert status["healthy"] is False
    assert next(m["state"] for m in status["members"] if m["name"] == node) == "container exited"
    assert [m["name"] for m in status["members"] if m["role"] == "leader"] == [small.leader()]
    said = small.refused(2, "failover", "--candidate", node)
    assert node in said


def test_without_an_etcd_quorum_status_says_so_and_nobody_is_promoted(small, without):
    leader, other = small.leader(), small.replicas()[0]
    without("etcd1", "etcd2")
    until(lambda: small.etcd_healthy() == 0, "etcd has lost its quorum")
    status = small.status()
    assert status["etcd"]["has_quorum"] is False
    assert any("quorum" in problem for problem in sentences(status))
    assert "QUORUM LOST" in small.inv("status").stdout
    assert "quorum" in small.refused(3, "failover", "--candidate", other)
    assert "quorum" in small.refused(3, "switchover")
    assert small.sql(leader, "create table written_without_etcd (); select pg_is_in_recovery()") == "f"


def test_status_names_a_leader_that_was_killed(small, without):
    old = small.leader()
    without(old)
    status = small.status()
    assert status["healthy"] is False
    assert any(old in problem for problem in sentences(status))
    assert next(m["state"] for m in status["members"] if m["name"] == old) == "container exited"
    assert f"{old}: container exited" in small.inv("status").stdout


def test_stop_and_start_keep_the_containers(small):
    before, identifier, leader = small.containers(), small.system_identifier(), small.leader()
    small.sql(leader, "create table written_before_the_stop as select generate_series(1, 1000) n")
    last = small.sql(leader, "select pg_walfile_name(pg_current_wal_lsn())")
    small.inv("stop")
    # Not later: another member may lead next, and never push it.
    assert f"pushed WAL file '{last}' to the archive" in small.logs(leader)
    assert small.containers("running") == {}
    assert small.containers() == before
    stopped = small.refused(3, "status")
    assert "stopped" in stopped and "inv start" in stopped
    small.inv("start")
    assert small.containers("running") == before
    small.wait_well()
    assert small.system_identifier() == identifier


@pytest.mark.long
def test_an_async_cluster_waits_for_nobody_and_can_return(small):
    leader, before = small.leader(), small.containers()
    assert "synchronous_mode" in small.inv("up", durability="async").stderr
    until(lambda: small.sql(small.leader(), "show synchronous_standby_names") == "", "no standby is waited for")
    assert small.dynamic_configuration()["synchronous_mode"] is False
    small.inv("up")
    until(lambda: small.sql(small.leader(), "show synchronous_standby_names").startswith("ANY 1 ("), "quorum commit")
    assert (small.wait_well(), small.containers()) == (leader, before), "a dynamic setting restarts nothing"
