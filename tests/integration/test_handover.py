"""Putting a member in charge, and what happens when members, leader or etcd are gone."""

import pytest
from tools import Writer, docker, until

pytestmark = pytest.mark.integration


@pytest.fixture
def led_by(main):
    """The main stack with somebody else in charge than this member."""

    def led_by(other_than):
        if main.leader() == other_than:
            main.inv("switchover")
            main.wait_well()
        return main

    return led_by


@pytest.fixture
def without(main):
    """The main stack with some containers killed or stopped; they run again afterwards."""
    gone = []

    def without(*hosts, how="kill"):
        gone.extend(hosts)
        docker(how, *(main.container(host) for host in hosts))
        return main

    yield without
    docker("start", *(main.container(host) for host in gone))
    main.wait_well()


def test_failover_puts_the_candidate_in_charge_and_loses_no_acknowledged_write(led_by):
    main = led_by(other_than="pg1-node1")
    with Writer(main.dsn(), "written_during_failover") as writer:
        line = main.inv("failover", "--candidate", "pg1-node1", "status")
        writer.wait_for_more()
    assert writer.missing(main) == set()
    assert main.leads("pg1-node1")
    assert main.wait_well() == "pg1-node1"
    assert "Before" in line.stdout and "After" in line.stdout
    assert "-> pg1-node1" in line.stdout


def test_switchover_goes_to_another_member(main):
    old = main.leader()
    shown = main.inv("switchover").stdout
    new = main.wait_well()
    assert new != old
    assert f"switchover {old} -> {new}" in shown


def test_a_member_that_is_promoted_under_load_asks_whether_its_timeline_is_taken(main):
    """Its leader was sending until now: but for the promotion it would not ask the archive yet."""
    with Writer(main.dsn(), "written_during_switchover") as writer:
        main.inv("switchover")
        writer.wait_for_more()
    new = main.wait_well()
    # Postgres and pgBackRest write to two streams, and both begin a line with its time.
    lines = sorted((line for line in main.logs(new).splitlines() if line[19:20] == "."), key=lambda line: line[:23])
    promoted = max(n for n, line in enumerate(lines) if "received promote request" in line)
    chosen = next(line for line in lines[promoted:] if "selected new timeline ID: " in line)
    history = f"{int(chosen.rpartition(' ')[2]):08X}.history"
    asked = lines[promoted : lines.index(chosen)]
    assert any(f"unable to find {history} in the archive" in line for line in asked)


def test_a_line_runs_the_same_task_twice(led_by):
    main = led_by(other_than="pg2-node1")
    shown = main.inv("status", "failover", "--candidate", "pg2-node1", "status").stdout
    assert shown.count("cluster pgha_cluster") == 2
    assert main.leads("pg2-node1")


def test_failover_needs_a_candidate_that_can_be(main):
    leader = main.wait_well()
    assert "pg9-node9" in main.refused(2, "failover", "--candidate", "pg9-node9")
    assert "etcd1" in main.refused(2, "failover", "--candidate", "etcd1")
    assert f"{leader} is already the leader" in main.refused(2, "failover", "--candidate", leader)
    assert "candidate" in main.refused(2, "failover")
    assert main.leader() == leader


def test_patroni_can_be_stopped_over_ssh_while_its_container_stays(main):
    node = main.replicas()[0]
    before = main.containers()
    main.inv("ssh", "--node", node, "--command", "s6-svc -d /service/patroni")
    try:
        until(lambda: not main.run(node, "pgrep", "-x", "postgres|patroni", check=False), "Patroni and Postgres end")
        assert main.inv("ssh", "--node", node, "--command", "hostname").stdout.strip() == node
        assert main.containers("running") == before
        said = main.refused(2, "failover", "--candidate", node)
        assert node in said
        status = main.status()
        assert status["healthy"] is False
        assert any(node in problem for problem in status["problems"])
    finally:
        main.inv("ssh", "--node", node, "--command", "s6-svc -u /service/patroni")
    main.wait_well()
    assert main.containers("running") == before


