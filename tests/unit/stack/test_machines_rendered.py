"""What is rendered for several machines."""

import configparser

import pytest
import yaml

from pgha.errors import MachineUnreachable
from pgha.project.certificates import ensure_certificates, load_certificate, names_in, pair_of
from pgha.project.record import Record
from pgha.remote import engines
from pgha.stack.writing import render_project

A, B, C = "10.0.1.9", "10.0.2.9", "10.0.3.9"
MACHINES = {
    "dc1": {"engine": "ssh://root@db-a", "address": A},
    "dc2": f"ssh://root@{B}",
    "dc3": {"engine": "ssh://root@db-c:2222", "address": C},
    "backup": "ssh://root@db-a",
}
SETTINGS = {"data_centers": 3, "nodes": 1, "machines": MACHINES, "process_max": 2}
FOLDERS = {"db-a": ["etcd1", "pg1-node1", "pgbackrest"], B: ["etcd2", "pg2-node1"], "db-c-2222": ["etcd3", "pg3-node1"]}


def unreachable(machine):
    raise MachineUnreachable("away")


@pytest.fixture
def rendered(rendering):
    return rendering(**SETTINGS)


def composed(rendered):
    return {folder: yaml.safe_load(rendered.files[f"{folder}/compose.yaml"]) for folder in FOLDERS}


def test_each_machine_has_a_compose_file_with_its_hosts(rendered):
    assert {folder: list(file["services"]) for folder, file in composed(rendered).items()} == FOLDERS
    assert "compose.yaml" not in rendered.files
    for folder, file in composed(rendered).items():
        assert set(file["volumes"]) == set(FOLDERS[folder])


def test_the_same_settings_give_the_same_bytes(rendering):
    assert rendering(**SETTINGS) == rendering(**SETTINGS)


def test_a_machine_has_the_networks_of_its_sites_only(rendered):
    found = {folder: set(file["networks"]) for folder, file in composed(rendered).items()}
    assert found == {"db-a": {"dc1", "backup", "wan"}, B: {"dc2", "wan"}, "db-c-2222": {"dc3", "wan"}}


def test_names_lead_to_the_other_machines_and_to_no_own_one(rendered):
    services = composed(rendered)["db-a"]["services"]
    elsewhere = {"etcd2": B, "pg2-node1": B, "etcd3": C, "pg3-node1": C}
    assert [service["extra_hosts"] for service in services.values()] == [elsewhere] * 3
    assert composed(rendered)[B]["services"]["etcd2"]["extra_hosts"]["pgbackrest"] == A


def test_ports_are_published_on_the_machines_address_as_they_are_inside(rendered):
    ports = {name: s["ports"] for file in composed(rendered).values() for name, s in file["services"].items()}
    assert ports["etcd2"] == [f"{B}:2379:2379", f"{B}:2380:2380"]
    assert ports["pg1-node1"] == [f"{A}:5432:5432", f"{A}:50651:22", f"{A}:8008:8008", f"{A}:8432:8432"]
    assert ports["pgbackrest"] == [f"{A}:50661:22", f"{A}:8442:8442"]


def test_no_port_is_published_twice_on_a_machine(rendering):
    two = {"dc1": f"ssh://{A}", "dc2": f"ssh://{B}", "witness": f"ssh://{A}", "backup": f"ssh://{A}"}
    rendered = rendering(**{**SETTINGS, "data_centers": 2, "machines": two})
    ports = [p for s in yaml.safe_load(rendered.files[f"{A}/compose.yaml"])["services"].values() for p in s["ports"]]
    assert len({port.split(":")[1] for port in ports}) == len(ports) == 2 + 2 + 4 + 2


def test_a_second_member_of_etcd_on_a_machine_has_ports_of_its_own_everywhere(rendering):
    two = {"dc1": f"ssh://{A}", "dc2": f"ssh://{B}", "witness": f"ssh://{A}", "backup": f"ssh://{A}"}
    rendered = rendering(**{**SETTINGS, "data_centers": 2, "machines": two})
    etcd = yaml.safe_load(rendered.files["etcd3/etcd.yml"])
    assert etcd["listen-client-urls"] == "https://0.0.0.0:2389"
    assert etcd["initial-advertise-peer-urls"] == "https://etcd3:2390"
    assert "etcd3=https://etcd3:2390" in etcd["initial-cluster"]
    assert "etcd3:2389" in yaml.safe_load(rendered.files["pg2-node1/patroni.conf"])["etcd3"]["hosts"]
    service = yaml.safe_load(rendered.files[f"{A}/compose.yaml"])["services"]["etcd3"]
    assert service["ports"] == [f"{A}:2389:2389", f"{A}:2390:2390"]
    assert "--endpoints=https://localhost:2389" in service["healthcheck"]["test"]


def test_secrets_are_left_to_whoever_brings_them(rendered):
    for file in composed(rendered).values():
        assert "secrets" not in file
        assert not [service for service in file["services"].values() if "secrets" in service]
    held = yaml.safe_load(rendered.files["secrets.json"])
    assert set(held) == {name for names in FOLDERS.values() for name in names}
    assert held["etcd2"]["etcd.yml"] == "./etcd2/etcd.yml"


def test_a_container_starts_after_those_of_its_own_machine(rendered):
    files = composed(rendered)
    assert files["db-a"]["services"]["pg1-node1"]["depends_on"] == ["etcd1", "pgbackrest"]
    assert files[B]["services"]["pg2-node1"]["depends_on"] == ["etcd2"]


def test_pgbackrest_finds_every_host_at_its_port(rendered):
    def ini(host):
        parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=False)
        parser.read_string(rendered.files[f"{host}/pgbackrest.conf"])
        return parser

    node, repository = ini("pg2-node1"), ini("pgbackrest")
    assert node["global"]["repo1-host-port"] == repository["global"]["tls-server-port"] == "8442"
    assert repository["pg_ha_db"]["pg2-host-port"] == node["global"]["tls-server-port"] == "8432"


def test_people_find_every_host_by_ssh(rendered):
    for file in ("ssh_config", "container_ssh_config"):
        blocks = rendered.files[file].split("Host ")
        (block,) = [text for text in blocks if text.startswith("pg2-node1\n")]
        assert f"HostName {B}" in block
        assert "Port 50651" in block
        assert "HostKeyAlias pg2-node1" in block


def test_a_certificate_has_its_machines_address_and_no_other_ones(make_project):
    project = make_project(**SETTINGS)
    project.write_record(Record({}, {}, subnet="172.30.240.0/20"))
    ensure_certificates(project)
    for name, own in (("etcd2", B), ("pg1-node1", A), ("pgbackrest", A)):
        names = names_in(load_certificate(pair_of(project, name).certificate.read_bytes()))
        assert own in names
        assert not {A, B, C} - {own} & set(names)


def test_the_ports_of_machines_are_not_chosen_and_so_none_moves(make_project, monkeypatch):
    monkeypatch.setattr(engines.tunnels, "reach", unreachable)
    report = render_project(make_project(**SETTINGS))
    assert report.moved == ()
    assert report.ports["postgres"] == dict.fromkeys(("pg1-node1", "pg2-node1", "pg3-node1"), 5432)
    assert report.ports["ssh"] == {"pg1-node1": 50651, "pg2-node1": 50651, "pg3-node1": 50651, "pgbackrest": 50661}
