"""The monitoring in the compose file: a host of its own, exporters on the others, and no secret in sight."""

import json

import pytest
import yaml

from pgha.monitoring.targets import SCRAPE_SECONDS
from pgha.project import running
from pgha.stack.fit import fitting_passwords

URL = "https://hooks.example.com/T0/B0/hush"


def compose_of(rendered):
    return yaml.safe_load(rendered.files["compose.yaml"])


def configs(rendered):
    return {name: service["labels"]["pgha.config"] for name, service in compose_of(rendered)["services"].items()}


def test_without_monitoring_nothing_is_there(rendering):
    rendered = rendering(nodes=1)
    assert "monitoring" not in compose_of(rendered)["services"]
    assert not any("monitor" in image["image"] for image in compose_of(rendered)["services"].values())


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "192.0.2.7"])
def test_it_is_published_on_loopback_only(rendering, address):
    service = compose_of(rendering(monitoring=True, publish_address=address))["services"]["monitoring"]
    assert service["ports"] == ["127.0.0.1:50751:9090", "127.0.0.1:50752:9093"]
    assert set(service["networks"]) == {"monitoring", "wan"}


def test_the_hosts_have_images_with_exporters(rendering):
    images = {name: service["image"] for name, service in compose_of(rendering(monitoring=True))["services"].items()}
    assert images["pg1-node1"] == "pgha-pg17-patroni-monitored:trixie"
    assert images["pgbackrest"] == "pgha-pgbackrest-monitored:trixie"
    assert images["monitoring"] == "pgha-monitoring:trixie"
    assert images["etcd1"] == "pgha-etcd-3.5:trixie"


def test_root_has_the_rights_there_that_it_has_in_etcd_s_containers(rendering):
    services = compose_of(rendering(monitoring=True))["services"]
    for what in ("cap_drop", "cap_add", "security_opt"):
        assert services["monitoring"][what] == services["etcd1"][what]


def test_no_node_waits_for_it(rendering):
    services = compose_of(rendering(monitoring=True))["services"]
    assert not any("monitoring" in service.get("depends_on", ()) for service in services.values())


def test_other_hosts_are_no_reason_to_make_it_again(rendering):
    before, after = rendering(monitoring=True, nodes=1), rendering(monitoring=True, nodes=3)
    for name in ("prometheus.yml", "rules.yml"):
        assert before.files[f"monitoring/{name}"] != after.files[f"monitoring/{name}"]
    assert configs(before)["monitoring"] == configs(after)["monitoring"]
    assert configs(rendering(monitoring=True, ttl=60))["monitoring"] != configs(before)["monitoring"]


def test_a_webhook_s_url_is_in_one_file_that_others_cannot_read(rendering):
    rendered = rendering(monitoring=True, notify=URL)
    assert [path for path, content in rendered.files.items() if "hush" in content] == ["monitoring/notify_url"]
    assert rendered.mode("monitoring/notify_url") == 0o600
    service = compose_of(rendered)["services"]["monitoring"]
    assert "monitoring.notify_url" in [secret["source"] for secret in service["secrets"]]
    assert configs(rendered)["monitoring"] != configs(rendering(monitoring=True))["monitoring"]


def test_whom_to_notify_is_in_no_record(make_project, write_down_passwords):
    project = make_project(monitoring=True, notify=URL)
    project.folder.mkdir(parents=True)
    write_down_passwords(project)
    running.note_running(project)
    assert json.loads((project.folder / running.FILE).read_text())["settings"]["monitoring"] is True
    assert "hush" not in (project.folder / running.FILE).read_text()


def test_prometheus_asks_everybody(rendering, make_project):
    document = yaml.safe_load(rendering(monitoring=True).files["monitoring/prometheus.yml"])
    assert document["global"]["scrape_interval"] == f"{SCRAPE_SECONDS}s"
    asked = {entry["labels"]["host"] for job in document["scrape_configs"] for entry in job["static_configs"]}
    assert asked == {host.name for host in make_project(monitoring=True).topology.hosts}


@pytest.mark.parametrize("tls", [True, False])
def test_everybody_is_asked_as_the_parts_speak(rendering, tls):
    rendered = rendering(monitoring=True, tls=tls)
    jobs = yaml.safe_load(rendered.files["monitoring/prometheus.yml"])["scrape_configs"]
    assert {job.get("scheme") for job in jobs[:4]} == ({"https"} if tls else {None})
    services = compose_of(rendered)["services"]
    given = {secret["target"] for secret in services["monitoring"]["secrets"]}
    assert given >= {"ca.crt", "host.crt", "host.key"} if tls else not any(name.endswith(".crt") for name in given)
    assert all(services[host]["environment"].get("PGHA_TLS") == ("on" if tls else None)
               for host in ("pg1-node1", "pgbackrest"))  # fmt: skip


def test_it_may_be_switched_on_and_off_over_data(make_project, monkeypatch):
    """Its volume is of no shape."""
    from pgha.remote import engine
    from pgha.stack import fit

    project = make_project(nodes=1)
    held = fit.shape(project)
    volumes = tuple(engine.Volume(f"pgha_{name}", held, "") for name in ("etcd1", "pg1-node1", "monitoring"))
    monkeypatch.setattr(engine, "engine_problem", lambda _: None)
    monkeypatch.setattr(engine, "volumes", lambda _: volumes)
    monkeypatch.setattr(fit, "_require_passwords", lambda *_: None)
    fitting_passwords(project)
    fitting_passwords(make_project(nodes=1, monitoring=True))