def test_status_names_a_node_that_is_stopped(main, without):
    node = main.replicas()[-1]
    without(node, how="stop")
    screen = main.inv("status").stdout
    assert f"{node}: container exited" in screen
    status = main.status()
    assert status["healthy"] is False
    assert next(m["state"] for m in status["members"] if m["name"] == node) == "container exited"
    assert len([m for m in status["members"] if m["state"] == "streaming"]) == 4
    said = main.refused(2, "failover", "--candidate", node)
    assert node in said


def test_without_an_etcd_quorum_status_says_so_and_nobody_is_promoted(main, without):
    leader, other = main.leader(), main.replicas()[0]
    without("etcd1", "etcd2", "etcd3")
    until(lambda: main.etcd_healthy() == 0, "etcd has lost its quorum")
    status = main.status()
    assert status["etcd"]["has_quorum"] is False
    assert any("quorum" in problem for problem in status["problems"])
    assert "QUORUM LOST" in main.inv("status").stdout
    assert "quorum" in main.refused(3, "failover", "--candidate", other)
    assert "quorum" in main.refused(3, "switchover")
    assert main.sql(leader, "create table written_without_etcd (); select pg_is_in_recovery()") == "f"


def test_status_names_a_leader_that_was_killed(main, without):
    old = main.leader()
    without(old)
    status = main.status()
    assert status["healthy"] is False
    assert any(old in problem for problem in status["problems"])
    assert next(m["state"] for m in status["members"] if m["name"] == old) == "container exited"
    assert f"{old}: container exited" in main.inv("status").stdout


def test_failover_from_a_killed_leader_loses_no_acknowledged_write(main, without):
    old = main.leader()
    candidate = next(node for node in main.replicas() if node[:3] != old[:3])
    with Writer(main.dsn(), "written_during_kill") as writer:
        without(old)
        answer = main.try_inv("failover", "--candidate", candidate)
        if "would lose what" in answer.stderr:
            # Another member received more before the kill; the hint says which.
            assert answer.returncode == 2
            candidate = answer.stderr.split()[-1]
            answer = main.inv("failover", "--candidate", candidate)
        writer.wait_for_more()
    assert answer.returncode == 0, answer.stderr
    assert main.leads(candidate)
    assert writer.missing(main) == set()
    assert "failover: " in answer.stderr, "there was no healthy leader that could have switched over"


def test_a_stopped_leader_hands_over_before_its_key_expires(main, without):
    old = main.leader()
    with Writer(main.dsn(), "written_during_stop") as writer:
        without(old, how="stop")
        # The key of a leader that vanishes lives for another 18 to 20 seconds.
        new = until(lambda: main.leader() != old and main.leader(), "another member leads", timeout=12)
        writer.wait_for_more()
    assert main.leads(new)
    assert writer.missing(main) == set()
    postgres = [line for line in main.logs(old).splitlines() if " LOG:  " in line]
    assert "database system is shut down" in postgres[-1]


def test_what_a_lost_leader_had_not_archived_is_archived_by_the_next_one(main, without):
    """The leader is lost with WAL that waits for the repository; only standbys have it then."""
    leader = main.leader()
    without("pgbackrest")
    waiting = []
    for number in range(2):
        main.sql(leader, f"create table written_before_the_loss_{number} as select 1")
        waiting.append(main.sql(leader, "select pg_walfile_name(pg_switch_wal() - 1)"))
    without(leader)
    docker("start", main.container("pgbackrest"))
    new = until(lambda: main.leader() != leader and main.leader(), "another member leads")
    until(lambda: set(waiting) <= set(main.archived()), f"{waiting} are archived")
    assert all(f"the archive lacks {segment}" in main.logs(new) for segment in waiting)
    assert leader not in main.containers("running"), "the lost leader archived nothing"
