"""Putting a member in charge, also when the leader is gone."""

import re

import pytest
from tools import Writer

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
    assert re.search(r"pg1-node1 .* -> leader ", line.stdout)
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
    assert re.search(rf"the lock of {old} expires in \d+ s: nobody can lead before", answer.stderr), answer.stderr
