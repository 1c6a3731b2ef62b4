"""The dashboard for Grafana: each panel asks for something, by a metric that Prometheus keeps."""

import json
import re

import pytest
from metrics import metrics_in

from pgha import ROOT
from pgha.monitoring.targets import KEPT

DASHBOARD = json.loads((ROOT / "docs" / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_the_chosen_source(panel):
    assert panel["targets"]
    for target in panel["targets"]:
        assert metrics_in(target["expr"])
        assert target["datasource"]["uid"] == "${datasource}"


def test_what_is_shown_of_etcd_is_kept():
    asked = {name for panel in PANELS for target in panel["targets"] for name in metrics_in(target["expr"])}
    assert all(re.fullmatch(KEPT["etcd"], name) for name in asked if name.startswith("etcd_"))
