"""Putting a member in charge, also when the leader is gone."""

import json
from datetime import datetime

import pytest
from tools import CONFIG, PATIENCE, Writer, docker, taken_over, until

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


def test_failover_puts_the_candidate_in_charge_and_loses_no_acknowledged_write(led_by):
    main = led_by(other_than="pg1-node1")
    with Writer(main.dsn(), "written_during_failover") as writer:
        line = main.inv("failover", "--candidate", "pg1-node1", "status")
        writer.wait_for_more()
    assert not writer.missing()
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
    assert not writer.missing()
    assert "failover: " in answer.stderr, "there was no healthy leader that could have switched over"


@pytest.fixture
def lock_lives_for(main):
    """Let the leader's lock live so long that nobody waits for its end; as it was afterwards."""

    def lock_lives_for(seconds):
        line = f"patronictl -c {CONFIG} edit-config --force -s ttl={seconds}"
        main.shell(main.leader(), line)
        until(lambda: main.dynamic_configuration()["ttl"] == seconds, "the setting is there")
        since = datetime.now().timestamp()
        # Each member takes it over when it looks at the cluster next.
        for node in main.nodes:
            until(lambda n=node: looked_at(main, n) > since, f"{node} has the setting")

    yield lock_lives_for
    lock_lives_for(20)


def looked_at(stack, node):
    """When this member's Patroni had looked at the cluster last, in seconds since 1970."""
    return json.loads(stack.run(node, "curl", "-s", "http://localhost:8008/patroni"))["dcs_last_seen"]


def test_a_stopped_leader_hands_over_before_its_key_expires(main, lock_lives_for, without):
    old = main.leader()
    with Writer(main.dsn(), "written_during_stop") as writer:
        lock_lives_for(round(600 * PATIENCE))
        without(old, how="stop")
        new = taken_over(main, old, timeout=90)
        writer.wait_for_more()
    assert main.leads(new)
    assert not writer.missing()
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
    new = taken_over(main, leader)
    until(lambda: set(waiting) <= set(main.archived()), f"{waiting} are archived")
    assert all(f"the archive lacks {segment}" in main.logs(new) for segment in waiting)
    assert leader not in main.containers("running"), "the lost leader archived nothing"
