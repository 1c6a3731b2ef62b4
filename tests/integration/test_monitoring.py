"""Monitoring on real stacks: everybody is asked, what breaks is told, and nobody is told of what is well."""

import json
import shutil
import urllib.request
from pathlib import Path

import pytest
import yaml
from metrics import metrics_in
from tools import ROOT, docker, inspect, load, play, sentences, until

from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.monitoring.notifying import alertmanager_document
from pgha.monitoring.rules import rules_document

pytestmark = pytest.mark.integration

DATA = Path(__file__).parents[1] / "data"
HOOK = "http://pg1-node2:9999/T0/hush"

RECEIVER = """
import http.server
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("/tmp/told", "ab") as told:
            told.write(self.path.encode() + b" " + body + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", 9999), Hook).serve_forever()
"""


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def watched(bench, made):
    """One data center with two nodes, monitored."""
    yield from monitored(bench.stacks["shape"], made, ["pg1-node1", "pg1-node2"])


@pytest.fixture
def alone(bench, made):
    """The same with one node, which is sooner there."""
    yield from monitored(bench.stacks["shape"], made, ["pg1-node1"])


def monitored(stack, made, nodes):
    stack.nodes = nodes
    stack.settings = {"monitoring": "on", "notify": HOOK}
    if made.get("nodes") != nodes:
        stack.clear()
        stack.inv("render", "-d", "1", "-p", str(len(nodes)), "build", "up", "stanza", "backup", timeout=900)
        made |= {"nodes": nodes, "stack": stack}
    stack.wait_well()
    yield stack
    stack.settings = {}


@pytest.fixture(autouse=True, scope="module")
def cleared(made):
    yield
    if made:
        stack = made["stack"]
        stack.settings = {"monitoring": "on"}
        stack.clear()
        stack.settings = {}


def ask(stack, service, path):
    port = load((stack.folder / "project.yaml").read_text())["ports"][service]["monitoring"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def targets(stack):
    """(job, host) -> its health."""
    found = ask(stack, "prometheus", "/api/v1/targets?state=active")["data"]["activeTargets"]
    return {(entry["labels"]["job"], entry["labels"]["host"]): entry["health"] for entry in found}


def firing(stack):
    """(name, host) of what Alertmanager knows."""
    found = ask(stack, "alertmanager", "/api/v2/alerts?active=true&silenced=false&inhibited=false")
    return {(entry["labels"]["alertname"], entry["labels"].get("host", "")) for entry in found}


def told(stack):
    """What the webhook was told: (path, status, alert)."""
    lines = stack.run("pg1-node2", "cat", "/tmp/told", check=False).splitlines()
    messages = [line.split(" ", 1) for line in lines if line]
    return {
        (path, alert["status"], alert["labels"]["alertname"])
        for path, body in messages for alert in json.loads(body)["alerts"]
    }  # fmt: skip


def test_everybody_is_asked_and_all_is_well(alone):
    wanted = {
        *(("patroni", node) for node in alone.nodes), *(("postgres", node) for node in alone.nodes),
        *(("host", host) for host in (*alone.nodes, "pgbackrest")), *(("etcd", name) for name in alone.etcds),
        ("prometheus", "monitoring"), ("alertmanager", "monitoring"),
    }  # fmt: skip
    until(lambda: targets(alone) == dict.fromkeys(wanted, "up"), "everybody answers")
    until(lambda: alone.status()["healthy"], "status says so")
    until(lambda: firing(alone) == set(), "nothing fires", 120)
    until(lambda: set(alone.healths().values()) == {"healthy"}, "the containers say so")


def test_every_metric_that_is_asked_for_is_there(alone):
    settings = read_settings({"monitoring": "on"})
    rules = rules_document(settings, build_topology(settings))["groups"][0]["rules"]
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = {name for text in [*shown, *(rule["expr"] for rule in rules)] for name in metrics_in(text)}
    # There while something lacks, a job has run, or a backup was verified.
    later = {
        name for name in asked if name.startswith(("pgha_archive_gap", "pgha_verification", "pgha_job", "pgha_slot_"))
    }
    names = "/api/v1/label/__name__/values"
    until(lambda: not asked - later - set(ask(alone, "prometheus", names)["data"]), "every metric is there", 90)


def test_the_exporters_answer_nobody_who_shows_no_certificate(alone):
    for place in ("pg1-node1:9100", "pg1-node1:9187", "pgbackrest:9100"):
        known = f"curl -s -o /dev/null -w '%{{http_code}}' https://{place}/metrics"
        until(lambda line=known: alone.shell("pg1-node1", line).strip() == "200", f"{place} answers who shows one")
        stranger = f"curl -q -s -o /dev/null -w '%{{http_code}}' https://{place}/metrics || true"
        assert alone.shell("pg1-node1", stranger).strip() == "000"
        assert alone.shell("pg1-node1", f"curl -q -s http://{place}/metrics | grep -c HELP || true").strip() == "0"


def test_promtool_finds_the_files_right_and_the_rules_as_they_shall_be(alone, tmp_path):
    promtool = ["promtool", "check", "config", "/pgha/monitoring/prometheus.yml"]
    assert "SUCCESS" in alone.run("monitoring", *promtool, user="prometheus")
    assert "SUCCESS" in alone.run("monitoring", "amtool", "check-config", "/pgha/monitoring/alertmanager.yml")
    settings = read_settings({"monitoring": "on", "slots": "{cdc: {database: app}}"})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules_document(settings, build_topology(settings))))
    shutil.copy(DATA / "alerts.test.yaml", tmp_path)
    mail = read_settings({"monitoring": "on", "notify": "ops@example.com", "notify_smarthost": "mail.example.com:587"})
    (tmp_path / "mail.yml").write_text(yaml.safe_dump(alertmanager_document(mail)))
    docker("cp", str(tmp_path), f"{alone.container('monitoring')}:/tmp/tried")
    assert "SUCCESS" in alone.run("monitoring", "amtool", "check-config", "/tmp/tried/mail.yml")
    assert "SUCCESS" in alone.run("monitoring", "promtool", "check", "rules", "/tmp/tried/rules.yml")
    assert "SUCCESS" in alone.run("monitoring", "promtool", "test", "rules", "/tmp/tried/alerts.test.yaml")


