"""The scenarios as a table, the choice among them, and how runs become a verdict."""

from dataclasses import replace
from itertools import count

import pytest

from pgha.drills import report, series
from pgha.drills.alerts import Fired
from pgha.drills.clients import server_of
from pgha.drills.ledger import ACKNOWLEDGED, Gap, Read, Verdict, Write
from pgha.drills.result import Marks, Result, broken_promises
from pgha.drills.scenarios import BY_NAME, SCENARIOS
from pgha.drills.scene import Scene
from pgha.drills.summary import summarize
from pgha.errors import BadValue, Missed, TimedOut
from pgha.model.settings import FIELDS, Settings, read_settings
from pgha.model.topology import build_topology
from pgha.tools import etcd
from pgha.tools.patroni import ClusterView, Member

CLEAN = Verdict(200, (), (), (), 0, (), ())


def result(name="leader-killed", run=1, gap=10.0, verdict=CLEAN, missed=()):
    number = count(1)
    writes = [Write(next(number), at - 0.01, at, ACKNOWLEDGED, "pg1-node1", 1) for at in (0.5, 1.0, 2.0, 2.0 + gap)]
    return Result(
        scenario=name,
        run=run,
        leader="pg1-node1",
        began_at=1_700_000_000.0,
        marks=Marks(2.0, 2.5, 2.0 + gap, 15.0, 16.0, 20.0, 30.0),
        verdict=verdict,
        write_gap=Gap(2.0, 2.0 + gap),
        read_gap=Gap(3.0, 4.0),
        stale=0.2,
        new_leader=gap,
        missed=tuple(missed),
        writes=tuple(writes),
        reads=(Read(1.0, 1.1, "pg2-node1", 1),),
        roles={"pg1-node1": [(0.0, "leader"), (2.0, "")], "pg2-node1": [(0.0, "replica"), (12.0, "leader")]},
    )


def test_an_alert_that_stays_is_named():
    went, stays = Fired("no_leader", (), 12.0, 30.0), Fired("scrape_fails", (), 20.0, None)
    runs = [replace(result(), alerts=(went,)), replace(result(run=2), alerts=(went, stays))]
    assert summarize(Settings(), runs)[0].alerts_left == ("scrape_fails",)
    assert summarize(Settings(), runs[:1])[0].alerts_left == ()


# The table --------------------------------------------------------------------------------------------------


def test_every_scenario_has_a_name_of_its_own_and_states_a_promise():
    assert len(BY_NAME) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert scenario.breaks and scenario.promise
        assert isinstance(getattr(Settings(), scenario.objective), float)
        assert scenario.objective in FIELDS


@pytest.mark.parametrize("needed", [
    "switchover", "switchover-candidate", "leader-stopped", "postgres-killed", "patroni-killed", "patroni-hung",
    "leader-killed", "leader-paused", "site-killed", "site-cut", "link-cut", "replica-wiped", "disk-full",
    "leader-and-standby-killed", "etcd-leader-killed", "etcd-minority-killed", "etcd-quorum-killed", "witness-killed",
    "repository-killed", "sshd-stopped", "cold-start", "lagging-candidate",
    "rollout-restart", "rollout-image", "rotate-passwords", "rotate-keys", "etcd-member-replaced",
    "scale-out", "scale-in", "upgrade-minor", "upgrade-major",
    "site-lost-for-good",
])  # fmt: skip
def test_every_failure_and_change_an_operator_fears_is_there(needed):
    assert needed in BY_NAME


