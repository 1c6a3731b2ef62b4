"""Which problems metrics tell, and the documents that Prometheus and Alertmanager are given."""

import re

import pytest
import yaml

from pgha import ROOT
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.monitoring.notifying import URL_FILE, alertmanager_document, url_of
from pgha.monitoring.rules import ALERTS, UNTOLD, rules_document
from pgha.monitoring.targets import Security, prometheus_document, targets
from pgha.status.kinds import Kind


def document_of(make=rules_document, **settings):
    given = read_settings({"monitoring": "on", **settings})
    return make(given, build_topology(given))


def names(**settings):
    return {rule["alert"] for rule in document_of(**settings)["groups"][0]["rules"]}


def test_each_kind_is_told_by_a_rule_of_its_name_or_said_not_to_be():
    assert set(ALERTS) | set(UNTOLD) == {str(kind) for kind in Kind}
    assert not set(ALERTS) & set(UNTOLD)
    assert all(UNTOLD.values())


def test_a_project_has_the_rules_of_what_it_has():
    assert names(slots={"cdc": {"database": "app"}}) == set(ALERTS)
    assert set(ALERTS) - names() == {"slot_missing"}
    assert set(ALERTS) - names(pgbackrest="off") == {
        "slot_missing", "repository_unreadable", "no_backup", "archiving_fails", "archive_gap", "backup_not_good",
        "backup_unchecked", "job_failed",
    }  # fmt: skip


@pytest.mark.parametrize(("shape", "quorum"), [({"data_centers": 1}, 2), ({}, 3), ({"data_centers": 3, "nodes": 3}, 3)])
def test_etcd_s_quorum_is_the_topology_s(shape, quorum):
    (rule,) = [rule for rule in document_of(**shape)["groups"][0]["rules"] if rule["alert"] == "quorum_lost"]
    assert rule["expr"].endswith(f"< {quorum}")


def test_a_rule_says_whom_and_what_next():
    for rule in document_of(slots={"cdc": {"database": "app"}})["groups"][0]["rules"]:
        assert rule["annotations"]["summary"] and rule["annotations"]["hint"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+s", rule["for"])


def test_the_documents_are_the_same_bytes_each_time():
    assert yaml.safe_dump(document_of()) == yaml.safe_dump(document_of())


# Targets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repository", ["on", "off"])
def test_everybody_is_asked_for_what_it_has(repository):
    topology = build_topology(read_settings({"monitoring": "on", "pgbackrest": repository, "data_centers": 2}))
    asked = {}
    for target in targets(topology):
        asked.setdefault(target.job, set()).add(target.host.name)
    nodes = {node.name for node in topology.nodes}
    repository_host = {"pgbackrest"} if repository == "on" else set()
    assert asked == {
        "patroni": nodes, "postgres": nodes, "host": nodes | repository_host,
        "etcd": {member.name for member in topology.etcd},
        "prometheus": {"monitoring"}, "alertmanager": {"monitoring"},
    }  # fmt: skip


def test_every_scrape_is_secured_in_one_place():
    topology = build_topology(read_settings({"monitoring": "on"}))
    plain, secured = (
        {job["job_name"]: job for job in prometheus_document(topology, security)["scrape_configs"]}
        for security in (None, Security("ca", "crt", "key"))
    )
    assert not any("scheme" in job for job in plain.values())
    for name in ("patroni", "etcd", "postgres", "host"):
        assert secured[name]["scheme"] == "https"
        assert secured[name]["tls_config"] == {"ca_file": "ca", "cert_file": "crt", "key_file": "key"}
    # They speak within the container.
    assert secured["prometheus"] == plain["prometheus"]


# Who is told ------------------------------------------------------------------------------------------------

URL = "https://hooks.example.com/T0/B0/secret"


def receiver(**settings):
    given = read_settings({"monitoring": "on", **settings})
    return alertmanager_document(given)["receivers"][0], url_of(given)


def test_nobody_is_told_unless_it_is_said_who():
    assert receiver() == ({"name": "operator"}, "")


def test_the_url_of_a_webhook_stands_in_a_file_of_its_own():
    found, url = receiver(notify=URL)
    assert url == URL
    assert found["webhook_configs"] == [{"url_file": URL_FILE, "send_resolved": True}]
    assert URL not in yaml.safe_dump(alertmanager_document(read_settings({"monitoring": "on", "notify": URL})))


def test_a_mail_is_sent_by_the_server_that_is_named():
    found, url = receiver(notify="ops@example.com", notify_smarthost="mail.example.com:587")
    assert url == ""
    assert found["email_configs"][0]["to"] == "ops@example.com"
    assert found["email_configs"][0]["smarthost"] == "mail.example.com:587"


def test_the_documentation_lists_each_alert_and_what_is_not_told():
    page = (ROOT / "docs" / "monitoring.md").read_text()
    for name, alert in ALERTS.items():
        assert f"| `{name}` | {alert.severity} | {alert.seconds} s |" in page
    for name, why in UNTOLD.items():
        assert re.search(rf"^\|.*`{name}`.*\| {re.escape(why)} \|$", page, re.MULTILINE)
