"""Reports as they stand on a terminal: six members fit 100 columns, no line is longer than 120, nothing comes twice."""

import re
from dataclasses import replace

import pytest

from pgha.backup.reinit import Remade
from pgha.cli.drill import _show as show_drills
from pgha.cli.show_changes import show_maintenance, show_replacement
from pgha.cli.show_pausing import show_mode, show_remade
from pgha.cli.show_stack import show_plan
from pgha.cli.show_status import show_change, show_handover, show_view
from pgha.cluster.handover import Handover
from pgha.cluster.pausing import Mode
from pgha.drills.scenarios import SCENARIOS
from pgha.drills.summary import Spread, Summary
from pgha.model.plan import make_plan
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.stack import maintenance, replacing
from pgha.tools import etcd, patroni

NODES = [f"pg{dc}-node{n}" for dc in (1, 2, 3) for n in (1, 2)]
ETCD = etcd.EtcdView(tuple(f"etcd{n}" for n in range(1, 6)), ())


def view(leader, timeline=1, state="streaming", role="quorum_standby"):
    return patroni.ClusterView(tuple(
        patroni.Member(name, "leader" if name == leader else role, "running" if name == leader else state, timeline, 0)
        for name in NODES
    ))  # fmt: skip


BEFORE, AFTER = view("pg2-node1"), view("pg1-node1", 2, "in archive recovery", "replica")
HANDOVER = Handover("switchover", "pg2-node1", "pg1-node1", BEFORE, AFTER, 2.7, 7.6, ())

REPORTS = {
    "view": lambda p: show_view("", p, AFTER),
    "handover": lambda p: show_handover(p, HANDOVER),
    "maintenance": lambda p: show_maintenance(
        p, "stopped", maintenance.Report(("pg2-node1",), ("pg2-node1",), HANDOVER, BEFORE, AFTER, ETCD, 9.0), False
    ),
    "replaced": lambda p: show_replacement(
        p, replacing.Report("pg1-node2", "pgbackrest", BEFORE, AFTER, ETCD, 9.0), False
    ),
    "mode": lambda p: show_mode(p, Mode(True, False, tuple(NODES), {}, AFTER), False),
    "remade": lambda p: show_remade(p, Remade("pg1-node2", "leader", "basebackup", BEFORE, AFTER, 9.0), False),
}


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", REPORTS)
def test_six_members_fit_a_hundred_columns_and_are_shown_once(make_project, capsys, name):
    REPORTS[name](make_project())
    shown = lines(capsys)
    assert max(map(len, shown)) <= 100
    assert [re.match(r"│ (\S+)", line)[1] for line in shown if line.startswith("│")] == NODES


def test_a_change_is_one_table_with_arrows(make_project, capsys):
    show_change(make_project(), BEFORE, AFTER)
    rows = {line.split()[1]: re.split(r" *│ *", line)[2:-1] for line in lines(capsys) if line.startswith("│")}
    assert rows["pg1-node1"] == ["dc1", "quorum_standby -> leader", "streaming -> running", "1 -> 2"]
    assert rows["pg3-node2"] == ["dc3", "quorum_standby -> replica", "streaming -> in archive recovery", "1 -> 2"]
    show_change(make_project(), BEFORE, BEFORE)
    assert not [line for line in lines(capsys) if "->" in line]
    fewer = replace(AFTER, members=AFTER.members[:-1])
    show_change(make_project(), BEFORE, fewer)
    assert "│ pg3-node2 │ dc3         │ quorum_standby -> gone" in "\n".join(lines(capsys))
    show_change(make_project(), fewer, BEFORE)
    (new,) = [line for line in lines(capsys) if "pg3-node2" in line]
    assert "->" not in new


@pytest.mark.parametrize("durability", ["quorum", "async"])
@pytest.mark.parametrize(("centers", "nodes"), [(1, 1), (2, 2), (3, 2), (3, 3)])
def test_no_line_of_a_plan_is_longer_than_120(capsys, centers, nodes, durability):
    settings = read_settings({"data_centers": centers, "nodes": nodes, "durability": durability})
    show_plan("", make_plan(settings, build_topology(settings)))
    assert max(map(len, lines(capsys))) <= 120


def test_no_line_of_a_drill_is_longer_than_120(capsys):
    spread = Spread(21.4, 32.8)
    summaries = [
        Summary(scenario, 3, 25.0, spread, spread, spread, spread, 0, 0.1, 9000, 0, 12, 0, 0, 0, ())
        for scenario in SCENARIOS
    ]
    show_drills("quorum", summaries)
    assert max(map(len, lines(capsys))) <= 120
