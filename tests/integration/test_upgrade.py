"""Upgrades while a client writes: the newest packages, and another major version."""

import json

import pytest
from tools import Writer, docker, inspect

pytestmark = pytest.mark.integration

LOCALE = "de_DE.UTF-8"
"""With a locale it is an image of another name: no other stack of this host runs it."""


def image_of(stack, host):
    """Its name and its identity."""
    container = inspect(stack.container(host))[0]
    return container["Config"]["Image"], container["Image"]


def checked(writer):
    """Nothing that was acknowledged is missing, nobody wrote beside the leader, and it changed at most once."""
    assert not writer.missing()
    assert not writer.verdict().two_leaders
    assert len({write.timeline for write in writer.writes if write.outcome == "acknowledged"}) <= 2


# Minor ------------------------------------------------------------------------------------------------------


def test_where_nothing_is_newer_no_container_is_made_again(small):
    before = small.containers("running")
    plan = json.loads(small.inv("upgrade", "--minor", "--plan", "--json").stdout)
    node = plan["hosts"][small.nodes[0]]["runs"]
    assert set(node) == {"PostgreSQL", "Patroni", "pgBackRest"}
    assert small.sql(small.leader(), "show server_version").split()[0] == node["PostgreSQL"].split("-")[0]
    assert set(plan["hosts"]["etcd1"]["runs"]) == {"etcd"}
    if plan["newer"] or plan["rollout"]["way"] != "nothing":
        pytest.skip("the package mirror has something newer than the images of this host")
    said = small.inv("upgrade", "--minor").stdout
    assert "the package mirror has nothing newer" in said and "no container is made again" in said
    assert small.containers("running") == before
    assert "inv upgrade --minor" in small.refused(2, "upgrade")


@pytest.fixture
def own_image(small):
    """The stack, its nodes on an image of a name that no other stack uses; back on the usual one afterwards."""
    usual, _ = image_of(small, small.nodes[0])
    image = f"{usual}-{LOCALE}"
    docker("tag", usual, image)
    small.wait_synchronous()
    small.inv("up", "--at-once", locales=LOCALE)
    small.wait_synchronous()
    yield small, usual, image
    small.inv("up", "--at-once")
    assert small.wait_well()
    docker("rmi", "--force", image)


@pytest.mark.long
def test_an_image_that_was_built_again_is_rolled_out_while_a_client_writes(own_image):
    """No package is newer just now: the image gets a label, as one that was built before an interruption."""
    stack, usual, image = own_image
    leader = stack.leader()
    (replica,) = stack.replicas()
    before = stack.containers("running")
    docker("build", "--tag", image, "-", input=f"FROM {usual}\nLABEL pgha.test=newer\n")
    newer = docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    with Writer(stack.dsn(), "written_during_upgrade") as writer:
        done = json.loads(stack.inv("upgrade", "--minor", "--json", locales=LOCALE).stdout)
        writer.wait_for_more()
    checked(writer)
    assert sorted(done["made_again"]) == sorted(stack.nodes)
    assert (done["switchover"]["from"], done["switchover"]["to"]) == (leader, replica)
    assert {image_of(stack, node) for node in stack.nodes} == {(image, newer)}
    after = stack.containers("running")
    assert {host for host in before if before[host] != after[host]} == set(stack.nodes)
    assert not (stack.folder / "rollout.yaml").exists()