@pytest.mark.parametrize(
    ("shape", "cannot"),
    [
        ({"data_centers": 3, "nodes": 2}, {"witness-killed"}),
        ({"data_centers": 2, "nodes": 2}, {"lagging-candidate", "site-lost-for-good"}),
        ({"data_centers": 2, "nodes": 1}, {"leader-and-standby-killed", "lagging-candidate", "scale-in",
                                            "site-lost-for-good"}),
        ({"data_centers": 3, "nodes": 3}, {"witness-killed", "scale-out"}),
        ({"data_centers": 3, "nodes": 2, "pgbackrest": False},
         {"witness-killed", "repository-killed", "lagging-candidate"}),
        ({"data_centers": 1, "nodes": 2, "pgbackrest": False},
         {"site-killed", "site-cut", "link-cut", "leader-and-standby-killed", "witness-killed", "repository-killed",
          "lagging-candidate", "site-lost-for-good"}),
    ],
)  # fmt: skip
def test_a_topology_plays_what_it_can_and_says_why_not_the_rest(make_project, shape, cannot):
    scenarios, skipped = series.choose(make_project(**shape), "", True)
    assert "cannot be taken back" in skipped.pop("upgrade-major")
    assert set(skipped) == cannot
    assert all(reason.startswith("takes ") for reason in skipped.values())
    assert {scenario.name for scenario in scenarios} == set(BY_NAME) - cannot - {"upgrade-major"}


def test_what_cannot_be_taken_back_is_played_by_its_name_and_where_there_is_a_newer_major(make_project):
    assert series.choose(make_project(), "upgrade-major", False)[0] == [BY_NAME["upgrade-major"]]
    newest = make_project(postgres=18)
    assert BY_NAME["upgrade-major"].lacking(newest.settings, newest.topology).startswith("takes an older major than 18")


@pytest.mark.parametrize(("name", "all_"), [("", False), ("switchover", True), ("no-such", False)])
def test_a_choice_that_cannot_be_is_refused(a_project, name, all_):
    with pytest.raises(BadValue):
        series.choose(a_project, name, all_)


@pytest.mark.parametrize("runs", [0, 101])
def test_the_number_of_runs_is_bounded(a_project, runs):
    with pytest.raises(BadValue):
        series.drill(a_project, "switchover", False, runs, None)


def test_a_scene_prefers_synchronous_standbys_of_other_sites(a_project):
    members = [
        Member("pg1-node1", "leader", "running", 1, None),
        Member("pg1-node2", "quorum_standby", "streaming", 1, 0),
        Member("pg2-node1", "replica", "streaming", 1, 0),
        Member("pg3-node1", "quorum_standby", "streaming", 1, 0),
    ]
    scene = Scene(a_project, None, ClusterView(tuple(members)))
    assert scene.leader.name == "pg1-node1"
    assert [host.name for host in scene.standbys][:3] == ["pg3-node1", "pg1-node2", "pg2-node1"]


def test_the_etcd_leader_is_found(captured):
    topology = build_topology(Settings(tls=False))
    assert etcd.parse_leader(captured("etcd_status.json"), topology) in [m.name for m in topology.etcd]


# The verdict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lost": (7, 8)}, "2 acknowledged writes are lost"),
        ({"phantom": (7,)}, "1 write is there that was refused"),
        ({"duplicates": (7,)}, "1 write is there twice"),
        ({"two_leaders": (7,)}, "two members accepted writes at once"),
        ({"shared_timelines": (7,)}, "two members began the timeline 7"),
    ],
)
def test_what_the_ledger_shows_is_a_broken_promise(change, words):
    (sentence,) = broken_promises(Settings(), replace(CLEAN, **change))
    assert words in sentence


def test_async_promises_nothing_about_acknowledged_writes():
    verdict = replace(CLEAN, lost=(1, 2), two_leaders=(3,))
    assert broken_promises(Settings(durability="async"), verdict) == []
    assert broken_promises(Settings(durability="async"), replace(verdict, shared_timelines=(7,))) != []
    assert broken_promises(Settings(drill_lost_writes=2), replace(CLEAN, lost=(1, 2))) == []


def test_the_median_of_the_gap_is_held_against_the_promise():
    settings = Settings(drill_gap_lost=24.0)
    kept = summarize(settings, [result(run=run, gap=gap) for run, gap in ((1, 20.0), (2, 23.0), (3, 99.0))])
    assert kept[0].missed == ()
    assert (kept[0].write_gap.median, kept[0].write_gap.worst, kept[0].runs) == (23.0, 99.0, 3)
    missed = summarize(settings, [result(gap=24.5)])
    assert missed[0].missed == ("writes stopped for 24.5 s, promised is 24 s (drill_gap_lost)",)


