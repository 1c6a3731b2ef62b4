from pathlib import Path

import pytest

from pgha.errors import BadSettings
from pgha.model.machines import destination
from pgha.model.plan import make_plan
from pgha.model.settings import environment_layer, read_settings
from pgha.model.topology import build_topology

THREE = {
    "dc1": "ssh://root@db-a",
    "dc2": {"engine": "ssh://root@db-b:2222", "address": "10.0.2.9"},
    "dc3": "ssh://10.0.3.9",
    "backup": "ssh://root@db-a",
}
SMALL = {"data_centers": 3, "nodes": 1}


def settings_of(machines, **more):
    return read_settings({**SMALL, "machines": machines, **more})


def problems_of(machines, **more):
    with pytest.raises(BadSettings) as caught:
        settings_of(machines, **more)
    return caught.value.problems


def test_each_host_has_the_machine_of_its_site():
    topology = build_topology(settings_of(THREE))
    placed = {host.name: (host.machine.name, host.machine.address) for host in topology.hosts}
    a, b, c = ("db-a", "db-a"), ("db-b-2222", "10.0.2.9"), ("10.0.3.9", "10.0.3.9")
    assert placed == {
        "etcd1": a, "etcd2": b, "etcd3": c, "pg1-node1": a, "pg2-node1": b, "pg3-node1": c, "pgbackrest": a,
    }  # fmt: skip
    assert [destination(machine) for machine in topology.machines] == [
        ("root@db-a", ""), ("root@db-b", "2222"), ("10.0.3.9", ""),
    ]  # fmt: skip


def test_without_machines_there_is_none():
    topology = build_topology(read_settings({}))
    assert topology.machines == ()
    assert {host.machine for host in topology.hosts} == {None}


def test_a_machine_holds_the_hosts_of_its_sites_and_no_others():
    topology = build_topology(settings_of(THREE))
    first = topology.on(topology.machines[0])
    assert [host.name for host in first.hosts] == ["etcd1", "pg1-node1", "pgbackrest"]
    assert [site.name for site in topology.sites_on(topology.machines[0])] == ["dc1", "backup"]


def test_one_address_of_an_engine_is_enough():
    machines = {**THREE, "backup": {"engine": "ssh://root@db-a", "address": "10.0.1.9"}}
    topology = build_topology(settings_of(machines))
    assert {h.machine.address for h in topology.hosts if h.machine.name == "db-a"} == {"10.0.1.9"}


def test_the_table_can_come_from_the_environment():
    text = "{dc1: 'ssh://a', dc2: {engine: 'ssh://b', address: 10.0.0.2}, dc3: 'ssh://c', backup: 'ssh://a'}"
    settings = read_settings(SMALL, environment_layer({"INVOKE_PGHA_MACHINES": text}))
    assert settings.machines["dc2"] == {"engine": "ssh://b", "address": "10.0.0.2"}


def test_a_machine_has_one_node_unless_asked_otherwise_with_the_usual_port():
    assert read_settings({"machines": THREE}).nodes == 1
    assert settings_of(THREE).postgres_port == 5432
    assert "postgres_port 6432: on a machine Postgres has 5432" in problems_of(THREE, postgres_port=6432)[0]
    assert read_settings({}).postgres_port == 50551


