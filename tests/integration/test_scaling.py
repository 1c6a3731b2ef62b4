"""A running cluster gets another shape while a client writes."""

import json

import pytest
from tools import Writer, docker, inspect, interrupt, sentences

pytestmark = pytest.mark.integration


@pytest.fixture
def growing(bench):
    """Bring up a shape with an archive, in a project that is gone afterwards."""
    stack = bench.shape
    stack.clear()

    def growing(data_centers, nodes):
        shaped(stack, data_centers, nodes)
        flags = ("-d", str(data_centers), "-p", str(nodes))
        stack.inv("render", *flags, "up", "stanza", "backup", timeout=500)
        stack.wait_synchronous()
        return stack

    yield growing
    stack.clear()


def shaped(stack, data_centers, nodes):
    """What the stack's nodes are from now on."""
    stack.nodes = tuple(f"pg{dc}-node{n}" for dc in range(1, data_centers + 1) for n in range(1, nodes + 1))


def scale(stack, data_centers, nodes):
    """`inv scale`, and the cluster as it is then; its document."""
    flags = ("-d", str(data_centers), "-p", str(nodes))
    document = json.loads(stack.inv("scale", *flags, "--yes", "--json", timeout=600).stdout)
    shaped(stack, data_centers, nodes)
    stack.wait_synchronous()
    assert stack.etcd_healthy() == document["etcd"]["healthy"] == len(set(stack.etcds))
    return document


def lives(stack):
    """Container -> since when it runs."""
    found = inspect(*stack.containers("running").values())
    return {entry["Name"]: (entry["Id"], entry["State"]["StartedAt"]) for entry in found}


def test_a_node_joins_and_leaves_again_and_nothing_else_restarts(growing):
    stack = growing(1, 1)
    before, volumes = lives(stack), stack.volumes()
    with Writer(stack.dsn(), "written_while_scaled") as writer:
        assert scale(stack, 1, 2)["create"] == ["pg1-node2"]
        assert {name: life for name, life in lives(stack).items() if name in before} == before
        assert stack.dynamic_configuration()["synchronous_mode"] == "quorum"
        assert "created using pgbackrest" in stack.logs("pg1-node2"), "the repository knows it"
        assert stack.run("pg1-node1", "ssh", "pg1-node2", "hostname", user="postgres").strip() == "pg1-node2"
        assert sentences(stack.status()) == []
        stack.inv("up")
        assert {name: life for name, life in lives(stack).items() if name in before} == before
        assert "another shape" in stack.refused(3, "render", "-d", "1", "-p", "1")
        writer.wait_for_more()
        # The one that goes leads.
        stack.inv("failover", "--candidate", "pg1-node2")
        stack.wait_synchronous()
        said = stack.refused(2, "scale", "-p", "1")
        assert "Remove pg1-node2 with all data" in said and "pg1-node2" in stack.containers("running")
        assert scale(stack, 1, 1)["remove"] == ["pg1-node2"]
        writer.wait_for_more()
    assert stack.leader() == "pg1-node1"
    assert lives(stack) == before
    assert stack.volumes() == volumes
    assert set(stack.members()) == {"pg1-node1"}
    assert stack.dynamic_configuration()["synchronous_mode"] is False
    assert not writer.missing()
    assert sentences(stack.status()) == []
    assert scale(stack, 1, 1)["create"] == []


@pytest.mark.long
def test_data_centers_come_and_go_and_etcd_follows(growing):
    """The string of the nodes that were there before serves all the time."""
    stack = growing(1, 2)
    with Writer(stack.dsn(), "written_with_two") as writer:
        done = scale(stack, 2, 2)
        assert (done["move"], done["remove"]) == (["etcd2", "etcd3"], [])
        assert set(stack.networks()) == {f"{stack.name}_{n}" for n in ("dc1", "dc2", "witness", "backup", "wan")}
        writer.wait_for_more()
    assert not writer.missing()
    with Writer(stack.dsn(), "written_with_three") as writer:
        done = scale(stack, 3, 2)
        assert {"etcd4", "etcd5"} <= set(done["create"])
        assert stack.dynamic_configuration()["synchronous_node_count"] == 2
        writer.wait_for_more()
    assert not writer.missing()
    with Writer(stack.dsn(), "written_with_one") as writer:
        done = scale(stack, 1, 2)
        assert {"etcd4", "etcd5", "pg2-node1", "pg3-node2"} <= set(done["remove"])
        writer.wait_for_more()
    assert set(stack.networks()) == {f"{stack.name}_{n}" for n in ("dc1", "backup", "wan")}
    assert set(stack.members()) == set(stack.nodes)
    assert not writer.missing()
    assert sentences(stack.status()) == []
    before = lives(stack)
    stack.inv("up", "backup", "verify")
    assert lives(stack) == before, "all are as the files say"


GROWING = ("tell every host", "etcd4 joins", "make pg3-node1", "wait until pg3", "pg1-node1 (")
SHRINKING = ("tell every host", "etcd5 leaves", "stop pg3-node1", "remove pg3", "wait until every")


def killed_at(stack, words, *line):
    """Begin, and SIGKILL when it says that it does this."""
    running = stack.begin(*line)
    for said in running.stdout:
        if said.startswith(words):
            break
    interrupt(running, 9)
    running.communicate()


@pytest.mark.long
def test_a_scale_that_was_killed_at_any_step_is_completed_by_the_same_command(growing):
    stack = growing(2, 2)
    with Writer(stack.dsn(), "written_in_spite_of_kills") as writer:
        for words in GROWING:
            killed_at(stack, words, "scale", "-d", "3", "-p", "2", "--yes")
        status = stack.status()
        assert "scale_half_done" in {problem["kind"] for problem in status["problems"]}
        assert "inv scale -d 3 -p 2" in stack.refused(3, "up")
        assert scale(stack, 3, 2)["after"]["leader"]
        writer.wait_for_more()
        for words in SHRINKING:
            killed_at(stack, words, "scale", "-d", "2", "-p", "2", "--yes")
        scale(stack, 2, 2)
        writer.wait_for_more()
    assert not writer.missing()
    assert sentences(stack.status()) == []


@pytest.mark.long
def test_a_scale_that_is_half_done_is_taken_back(growing):
    stack = growing(1, 2)
    killed_at(stack, "make pg1-node3", "scale", "-p", "3")
    assert scale(stack, 1, 2)["remove"] in ([], ["pg1-node3"])
    assert sentences(stack.status()) == []


@pytest.mark.long
def test_what_cannot_be_scaled_is_refused_before_anything_is_touched(growing):
    stack = growing(1, 2)
    before = stack.containers()
    assert "is the most" in stack.refused(2, "scale", "-p", "12")
    stack.refused(2, "scale", "-p", "three")
    stack.inv("stop", "--node", "etcd1")
    assert "inv start --node etcd1" in stack.refused(3, "scale", "-p", "3")
    stack.inv("start", "--node", "etcd1")
    other = stack.replicas()[0]
    docker("stop", stack.container(other))
    assert other in stack.refused(3, "scale", "-p", "3")
    docker("start", stack.container(other))
    stack.wait_well()
    assert "shm_size" in stack.refused(3, "scale", "-p", "3", shm_size="512m")
    assert stack.containers() == before
