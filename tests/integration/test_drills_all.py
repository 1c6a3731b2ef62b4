"""Every scenario, in the shape that can play most of them: three data centers with two nodes each."""

import json

import pytest
from tools import GENEROUS

pytestmark = pytest.mark.integration


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_scenario_loses_nothing(main):
    document = json.loads(main.inv("drill", "--all", "--json", timeout=3000, **GENEROUS).stdout)
    assert len(document["scenarios"]) >= 26
    assert all(not scenario["missed"] for scenario in document["scenarios"])
    assert all(run["two_leaders"] == run["shared_timelines"] == [] for run in document["runs"])
    assert {run["scenario"] for run in document["runs"] if run["lost"]} <= {"site-lost-for-good"}
    (lagging,) = (run for run in document["runs"] if run["scenario"] == "lagging-candidate")
    led = [member for member, roles in lagging["roles"].items() if "leader" in {role for _, role in roles}]
    assert len(led) >= 3, "leader and next leader were lost"
    assert main.wait_well()