@pytest.mark.long
def test_an_exporter_that_is_down_is_said_told_and_over(watched):
    docker("exec", "-d", watched.container("pg1-node2"), "python3", "-c", RECEIVER)
    watched.run("pg1-node1", "s6-svc", "-d", "/service/postgres-exporter")
    until(lambda: ("scrape_fails", "pg1-node1") in firing(watched), "the alert", 90)
    assert any("metrics of pg1-node1 (postgres)" in sentence for sentence in sentences(watched.status()))
    until(lambda: ("/T0/hush", "firing", "scrape_fails") in told(watched), "the webhook is told", 60)
    watched.run("pg1-node1", "s6-svc", "-u", "/service/postgres-exporter")
    until(lambda: firing(watched) == set(), "it is over", 90)
    until(lambda: watched.status()["healthy"], "status says so")
    # Whoever has the URL may use it.
    seen = json.dumps(inspect(*watched.containers().values())) + (watched.folder / "compose.yaml").read_text()
    assert "hush" not in seen + watched.logs("monitoring") + (watched.folder / "running.json").read_text()


@pytest.mark.long
def test_the_monitoring_is_nobody_s_quorum(watched):
    leader = watched.leader()
    watched.inv("chaos.kill", "--node", "monitoring")
    assert any("monitoring: container exited" in sentence for sentence in sentences(watched.status()))
    assert watched.leader() == leader
    watched.inv("up")
    until(lambda: set(targets(watched).values()) == {"up"}, "everybody is asked again")
    assert watched.well()


@pytest.mark.long
def test_of_a_host_that_is_stopped_on_purpose_nobody_is_told(watched):
    watched.inv("stop", "--node", "pg1-node2", "--degraded")
    away = "/api/v2/alerts?active=false&silenced=true"
    found = until(lambda: ask(watched, "alertmanager", away), "the alert fires, and is silenced", 90)
    assert {(entry["labels"]["alertname"], entry["labels"]["host"]) for entry in found} == {
        ("container_away", "pg1-node2")
    }
    assert firing(watched) == set()
    watched.inv("start", "--node", "pg1-node2")
    states = [entry["status"]["state"] for entry in ask(watched, "alertmanager", "/api/v2/silences")]
    assert set(states) == {"expired"}
    until(lambda: watched.status()["healthy"], "status says so")


@pytest.mark.long
def test_an_alarm_of_etcd_is_told_until_it_is_disarmed(watched):
    endpoints = f"--endpoints={watched.scheme}://etcd1:2379"
    listed = watched.run("pg1-node1", "etcdctl", endpoints, "member", "list", "--write-out=simple")
    member = int(listed.split(",")[0], 16)
    body = json.dumps({"action": "ACTIVATE", "memberID": str(member), "alarm": "NOSPACE"})
    watched.run("pg1-node1", "curl", "-s", "-d", body, f"{watched.scheme}://etcd1:2379/v3/maintenance/alarm")
    try:
        until(lambda: ("etcd_alarm", "") in firing(watched), "the alert", 120)
    finally:
        watched.run("pg1-node1", "etcdctl", endpoints, "alarm", "disarm")
    until(lambda: firing(watched) == set(), "it is over", 120)


@pytest.mark.long
def test_rotated_certificates_are_read_by_everybody(watched):
    watched.inv("rotate", "--what", "certificates", timeout=600)
    # Asked twice by then, with the new ones.
    until(lambda: set(targets(watched).values()) == {"up"}, "everybody answers")
    until(lambda: firing(watched) == set(), "nothing fires", 120)
    watched.run("monitoring", "s6-svc", "-t", "/service/prometheus")
    until(lambda: set(targets(watched).values()) == {"up"}, "everybody answers a Prometheus that was started again")


@pytest.mark.long
def test_a_drill_tells_which_alerts_fired(watched):
    document = play(watched, "leader-killed")
    (run,) = document["runs"]
    fired = {alert["name"]: alert for alert in run["alerts"]}
    assert {"no_leader", "container_away"} <= set(fired)
    assert all(alert["gone_seconds"] is not None for alert in fired.values())
    assert document["scenarios"][0]["missed"] == []


@pytest.mark.long
def test_who_joins_is_asked_and_who_leaves_is_not(watched):
    watched.inv("scale", "-d", "1", "-p", "3")
    until(lambda: targets(watched).get(("postgres", "pg1-node3")) == "up", "the new node is asked")
    watched.inv("scale", "-d", "1", "-p", "2", "--yes")
    until(lambda: ("postgres", "pg1-node3") not in targets(watched), "it is asked no more")
    until(lambda: watched.status()["healthy"], "status says so")


@pytest.mark.long
def test_it_is_switched_off_while_clients_write(watched):
    watched.settings = {}
    watched.inv("up", timeout=600)
    assert "monitoring" not in watched.containers()
    assert watched.status()["healthy"]
    watched.settings = {"monitoring": "on", "notify": HOOK}
    watched.inv("up", timeout=600)
    until(lambda: set(targets(watched).values()) == {"up"}, "everybody is asked again")
