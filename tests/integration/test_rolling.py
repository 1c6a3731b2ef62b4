"""Changes one member after another, while a client writes: `up` with other settings, and `restart`."""

import json
import os
import signal

import pytest
from tools import CONFIG, Writer, docker, finish, inspect, until

pytestmark = pytest.mark.integration


def edit_config(stack, *pairs):
    flags = [word for pair in pairs for word in ("-s", pair)]
    line = ["patronictl", "-c", CONFIG, "edit-config", "pgha_cluster", "--quiet", "--force", *flags]
    stack.run(stack.leader(), *line, user="postgres")


def waits(stack):
    """Members that wait for a restart."""
    return {member["name"] for member in stack.status()["members"] if member["pending_restart"]}


def record(stack):
    """Where a rollout that is half done is."""
    path = stack.folder / "rollout.yaml"
    return path.read_text() if path.exists() else ""


def checked(writer):
    """Nothing that was acknowledged is missing, nobody wrote beside the leader, and it changed at most once."""
    assert not writer.missing()
    assert not writer.verdict().two_leaders
    assert len({write.timeline for write in writer.writes if write.outcome == "acknowledged"}) <= 2


def shared_memory(stack):
    """Node -> /dev/shm of its container in MiB."""
    return {node: inspect(stack.container(node))[0]["HostConfig"]["ShmSize"] >> 20 for node in stack.nodes}


@pytest.fixture
def rolled(small):
    """The stack; its containers are as the settings say again afterwards."""
    small.wait_synchronous()
    yield small
    small.inv("up", "--at-once")
    assert small.wait_well()
    assert record(small) == ""


def test_containers_are_made_again_one_after_another_while_a_client_writes(rolled):
    before, leader = rolled.containers("running"), rolled.leader()
    files = {path: path.read_bytes() for path in rolled.folder.rglob("*") if path.is_file()}
    plan = json.loads(rolled.inv("up", "--plan", "--json", shm_size="300m").stdout)
    (replica,) = rolled.replicas()
    assert (plan["way"], plan["refused"]) == ("rolling", [])
    assert [turn["host"] for turn in plan["turns"]] == [replica, leader, leader]
    assert rolled.containers("running") == before
    assert {path: path.read_bytes() for path in files} == files

    with Writer(rolled.dsn(), "written_during_up") as writer:
        said = rolled.inv("up", shm_size="300m").stderr
        writer.wait_for_more()
    checked(writer)
    assert f"made again one after another: {replica}, a switchover, {leader}" in said
    assert rolled.wait_well() == replica
    assert set(shared_memory(rolled).values()) == {300}
    after = rolled.containers("running")
    assert {host for host in before if before[host] != after[host]} == set(rolled.nodes)

    said = rolled.inv("up", "--at-once").stderr
    assert "all at once: as asked" in said and "writes stop until a leader is back" in said
    assert set(shared_memory(rolled).values()) == {256}


@pytest.mark.long
def test_postgres_is_restarted_one_after_another_while_a_client_writes(small):
    """max_connections: greater, so that the leader is last, and hands over; then less, so that it has to be first."""
    leader = small.wait_synchronous()
    usual = small.sql(leader, "show max_connections")
    with Writer(small.dsn(), "written_during_restart") as writer:
        try:
            edit_config(small, "postgresql.parameters.max_connections=150")
            until(lambda: waits(small) == set(small.nodes), "both wait for a restart", 30)
            # The client's transactions are short; this one is not.
            docker(
                "exec", "--detach", "--user=postgres", small.container(leader), "psql", "-qc", "select pg_sleep(300)"
            )
            old = "from pg_stat_activity where query = 'select pg_sleep(300)' and xact_start < now() - interval '2 s'"
            until(lambda: small.sql(leader, f"select pid {old}"), "it is open", 30)
            said = small.refused(3, "restart", "--pending", long_transaction=2)
            assert f"{leader}: a transaction of postgres in postgres has been open for" in said
            assert waits(small) == set(small.nodes) and record(small) == ""
            small.sql(leader, f"select pg_terminate_backend(pid) {old}")

            small.inv("restart", "--pending")
            new = small.wait_well()
            assert new != leader
            assert {small.sql(node, "show max_connections") for node in small.nodes} == {"150"}
            assert "no member is to be restarted" in small.inv("restart", "--pending").stdout
        finally:
            edit_config(small, "postgresql.parameters.max_connections=null")
        until(lambda: waits(small) == set(small.nodes), "both wait for a restart", 30)
        said = small.inv("restart", "--pending").stderr
        writer.wait_for_more()
    checked(writer)
    assert "the leader does not hand over: max_connections becomes smaller" in said
    assert small.wait_well() == new
    assert {small.sql(node, "show max_connections") for node in small.nodes} == {usual}
    assert waits(small) == set()


@pytest.mark.long
def test_an_up_that_was_killed_in_a_members_turn_is_completed_by_the_same_command(rolled):
    (replica,) = rolled.replicas()
    before = rolled.containers()[replica]
    with Writer(rolled.dsn(), "written_during_killed_up") as writer:
        first = rolled.begin("up", shm_size="300m")
        until(lambda: before not in rolled.containers().values(), "the replica's container is gone", 60, 0.05)
        os.killpg(first.pid, signal.SIGKILL)
        finish(first)
        assert f"at: {replica}" in record(rolled)
        status = rolled.status()
        assert "rollout_half_done" in {problem["kind"] for problem in status["problems"]}
        assert "inv up completes it" in rolled.refused(3, "restart")
        rolled.inv("up", shm_size="300m")
        writer.wait_for_more()
    checked(writer)
    assert set(shared_memory(rolled).values()) == {300}
    assert record(rolled) == ""


@pytest.mark.long
def test_a_restart_that_was_killed_goes_on_and_restarts_nobody_twice(small):
    leader = small.wait_synchronous()
    (replica,) = small.replicas()
    with Writer(small.dsn(), "written_during_killed_restart") as writer:
        first = small.begin("restart")
        until(lambda: f"- {replica}\n" in record(small), "the replica has had its turn", 60, 0.05)
        os.killpg(first.pid, signal.SIGKILL)
        finish(first)
        small.wait_synchronous()
        began = small.sql(replica, "select pg_postmaster_start_time()")
        small.inv("restart")
        writer.wait_for_more()
    checked(writer)
    assert small.wait_well() in (replica, leader)
    assert small.sql(replica, "select pg_postmaster_start_time()") == began
    assert record(small) == ""


@pytest.mark.long
def test_a_restart_stops_at_the_first_member_whose_postgres_does_not_start(small):
    leader = small.wait_synchronous()
    (replica,) = small.replicas()
    with Writer(small.dsn(), "written_during_failed_restart") as writer:
        try:
            edit_config(small, "postgresql.parameters.shared_preload_libraries=no_such_library")
            until(lambda: waits(small) == set(small.nodes), "both wait for a restart", 30)
            said = small.try_inv("restart", "--pending", up_timeout=20)
            assert said.returncode in (4, 6), said.stderr
            assert replica in said.stderr and f"inv logs --node {replica}" in said.stderr
            assert small.leader() == leader
            assert "rollout_half_done" in {problem["kind"] for problem in small.status()["problems"]}
        finally:
            edit_config(small, "postgresql.parameters.shared_preload_libraries=null")
        # Patroni starts it again.
        assert small.wait_synchronous() == leader
        small.inv("restart", "--pending")
        writer.wait_for_more()
    checked(writer)
    assert record(small) == ""
    assert waits(small) == set()