def test_a_run_that_never_became_whole_is_told_and_not_left_out():
    stuck = replace(result(run=2), marks=replace(result().marks, redundant=None))
    (summary,) = summarize(Settings(), [result(), stuck])
    assert (summary.redundant.worst, summary.never_whole) == (5.0, 1)
    (only,) = summarize(Settings(), [stuck])
    assert (only.redundant, only.never_whole) == (None, 1)


def test_a_series_that_ended_early_says_why_and_what_was_missed(tmp_path):
    played = series.Series(tuple(summarize(Settings(), [result()])), {}, tmp_path, TimedOut("not whole"))
    with pytest.raises(TimedOut, match="not whole"):
        series.require_kept(played)
    missed = tuple(summarize(Settings(), [result(missed=["3 acknowledged writes are lost"])]))
    with pytest.raises(Missed) as error:
        series.require_kept(replace(played, summaries=missed))
    assert "3 acknowledged writes are lost" in error.value.message
    assert "ended early: not whole" in error.value.message


def test_what_was_missed_is_named(tmp_path):
    good = summarize(Settings(), [result()])
    series.require_kept(series.Series(tuple(good), {}, tmp_path))
    bad = summarize(
        Settings(), [result(run=2, missed=["3 acknowledged writes are lost"]), result("switchover", gap=9.0)]
    )
    with pytest.raises(Missed) as error:
        series.require_kept(series.Series(tuple(bad), {}, tmp_path))
    assert error.value.exit_code == 7
    assert "leader-killed: run 2: 3 acknowledged writes are lost" in error.value.message
    assert "switchover: writes stopped for 9.0 s" in error.value.message


# The report -------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else_and_shows_a_plot_of_each_run(a_project, monkeypatch):
    monkeypatch.setattr(report, "versions", lambda project: {"PostgreSQL": "17 <b>"})
    results = [result(run=1), result(run=2, missed=["a promise"])]
    document = report.as_document(a_project, summarize(a_project.settings, results), results, {"witness-killed": "why"})
    assert [run["began_at"] for run in document["runs"]] == ["2023-11-14T22:13:20Z"] * 2
    page = report.page(document, results)
    assert page.count('src="data:image/svg+xml;base64,') == 2
    assert "http://" not in page and "https://" not in page
    assert "17 &lt;b&gt;" in page
    assert "run 2: a promise" in page and "witness-killed (why)" in page


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [("pg2-node1", 5432, "pg2-node1"), ("127.0.0.1", 50552, "pg3-node1"), ("127.0.0.1", 50559, "50559")],
)
def test_a_client_knows_whom_it_speaks_with(host, port, server):
    assert server_of(host, port, {"pg2-node1": 5432, "pg3-node1": 50552}) == server


MACHINES = {"dc1": "ssh://10.0.0.1", "dc2": "ssh://10.0.0.2", "dc3": "ssh://10.0.0.3", "backup": "ssh://10.0.0.1"}


def test_among_machines_what_they_do_not_have_is_left_out_with_its_reason():
    settings = read_settings({"data_centers": 3, "nodes": 1, "machines": MACHINES})
    topology = build_topology(settings)
    lacking = {s.name: s.lacking(settings, topology) for s in SCENARIOS}
    one = {name for name, reason in lacking.items() if reason == "takes one machine"}
    assert one == {"scale-out", "scale-in", "upgrade-major", "lagging-candidate", "site-lost-for-good"}
    assert lacking["link-cut"] == "takes a machine for each site: dc1 and backup are on 10.0.0.1"
    apart = read_settings({"data_centers": 3, "nodes": 1, "machines": {**MACHINES, "backup": "ssh://10.0.0.4"}})
    assert BY_NAME["link-cut"].lacking(apart, build_topology(apart)) == ""
