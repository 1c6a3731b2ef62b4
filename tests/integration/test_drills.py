"""A short set of drills: what they measure, what they refuse, and that they always heal."""

import json
import shutil

import pytest
from tools import PATIENCE, docker, finish, interrupt, load, play, program, reports, summary, until

pytestmark = pytest.mark.integration

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_the_leaders_postgres_is_killed(small):
    assert summary(play(small, "postgres-killed"))["write_gap_seconds"]["worst"] > 0


@pytest.mark.long
def test_every_postgres_is_restarted_while_clients_write(small):
    before = {node: small.sql(node, "select pg_postmaster_start_time()") for node in small.nodes}
    assert summary(play(small, "rollout-restart"))["lost"] == 0
    assert all(small.sql(node, "select pg_postmaster_start_time()") > before[node] for node in small.nodes)
    assert not (small.folder / "rollout.yaml").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "rollout-image",
        "upgrade-minor",
        "rotate-passwords",
        "rotate-keys",
        "etcd-member-replaced",
        "scale-out",
        "scale-in",
    ],
)
def test_a_change_under_load_leaves_the_stack_in_the_shape_it_found(small, name):
    until(lambda: small.status()["healthy"], "nothing else is wrong")
    containers, volumes, flags = small.containers(), small.volumes(), recorded(small)["flags"]
    assert summary(play(small, name))["never_whole"] == 0
    made = {host for host, identity in small.containers().items() if containers[host] != identity}
    assert made == {
        "rollout-image": set(containers), "upgrade-minor": set(containers), "rotate-passwords": set(),
        "rotate-keys": set(), "scale-out": set(),
        "scale-in": {"pg1-node2"},
    }.get(name, made & {"etcd1", "etcd2", "etcd3"} or None)  # fmt: skip
    assert (set(small.containers()), small.volumes()) == (set(containers), volumes)
    assert recorded(small)["flags"] == flags and not recorded(small)["scaling"]
    assert small.status()["healthy"]


@pytest.mark.long
def test_a_change_that_is_interrupted_is_completed_and_the_shape_given_back(small):
    process = small.begin("drill", "--name", "scale-out")
    until(lambda: "pg1-node3" in small.containers(), "one node more is made", 90)
    assert interrupt(process)[0] == 130
    assert set(small.containers("running")) == {"etcd1", "etcd2", "etcd3", "pgbackrest", *small.nodes}
    assert small.status()["healthy"]


def recorded(stack):
    return load((stack.folder / "project.yaml").read_text())


@pytest.mark.long
def test_a_standby_is_wiped_and_writes_go_on(small):
    assert summary(play(small, "replica-wiped"))["new_leader_seconds"] is None


def test_a_promise_that_is_missed_is_named_and_its_logs_are_kept(small):
    done = small.try_inv("drill", "--name", "switchover", "--json", drill_gap_planned="0.001")
    assert done.returncode == 7
    assert "switchover: writes stopped for" in done.stderr and "drill_gap_planned" in done.stderr
    document = json.loads(done.stdout)
    assert document["error"] == "missed" and summary(document)["missed"]
    folder = reports(small)[-1]
    assert json.loads((folder / "report.json").read_text())["scenarios"][0]["missed"]
    assert {log.stem for log in (folder / "switchover-1").iterdir()} == set(small.containers())
    assert "promoted" in (folder / "switchover-1" / f"{small.leader()}.log").read_text()
    assert small.wait_well()


def test_a_drill_that_is_interrupted_heals(small):
    """Ctrl-C while the leader is frozen: it runs again, and the command said that it ended early."""
    before = small.wait_well()
    process = small.begin("drill", "--name", "leader-paused")
    until(lambda: small.containers("paused"), "the leader is frozen", 60)
    code, output = interrupt(process)
    assert code == 130
    assert "Interrupted" in output
    assert set(small.containers("running")) == set(small.containers())
    assert not (small.folder / "broken.yaml").exists()
    assert small.status()["healthy"], "it waits until the cluster is whole"
    assert before in small.nodes
    assert small.sql(small.wait_well(), "select to_regclass('pgha_drill') is null") == "t"


@pytest.mark.long
def test_a_drill_that_cannot_heal_has_a_verdict_and_logs_all_the_same(small):
    """The record of what is broken is damaged while the repository is away: healing cannot read it."""
    record = small.folder / "broken.yaml"
    process = small.begin("drill", "--name", "repository-killed", drill_whole_timeout=round(8 * PATIENCE))
    until(lambda: record.exists() and "pgbackrest" in small.containers("exited"), "the repository is away", 60, 0.05)
    record.write_text("- 7\n")
    try:
        code, output = finish(process, 300)
        assert code == 7, output
        assert "repository-killed: run 1: " in output and "broken.yaml is damaged" in output
        assert "The series ended early" in output and "1 never" in output and "MISSED" in output
        document = json.loads((reports(small)[-1] / "report.json").read_text())
        assert "damaged" in document["ended_early"]
        assert any("damaged" in sentence for sentence in summary(document)["missed"])
        assert (summary(document)["lost"], summary(document)["never_whole"]) == (0, 1)
        assert {log.stem for log in (reports(small)[-1] / "repository-killed-1").iterdir()} == set(small.containers())
    finally:
        record.unlink()
        small.inv("chaos.heal")
    assert small.wait_well()


def test_a_drill_does_not_start_on_a_cluster_that_is_not_healthy(small):
    host = small.replicas()[0]
    docker("pause", small.container(host))
    try:
        assert "not healthy" in small.refused(3, "drill", "--name", "switchover")
    finally:
        docker("unpause", small.container(host))
    small.wait_well()
    small.inv("chaos.stop", "--node", host, "--process", "sshd")
    try:
        assert "chaos.heal" in small.refused(3, "drill", "--name", "switchover")
    finally:
        small.inv("chaos.heal")
    assert small.wait_well()


def test_a_scenario_that_cannot_be_played_here_says_why(small):
    until(lambda: small.status()["healthy"], "nothing else is wrong")
    assert "witness" in small.refused(3, "drill", "--name", "witness-killed")
    assert "not a scenario" in small.refused(2, "drill", "--name", "no-such")
    assert "takes a witness site" in small.inv("drill.list").stdout


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed on this host")
def test_a_browser_shows_the_reports_plots(small, tmp_path):
    if not reports(small):
        play(small, "sshd-stopped")
    page = reports(small)[-1] / "report.html"
    line = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
        f"--user-data-dir={tmp_path}", "--dump-dom", f"file://{page}",
    ]  # fmt: skip
    script = "<script>document.title=[...document.images].map(i=>i.complete&&i.naturalWidth).join()</script>"
    shown = tmp_path / "page.html"
    shown.write_text(page.read_text().replace("</body>", script + "</body>"))
    line[-1] = f"file://{shown}"
    answer = program(*line, check=False)
    title = answer.stdout.split("<title>")[1].split("</title>")[0]
    widths = [int(width) for width in title.split(",")]
    assert widths and all(width > 500 for width in widths), answer.stderr
