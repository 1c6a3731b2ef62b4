"""A bundle of a project that is rendered, on a host without an engine: what cannot be had is named."""

import io
import json
import tarfile
from ipaddress import IPv4Network

import pytest
import yaml

from pgha.console import Progress
from pgha.errors import Damaged, NotRendered, Unreachable
from pgha.project.certificates import ensure_certificates
from pgha.project.files import write_file
from pgha.project.keys import ensure_keys
from pgha.project.passwords import OWN, kept_passwords, settled_passwords, with_role, write_passwords
from pgha.project.ports import choose_ports
from pgha.project.record import Record
from pgha.stack.rendering import render
from pgha.status import bundle
from pgha.status.bundle import write_bundle
from pgha.tools.masking import MASK


@pytest.fixture
def project(make_project):
    project = make_project(
        data_centers=1, nodes=2, superuser_password='it\'s "mine": \\o/', restapi_password="postgres"
    )
    ensure_keys(project)
    ensure_certificates(project)
    write_passwords(project, settled_passwords(project, None))
    passwords = with_role(project, "app")
    ports = choose_ports(project.settings, project.topology, {}, lambda port: True)
    project.write_record(Record({}, ports))
    rendered = render(project, passwords, ports, IPv4Network("172.30.240.0/20"))
    for path, content in rendered.files.items():
        write_file(project.folder / path, content, rendered.mode(path))
    return project


@pytest.fixture
def logged(project, monkeypatch):
    """Everything that was asked answers with every secret in it."""
    said = "\n".join(f"said {secret} {json.dumps(secret)}" for secret in secrets(project))
    monkeypatch.setattr(bundle, "_logs", lambda project, lines: {"pg1-node1.log": said})
    monkeypatch.setattr(bundle, "_statistics", lambda project: {"pg_stat_activity.json": json.dumps([{"query": said}])})
    monkeypatch.setattr(bundle, "_ctl", lambda project, *words: said)
    monkeypatch.setattr(bundle, "_versions", lambda project: {"here": said})
    return project


def secrets(project):
    kept = kept_passwords(project)
    return [value for name in OWN if (value := getattr(kept, name)) != "postgres"] + list(kept.roles.values())


def opened(written):
    with tarfile.open(fileobj=io.BytesIO(written.path.read_bytes())) as archive:
        return {entry.name.partition("/")[2]: archive.extractfile(entry).read().decode() for entry in archive}


def test_no_secret_is_in_any_file(logged):
    files = opened(write_bundle(logged, 10, Progress()))
    assert f"said {MASK}" in files["logs/pg1-node1.log"]
    private = [path.read_text() for folder in (logged.keys_folder, logged.certificates_folder)
               for path in folder.rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text()]  # fmt: skip
    assert len(private) > 5
    keys = [line for text in private for line in text.splitlines() if len(line) > 40 and "-----" not in line]
    for name, text in files.items():
        for secret in secrets(logged):
            forms = (secret, json.dumps(secret)[1:-1], yaml.safe_dump(secret, default_style='"').strip()[1:-1])
            assert not any(form in text for form in forms), name
        assert not any(line in text for line in keys), name
    node = yaml.safe_load(files["configuration/pg1-node1/patroni.conf"])
    assert {login["password"] for login in node["postgresql"]["authentication"].values()} == {MASK}
    assert node["restapi"]["authentication"] == {"username": "patroni", "password": MASK}
    assert not any("pgpass" in name or "passwords" in name for name in files)


def test_what_was_rendered_is_in_it_as_it_is(logged):
    files = opened(write_bundle(logged, 10, Progress()))
    assert files["configuration/compose.yaml"] == (logged.folder / "compose.yaml").read_text()
    settings = yaml.safe_load(files["settings.yaml"])
    assert settings["nodes"] == 2 and not any("password" in key or "passphrase" in key for key in settings)
    assert json.loads(files["plan.json"])


def test_what_cannot_be_had_is_named_and_the_rest_is_there(project, monkeypatch):
    def away(project, *more):
        raise Unreachable("pg1-node1 cannot be reached")

    monkeypatch.setattr(bundle, "_statistics", away)
    written = write_bundle(project, 10, Progress())
    files = opened(written)
    assert written.missing["statistics"] == "pg1-node1 cannot be reached"
    assert "engine" in written.missing["status.json"]
    assert json.loads(files["status.json"])["error"] == "not_ready"
    assert json.loads(files["missing.json"]) == dict(written.missing)
    assert "configuration/compose.yaml" in files
    assert written.path.parent == project.folder / "reports"
    assert written.path.stat().st_mode & 0o777 == 0o600


def test_without_knowing_the_secrets_nothing_is_written(project, make_project):
    with pytest.raises(NotRendered):
        write_bundle(make_project(project="other"), 10, Progress())
    (project.folder / "passwords.yaml").write_text("superuser: x\n")
    with pytest.raises(Damaged):
        write_bundle(project, 10, Progress())
    assert not (project.folder / "reports").exists()
