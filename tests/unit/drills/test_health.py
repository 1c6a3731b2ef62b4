"""When a drill may begin."""

import pytest

from pgha.drills import health
from pgha.tools.patroni import ClusterView, Member

LED = ClusterView((Member("pg1-node2", "leader", "running", 1, None),), paused=False)


@pytest.mark.parametrize(
    ("etcd", "settings", "lacks"),
    [
        ("etcd1", {}, "etcd1 leads etcd in the data center of pg1-node2, which leads Postgres"),
        ("etcd2", {}, ""),
        ("", {}, ""),
        ("etcd1", {"stock": "on"}, ""),
        ("etcd1", {"data_centers": "1"}, ""),
    ],
    ids=["together", "apart", "nobody can tell", "nothing moves it", "nowhere to go"],
)
def test_a_drill_waits_until_etcd_is_led_from_another_data_center(make_project, monkeypatch, etcd, settings, lacks):
    monkeypatch.setattr(health, "leading_etcd", lambda project: etcd)
    assert health.led_together(make_project(**settings), LED) == lacks
