"""When a drill may begin."""

import pytest

from pgha.console import Progress
from pgha.drills import health, runner
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
def test_who_leads_etcd_beside_the_leader_is_named(make_project, monkeypatch, etcd, settings, lacks):
    monkeypatch.setattr(health, "leading_etcd", lambda project: etcd)
    assert health.led_together(make_project(**settings), LED) == lacks


def test_a_drill_begins_when_etcd_is_led_from_another_data_center(make_project, monkeypatch):
    leaders = ["etcd1", "etcd1", "etcd2"]
    monkeypatch.setattr(health, "leading_etcd", lambda project: leaders.pop(0))
    for module in (health, runner):
        monkeypatch.setattr(module, "read_view", lambda project: LED)
    monkeypatch.setattr(runner, "wait_until_whole", lambda project, progress: None)
    assert runner._scene(make_project(), Progress()).view == LED
    assert leaders == []
