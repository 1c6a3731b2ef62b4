"""The plan's sentence against real losses: each site of a shape is killed while its worst member leads."""

import json

import pytest
from tools import Writer, inspect, until

pytestmark = [pytest.mark.integration, pytest.mark.long]

PATIENCE = 45
"""Seconds for writes to come back: the lock expires after 20, then the promotion."""


@pytest.fixture
def shape(bench):
    bench.shape.clear()

    def shape(data_centers, nodes):
        bench.shape.nodes = tuple(f"pg{dc}-node{n}" for dc in range(1, data_centers + 1) for n in range(1, nodes + 1))
        bench.shape.inv("render", "-d", str(data_centers), "-p", str(nodes), "up", "stanza", timeout=500)
        bench.shape.wait_well()
        return bench.shape

    yield shape
    bench.shape.clear()


def goes_on(stack, site):
    """Whether writes are acknowledged again after the loss of a site that held the leader if it can, and whether
    every acknowledged write is there."""
    hosts = [
        host for host in stack.containers()
        if f"{stack.name}_{site}" in inspect(stack.container(host))[0]["NetworkSettings"]["Networks"]
    ]  # fmt: skip
    nodes = [host for host in hosts if host in stack.nodes]
    if nodes and stack.leader() not in nodes:
        stack.inv("failover", "--candidate", nodes[0])
        stack.wait_well()
    with Writer(stack.dsn(), f"written_without_{site}") as writer:
        stack.inv("chaos.kill", "--dc", site)
        try:
            writer.wait_for_more(PATIENCE)
            served = True
        except AssertionError:
            served = False
        stack.inv("chaos.heal")
    return served and not writer.missing()


@pytest.mark.parametrize(("data_centers", "nodes"), [(2, 2), (3, 2)])
def test_the_loss_of_each_site_is_what_the_plan_says(shape, data_centers, nodes):
    stack = shape(data_centers, nodes)
    plan = json.loads(stack.inv("plan", "-d", str(data_centers), "-p", str(nodes), "--json").stdout)
    said = {loss["loss"]: loss["survived"] for loss in plan["losses"] if loss["kind"] == "site"}
    seen = {}
    for site in said:
        seen[site] = goes_on(stack, site)
        stack.wait_well()
        until(lambda: {p["kind"] for p in stack.status()["problems"]} == {"no_backup"}, "the cluster is whole", 90)
    assert seen == said
