"""A short set of drills on the main stack: what they measure, what they refuse, and that they always heal."""

import json
import shutil
import subprocess
import time

import pytest
from tools import docker, finish, interrupt, until

pytestmark = pytest.mark.integration

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def reports(stack):
    folder = stack.folder / "drills"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def drill(main):
    """Play scenarios one by one; returns the report of each. The stack is whole before and after."""

    def drill(name, **settings):
        document = json.loads(main.inv("drill", "--name", name, "--json", timeout=600, **settings).stdout)
        assert not (main.folder / "broken.yaml").exists()
        assert main.well(), "a drill leaves the cluster whole"
        (run,) = document["runs"]
        assert run["acknowledged"] > 100
        assert run["probed"] > 10
        assert (run["lost"], run["phantom"], run["duplicates"], run["two_leaders"]) == ([], [], [], [])
        return document

    return drill


def summary(document):
    (only,) = document["scenarios"]
    return only


# Timings are not asserted beyond what Patroni's own settings bound: this machine may be busy with something else.
GENEROUS = {"drill_gap_planned": 20, "drill_gap_stopped": 20, "drill_gap_process": 20, "drill_gap_lost": 45}


def test_a_switchover_under_load(drill):
    document = drill("switchover", **GENEROUS)
    assert document["runs"][0]["new_leader_seconds"] > 0
    assert document["durability"] == "quorum"
    assert document["versions"]["PostgreSQL"].startswith("17")
    assert document["topology"]["sites"]["dc2"] == ["etcd2", "etcd5", "pg2-node1", "pg2-node2"]


def test_the_leaders_postgres_is_killed(drill):
    assert 0 < summary(drill("postgres-killed", **GENEROUS))["write_gap_seconds"]["worst"] < 20


def test_a_data_center_is_cut_off_and_no_acknowledged_write_is_lost(drill, main):
    document = drill("site-cut", **GENEROUS)
    assert summary(document)["lost"] == 0
    # The lock of a leader that is cut off lives for 18 to 20 seconds.
    assert 17 < summary(document)["write_gap_seconds"]["worst"] < 45
    roles = document["runs"][0]["roles"]
    assert set(roles) == set(main.nodes)
    assert "leader" in {role for _, role in roles[document["runs"][0]["leader"]]}


def test_a_standby_is_wiped_and_writes_go_on(drill):
    assert summary(drill("replica-wiped", drill_gap_bystander=10))["new_leader_seconds"] is None


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
        assert "durability async" in main.refused(3, "drill", "--name", "switchover")
    finally:
        main.inv("up")
        main.wait_well()


def test_a_promise_that_is_missed_is_named_and_its_logs_are_kept(main):
    said = main.refused(7, "drill", "--name", "switchover", drill_gap_planned="0.001")
    assert "switchover: writes stopped for" in said and "drill_gap_planned" in said
    folder = reports(main)[-1]
    assert json.loads((folder / "report.json").read_text())["scenarios"][0]["missed"]
    assert {log.stem for log in (folder / "switchover-1").iterdir()} == set(main.containers())
    assert "promoted" in (folder / "switchover-1" / f"{main.leader()}.log").read_text()
    assert main.well()


def test_a_drill_that_is_interrupted_heals(main):
    """Ctrl-C while the leader is frozen: it runs again, and the command said that it ended early."""
    before = main.wait_well()
    process = main.begin("drill", "--name", "leader-paused")
    until(lambda: main.containers("paused"), "the leader is frozen", 60)
    code, output = interrupt(process)
    assert code == 130
    assert "Interrupted" in output
    assert set(main.containers("running")) == set(main.containers())
    assert not (main.folder / "broken.yaml").exists()
    assert main.status()["healthy"], "it waits until the cluster is whole"
    assert before in main.nodes
    assert main.sql(main.wait_well(), "select to_regclass('pgha_drill') is null") == "t"


def test_a_drill_that_cannot_heal_has_a_verdict_and_logs_all_the_same(main):
    """The record of what is broken is damaged while the repository is away: healing cannot read it."""
    record = main.folder / "broken.yaml"
    process = main.begin("drill", "--name", "repository-killed")
    until(lambda: record.exists() and "pgbackrest" in main.containers("exited"), "the repository is away", 60, 0.1)
    record.write_text("- 7\n")
    try:
        code, output = finish(process, 300)
        assert code == 7, output
        assert "repository-killed: run 1: " in output and "broken.yaml is damaged" in output
        assert "The series ended early" in output and "1 never" in output and "MISSED" in output
        document = json.loads((reports(main)[-1] / "report.json").read_text())
        assert "damaged" in document["ended_early"]
        assert any("damaged" in sentence for sentence in summary(document)["missed"])
        assert (summary(document)["lost"], summary(document)["never_whole"]) == (0, 1)
        assert {log.stem for log in (reports(main)[-1] / "repository-killed-1").iterdir()} == set(main.containers())
    finally:
        record.unlink()
        main.inv("chaos.heal")
    assert main.wait_well()


def test_a_drill_does_not_start_on_a_cluster_that_is_not_healthy(main):
    host = main.replicas()[0]
    docker("pause", main.container(host))
    try:
        assert "not healthy" in main.refused(3, "drill", "--name", "switchover")
    finally:
        docker("unpause", main.container(host))
    main.wait_well()
    main.inv("chaos.stop", "--node", host, "--process", "sshd")
    try:
        assert "chaos.heal" in main.refused(3, "drill", "--name", "switchover")
    finally:
        main.inv("chaos.heal")
    assert main.well()


def test_a_scenario_that_cannot_be_played_here_says_why(main):
    assert "witness" in main.refused(3, "drill", "--name", "witness-killed")
    assert "not a scenario" in main.refused(2, "drill", "--name", "no-such")
    assert "takes a witness site" in main.inv("drill.list").stdout


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed on this host")
def test_a_browser_shows_the_reports_plots(main, tmp_path):
    page = reports(main)[-1] / "report.html"
    line = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
        f"--user-data-dir={tmp_path}", "--dump-dom", f"file://{page}",
    ]  # fmt: skip
    script = "<script>document.title=[...document.images].map(i=>i.complete&&i.naturalWidth).join()</script>"
    shown = tmp_path / "page.html"
    shown.write_text(page.read_text().replace("</body>", script + "</body>"))
    line[-1] = f"file://{shown}"
    answer = subprocess.run(line, capture_output=True, text=True, timeout=90, check=False)
    title = answer.stdout.split("<title>")[1].split("</title>")[0]
    widths = [int(width) for width in title.split(",")]
    assert widths and all(width > 500 for width in widths), answer.stderr
    assert time.time() - page.stat().st_mtime < 7200
