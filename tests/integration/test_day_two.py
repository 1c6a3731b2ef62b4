"""Hosts stopped for maintenance and started again, and hosts that are replaced, while a client writes."""

import json

import pytest
from tools import Writer, docker, healed, interrupt, sentences, until

pytestmark = pytest.mark.integration


@pytest.fixture
def stack(small):
    """Two nodes that are synchronous; whatever a test left away runs again afterwards."""
    small.wait_synchronous()
    yield small
    small.inv("up")
    healed(small)


def kinds(status):
    return [(problem["kind"], problem["host"]) for problem in status["problems"]]


def test_a_leader_that_is_stopped_for_maintenance_hands_over_first(stack):
    old, (new,) = stack.leader(), stack.replicas()
    said = stack.refused(2, "stop", "--node", old)
    assert "nobody could take over" in said and f"inv stop --node {old} --degraded" in said
    with Writer(stack.dsn(), "written_in_maintenance") as writer:
        document = json.loads(stack.inv("stop", "--node", old, "--degraded", "--json").stdout)
        assert document["switchover"] == {"from": old, "to": new}
        assert (document["stopped"], document["changed"]) == ([old], [old])
        assert old in stack.containers("exited")
        assert stack.leads(new)
        status = stack.status()
        assert kinds(status) == [("maintenance", old)] and status["maintenance"] == [old]
        assert f"inv start --node {old}" in stack.inv("status").stderr
        assert f"{old} was stopped for maintenance already" in stack.inv("stop", "--node", old).stdout
        assert "no member that could lead" in stack.refused(2, "stop", "--node", new, "--degraded")
        stack.inv("chaos.heal")
        assert old in stack.containers("exited"), "it is not broken"
        writer.wait_for_more()
        stack.inv("start", "--node", old)
        assert stack.wait_well() == new
        assert kinds(stack.status()) == []
        writer.wait_for_more()
    assert not writer.missing()


def test_etcd_members_leave_as_long_as_the_quorum_stays(stack):
    stack.inv("stop", "--node", "etcd1")
    assert kinds(stack.status()) == [("maintenance", "etcd1")]
    assert "etcd would lose its quorum" in stack.refused(2, "stop", "--node", "etcd2")
    assert "etcd2" in stack.containers("running")
    assert "etcd1 was stopped for maintenance: it is started again" in stack.inv("up").stderr
    until(lambda: stack.etcd_healthy() == 3, "every etcd member is healthy")
    assert kinds(stack.status()) == []


def lose(stack, host):
    """The host is gone with its volume."""
    docker("rm", "--force", stack.container(host))
    docker("volume", "rm", f"{stack.name}_{host}")


def test_a_node_that_is_gone_with_its_volume_is_replaced(stack):
    leader, (gone,) = stack.leader(), stack.replicas()
    said = stack.refused(2, "replace", "--node", leader, "--yes")
    assert f"{leader} leads" in said
    with Writer(stack.dsn(), "written_while_replaced") as writer:
        lose(stack, gone)
        assert "--yes" in stack.refused(2, "replace", "--node", gone)
        assert gone not in stack.containers()
        document = json.loads(stack.inv("replace", "--node", gone, "--yes", "--json").stdout)
        assert (document["replaced"], document["method"]) == (gone, "pgbackrest")
        assert stack.wait_well() == leader
        writer.wait_for_more()
    assert not writer.missing()
    assert kinds(stack.status()) == []


def test_an_etcd_member_that_is_gone_with_its_volume_is_replaced(stack):
    lose(stack, "etcd2")
    assert "etcd would lose its quorum" in stack.refused(2, "replace", "--etcd", "etcd3", "--yes")
    with Writer(stack.dsn(), "written_without_an_etcd_member") as writer:
        stack.inv("replace", "--etcd", "etcd2", "--yes")
        writer.wait_for_more()
    assert stack.etcd_healthy() == 3
    assert not writer.missing()


@pytest.mark.long
@pytest.mark.parametrize("moment", ["remove", "take", "wait until"])
@pytest.mark.parametrize("flag", ["node", "etcd"])
def test_a_replacement_that_was_killed_is_completed_by_the_same_command(stack, flag, moment):
    host = stack.replicas()[0] if flag == "node" else "etcd3"
    running = stack.begin("replace", f"--{flag}", host, "--yes", "--degraded")
    words = "make" if (flag, moment) == ("node", "take") else moment
    for line in running.stdout:
        if line.startswith(words):
            break
    interrupt(running, 9)
    running.communicate()
    stack.inv("replace", f"--{flag}", host, "--yes", "--degraded")
    stack.wait_well()
    assert stack.etcd_healthy() == 3
    assert sentences(stack.status()) == []


@pytest.mark.long
def test_an_interrupted_replacement_of_an_etcd_member_is_completed_by_up(stack):
    running = stack.begin("replace", "--etcd", "etcd3", "--yes")
    for line in running.stdout:
        if line.startswith("take etcd3 out"):
            break
    interrupt(running, 9)
    running.communicate()
    stack.inv("up")
    until(lambda: stack.etcd_healthy() == 3, "every etcd member is healthy", 120)
