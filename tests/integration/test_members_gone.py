"""A member, the leader or etcd is gone: what `inv` says, refuses and does, and what the others do. Then all of it stops
and starts again."""

import json
import re
from datetime import datetime

import pytest
from tools import CONFIG, PATIENCE, ROOT, Writer, docker, finish, sentences, taken_over, until

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


@pytest.fixture
def lock_lives_for(small):
    """Let the leader's lock live so long that nobody waits for its end; as it was afterwards.

    In failsafe mode a member would believe for as long the leader that asked it last, while etcd was away.
    """

    def lock_lives_for(seconds, failsafe):
        line = f"patronictl -c {CONFIG} edit-config --force -s ttl={seconds} -s failsafe_mode={failsafe}"
        small.shell(small.leader(), line)
        until(lambda: small.dynamic_configuration()["ttl"] == seconds, "the setting is there")
        since = datetime.now().timestamp()
        # Each member takes it over when it looks at the cluster next.
        for node in small.nodes:
            until(lambda n=node: patroni(small, n)["dcs_last_seen"] > since, f"{node} has the setting")

    yield lock_lives_for
    lock_lives_for(20, "true")


def patroni(stack, node):
    """What this member's Patroni says of it."""
    return json.loads(stack.run(node, "curl", "-s", "https://localhost:8008/patroni"))


def test_a_stopped_leader_hands_over_before_its_key_expires(small, lock_lives_for, without):
    old = small.wait_synchronous()
    with Writer(small.dsn(), "written_during_stop") as writer:
        lock_lives_for(round(600 * PATIENCE), "false")
        without(old, how="stop")
        new = taken_over(small, old, timeout=90)
        writer.wait_for_more()
    assert small.leads(new)
    assert not writer.missing()
    postgres = [line for line in small.logs(old).splitlines() if " LOG:  " in line]
    assert "database system is shut down" in postgres[-1]


def gaps(stack):
    return [problem["sentence"] for problem in stack.status()["problems"] if problem["kind"] == "archive_gap"]


def test_what_a_lost_leader_had_not_archived_is_archived_by_the_next_one_or_named(small, without):
    """The leader is lost with WAL that waits for the repository; only the standby has it then, and not all of it."""
    leader, (other,) = small.wait_synchronous(), small.replicas()
    without("pgbackrest")
    waiting = []
    for number in range(3):
        small.sql(leader, f"create table written_before_the_loss_{number} as select 1")
        waiting.append(small.sql(leader, "select pg_walfile_name(pg_switch_wal() - 1)"))
    written = small.sql(leader, "select pg_current_wal_lsn()")
    until(lambda: small.sql(other, f"select pg_last_wal_replay_lsn() >= '{written}'") == "t", f"{other} has it")
    gone = waiting.pop(1)
    small.run(other, "rm", f"/pgdata/17/pg_wal/{gone}", user="postgres")
    without(leader)
    docker("start", small.container("pgbackrest"))
    assert taken_over(small, leader) == other
    until(lambda: set(waiting) <= set(small.archived()), f"{waiting} are archived")
    assert all(f"the archive lacks {segment}" in small.logs(other) for segment in waiting)
    assert leader not in small.containers("running"), "the lost leader archived nothing"
    assert until(lambda: gaps(small), "the gap is told") == [
        f"the archive lacks {gone}, and nobody has it: no restore can pass there"
    ]
    # What it does at the end leaves something behind for who switches next, as `pgbackrest check` may at that moment.
    switch = re.search(r'^SWITCH = "(.+)"$', (ROOT / "images/patroni/complete-history").read_text(), re.MULTILINE)[1]
    small.sql(other, switch)
    named = small.sql(other, "select pg_walfile_name(pg_switch_wal())")
    until(lambda: named in small.archived(), f"{named} is archived")
    small.inv("backup", "--type", "incr")
    assert gaps(small) == []


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


def test_down_and_up_keep_cluster_rows_and_backups(small):
    small.sql(small.leader(), "create table kept as select generate_series(1, 1000) n")
    identifier, backups, volumes = small.system_identifier(), small.backups(), small.volumes()
    configuration = small.dynamic_configuration()
    line = small.begin("down", "up", "status")
    until(lambda: not small.containers() or line.poll() is not None, "down removes every container", 120)
    code, said = finish(line, 240)
    assert code == 0, said
    assert small.volumes() == volumes
    leader = small.wait_well()
    assert small.system_identifier() == identifier
    assert small.sql(leader, "select count(*) from kept") == "1000"
    assert small.backups() == backups
    assert small.dynamic_configuration() == configuration