@pytest.mark.parametrize(
    ("machines", "words"),
    [
        ({**THREE, "dc4": "ssh://d"}, "dc4 is no site of this shape; there are dc1, dc2, dc3, backup"),
        ({k: v for k, v in THREE.items() if k != "dc2"}, "dc2 has no machine"),
        ({"dc1": "ssh://a"}, "dc2 and dc3 and backup have no machine"),
        ({**THREE, "dc1": "tcp://db-a:2375"}, "dc1: 'tcp://db-a:2375' does not begin with ssh://"),
        ({**THREE, "dc1": "db-a"}, "does not begin with ssh://"),
        ({**THREE, "dc1": "ssh://"}, "is not a URL such as"),
        ({**THREE, "dc1": "ssh://-oProxyCommand=x"}, "is not a URL such as"),
        ({**THREE, "dc1": "ssh://root@db-a/var/run/docker.sock"}, "is not a URL such as"),
        ({**THREE, "dc1": "ssh://root:secret@db-a"}, "is not a URL such as"),
        ({**THREE, "dc1": "ssh://db-a:70000"}, "is not a URL such as"),
        ({**THREE, "dc1": {"engine": "ssh://a", "address": "a b"}}, "neither an IPv4 address nor a host name"),
        ({**THREE, "dc1": {"address": "10.0.0.1"}}, "dc1: the engine is missing"),
        ({**THREE, "dc1": {"engine": "ssh://a", "port": 1}}, "dc1: there is no port, only engine and address"),
        ({**THREE, "dc1": ["ssh://a", "ssh://b"]}, "dc1: ['ssh://a', 'ssh://b'] is not ssh://root@db-a, or"),
        ({**THREE, "dc1": None}, "dc1: None is not"),
        ("ssh://a", "is not a table such as"),
        ({**THREE, "dc3": {"engine": "ssh://x", "address": "db-a"}}, "have one address, db-a: the same machine under"),
        ({**THREE, "dc3": "ssh://admin@db-a"}, "the same machine under two names"),
        (
            {**THREE, "dc1": {"engine": "ssh://root@db-a", "address": "10.0.0.1"},
             "backup": {"engine": "ssh://root@db-a", "address": "10.0.0.2"}},
            "backup: ssh://root@db-a has two addresses, 10.0.0.1 and 10.0.0.2",
        ),
        ({**THREE, "dc3": "ssh://root@db-a"}, "2 Postgres nodes would be on db-a"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_sentence(machines, words):
    problems = problems_of(machines)
    assert len(problems) == 1, problems
    assert problems[0].startswith("machines: ")
    assert words in problems[0]


def test_more_than_one_node_a_machine_has_no_port():
    assert any("2 Postgres nodes would be on db-a" in problem for problem in problems_of(THREE, nodes=2))


def test_without_tls_the_network_between_the_machines_would_be_open():
    assert "leave tls on" in problems_of(THREE, tls=False)[0]


# The plan ---------------------------------------------------------------------------------------------------


def plan_of(machines, **more):
    settings = settings_of(machines, **more)
    return make_plan(settings, build_topology(settings))


def test_the_plan_has_a_row_a_machine_and_warns_of_backups_beside_the_data():
    plan = plan_of(THREE)
    rows = {o.loss: o for o in plan.outcomes if o.kind == "machine"}
    assert list(rows) == ["db-a with dc1 and backup", "db-b-2222 with dc2", "10.0.3.9 with dc3"]
    assert all(row.survived for row in rows.values())
    assert rows["db-a with dc1 and backup"].backups is False
    assert plan.warnings == ("the backups are on db-a with dc1, and lost together with it",)
    assert "leader's machine rebooted" in [outage.failure for outage in plan.outages]


def test_the_plan_warns_of_a_witness_beside_a_data_center():
    two = {"dc1": "ssh://a", "dc2": "ssh://b", "witness": "ssh://a", "backup": "ssh://c"}
    plan = plan_of(two, data_centers=2)
    lost = {o.loss: o.survived for o in plan.outcomes if o.kind == "machine"}
    assert lost == {"a with dc1 and witness": False, "b with dc2": True, "c with backup": True}
    assert "dc1 and witness are on a, and lost together with it" in plan.warnings


def test_one_machine_has_no_row_of_its_own():
    settings = read_settings(SMALL)
    plan = make_plan(settings, build_topology(settings))
    assert not [o for o in plan.outcomes if o.kind == "machine"]
    assert not [o for o in plan.outages if "machine" in o.failure]


def test_the_names_of_machines_are_names_of_folders():
    for machine in build_topology(settings_of(THREE)).machines:
        assert Path(machine.name).name == machine.name
