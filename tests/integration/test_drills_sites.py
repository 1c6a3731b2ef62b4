"""Drills that take several data centers: a switchover among six, a site that is cut off, and all scenarios."""

import json
import re

import pytest
from tools import GENEROUS, play, summary

pytestmark = pytest.mark.integration


def test_a_switchover_under_load(main):
    document = play(main, "switchover")
    assert document["runs"][0]["new_leader_seconds"] > 0
    assert document["durability"] == "quorum"
    assert document["versions"]["PostgreSQL"].startswith("17")
    assert document["topology"]["sites"]["dc2"] == ["etcd2", "etcd5", "pg2-node1", "pg2-node2"]


def test_a_data_center_is_cut_off_and_no_acknowledged_write_is_lost(main):
    document = play(main, "site-cut")
    assert summary(document)["lost"] == 0
    assert document["runs"][0]["new_leader_seconds"] > 0
    roles = document["runs"][0]["roles"]
    assert set(roles) == set(main.nodes)
    assert "leader" in {role for _, role in roles[document["runs"][0]["leader"]]}
    cut, whole = document["runs"][0]["asked"]
    (leader,) = re.findall(r"inv status says that (\S+) leads", cut)
    assert leader not in (document["runs"][0]["leader"], "nobody")
    assert "quorum" in cut and "etcd 5 of 5" not in cut and "etcd 5 of 5, quorum" in whole


@pytest.mark.long
def test_the_same_cut_in_async_shows_what_it_costs(main):
    """The checker can see a loss: the isolated leader acknowledges until it demotes itself."""
    main.inv("up", durability="async")
    try:
        main.wait_well()
        answer = main.try_inv("drill", "--name", "site-cut", "--json", timeout=600, durability="async", **GENEROUS)
        document = json.loads(answer.stdout)
        assert document["durability"] == "async"
        assert summary(document)["lost"] > 0
        assert answer.returncode == 0, "in async nothing is promised about acknowledged writes"
        assert "durability quorum, not async" in main.refused(3, "drill", "--name", "switchover")
    finally:
        main.inv("up")
        main.wait_well()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_scenario_loses_nothing(main):
    document = json.loads(main.inv("drill", "--all", "--json", timeout=1500, **GENEROUS).stdout)
    assert len(document["scenarios"]) >= 21
    assert all(not scenario["missed"] for scenario in document["scenarios"])
    assert all(run["lost"] == run["two_leaders"] == run["shared_timelines"] == [] for run in document["runs"])
    (lagging,) = (run for run in document["runs"] if run["scenario"] == "lagging-candidate")
    led = [member for member, roles in lagging["roles"].items() if "leader" in {role for _, role in roles}]
    assert len(led) >= 3, "leader and next leader were lost"
    assert main.wait_well()
