"""Drills that take several data centers: a switchover, and a site that is cut off."""

import json
import re

import pytest
from tools import GENEROUS, play, summary

pytestmark = pytest.mark.integration


@pytest.mark.long
def test_a_switchover_under_load(sites):
    document = play(sites, "switchover")
    assert document["runs"][0]["new_leader_seconds"] > 0
    assert document["durability"] == "quorum"
    assert document["versions"]["PostgreSQL"].startswith("17")
    assert document["topology"]["sites"]["dc2"] == ["etcd2", "pg2-node1"]


def test_a_data_center_is_cut_off_and_no_acknowledged_write_is_lost(sites):
    document = play(sites, "site-cut")
    assert summary(document)["lost"] == 0
    assert document["runs"][0]["new_leader_seconds"] > 0
    roles = document["runs"][0]["roles"]
    assert set(roles) == set(sites.nodes)
    assert "leader" in {role for _, role in roles[document["runs"][0]["leader"]]}
    cut, whole = document["runs"][0]["asked"]
    (leader,) = re.findall(r"inv status says that (\S+) leads", cut)
    assert leader not in (document["runs"][0]["leader"], "nobody")
    assert "etcd 2 of 3, quorum" in cut and "etcd 3 of 3, quorum" in whole


@pytest.mark.long
def test_sites_lost_for_good_cost_what_recover_had_said(sites):
    answer = sites.try_inv("drill", "--name", "site-lost-for-good", "--json", timeout=900, **GENEROUS)
    document = json.loads(answer.stdout)
    assert answer.returncode == 0, summary(document)["missed"]
    (said,) = document["runs"][0]["asked"]
    assert "recover had said that may be lost: what was committed after" in said
    assert summary(document)["lost"] > 0 and ", acknowledged from " in said
    assert summary(document)["never_whole"] == 0
    assert sites.wait_synchronous() and sites.status()["healthy"]


@pytest.mark.long
def test_the_same_cut_in_async_shows_what_it_costs(sites):
    """The checker can see a loss: the isolated leader acknowledges until it demotes itself."""
    sites.inv("up", durability="async")
    try:
        sites.wait_well()
        answer = sites.try_inv("drill", "--name", "site-cut", "--json", timeout=600, durability="async", **GENEROUS)
        document = json.loads(answer.stdout)
        assert document["durability"] == "async"
        assert summary(document)["lost"] > 0
        assert answer.returncode == 0, "in async nothing is promised about acknowledged writes"
        assert "durability quorum, not async" in sites.refused(3, "drill", "--name", "switchover")
    finally:
        sites.inv("up")
        sites.wait_well()
