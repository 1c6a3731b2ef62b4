"""What a partition drops."""

import pytest

from pgha.errors import BadValue
from pgha.failures import broken, networks
from pgha.failures.broken import Broken, Mechanism
from pgha.tools.docker import Container


def container(service, addresses, fixed):
    return Container(service, f"pgha-{service}", "image", "running", "", "", (), addresses, fixed)


def test_a_member_that_does_not_run_now_is_cut_off_when_it_comes_back(a_project):
    there = {
        "pg2-node1": container("pg2-node1", {"pgha_wan": "172.30.240.121", "pgha_dc2": "172.30.244.121"}, {}),
        "pg2-node2": container("pg2-node2", {}, {"pgha_wan": "172.30.240.122", "pgha_dc2": "172.30.244.122"}),
        "etcd2": container("etcd2", {}, {}),
        "pg3-node1": container("pg3-node1", {"pgha_wan": "172.30.240.131"}, {}),
    }
    host = a_project.topology.host("pg1-node1")
    known = [Broken(Mechanism.PARTITION, "pg1-node1", sites=("dc1", "dc2"))]
    command = networks._cut(a_project, there, host, known)
    assert "ip daddr { 172.30.240.121, 172.30.240.122 } drop" in str(command)


@pytest.fixture
def played(monkeypatch):
    """Every container of a project runs; what is run on the engine is kept."""
    ran = {}

    def played(project):
        name = project.name
        there = {}
        for number, host in enumerate(project.topology.hosts, start=1):
            own, wan = f"172.30.24{host.site.name[-1:]}.{number}", f"172.30.240.{number}"
            there[host.name] = container(host.name, {f"{name}_wan": wan, f"{name}_{host.site.name}": own}, {})
        monkeypatch.setattr(networks, "require_running", lambda project, hosts: there)
        monkeypatch.setattr(networks.engine, "together", lambda project, commands: ran.update(commands))
        return there, ran

    return played


def test_a_node_is_cut_off_from_the_other_nodes_and_from_nothing_else(a_project, played):
    there, ran = played(a_project)
    (entry,) = networks.isolate(a_project, "pg2-node1")
    assert list(ran) == ["pg2-node1"]
    rules = str(ran["pg2-node1"])
    dropped = rules.partition("saddr { ")[2].partition(" }")[0].split(", ")
    nodes = [host.name for host in a_project.topology.nodes if host.name != "pg2-node1"]
    expected = {there[name].addresses["pgha_wan"] for name in nodes}
    # The one beside it is also on the site's own network.
    expected.add(there["pg2-node2"].addresses["pgha_dc2"])
    assert set(dropped) == expected
    assert str(entry) == f"pg2-node1 is cut off from {', '.join(nodes)}"
    assert broken.read(a_project) == (entry,)
    assert networks.cuts_of(a_project, "pg2-node1") == [entry]
    assert networks.cuts_of(a_project, "pg2-node2") == []


def test_a_node_that_is_cut_off_already_keeps_that_cut(a_project, played):
    there, ran = played(a_project)
    networks.partition(a_project, "dc2", "dc3")
    networks.isolate(a_project, "pg2-node1")
    rules = str(ran["pg2-node1"])
    assert there["etcd3"].addresses["pgha_wan"] in rules
    assert there["pg1-node1"].addresses["pgha_wan"] in rules
    assert there["pg1-node1"].addresses["pgha_wan"] not in str(ran["pg2-node2"])


@pytest.mark.parametrize("node", ["etcd1", "pgbackrest", "dc1", ""])
def test_only_a_postgres_node_is_cut_off_from_the_others(a_project, node):
    with pytest.raises(BadValue):
        networks.isolate(a_project, node)


def test_the_only_node_has_nobody_to_be_cut_off_from(make_project):
    with pytest.raises(BadValue, match="only Postgres node"):
        networks.isolate(make_project(data_centers=1, nodes=1), "pg1-node1")


def test_a_host_that_rejoins_is_forgotten_and_no_other(a_project, played, monkeypatch):
    played(a_project)
    networks.isolate(a_project, "pg2-node1")
    networks.isolate(a_project, "pg3-node1")
    mended = []
    place = type("Place", (), {"must": lambda self, command: mended.append(str(command))})
    monkeypatch.setattr(networks.engine, "engine_of", lambda project, host: place())
    networks.rejoin(a_project, "pg2-node1")
    assert len(mended) == 1 and "container:pgha-pg2-node1" in mended[0] and "delete table" in mended[0]
    assert [entry.host for entry in broken.read(a_project)] == ["pg3-node1"]


# Machines -----------------------------------------------------------------------------------------------------

MACHINES = {"dc1": "ssh://10.0.0.1", "dc2": "ssh://10.0.0.2", "dc3": "ssh://10.0.0.3", "backup": "ssh://10.0.0.1"}


@pytest.fixture
def several(make_project):
    return make_project(data_centers=3, nodes=1, machines=MACHINES)


def dropped(command):
    return set(str(command).partition("saddr { ")[2].partition(" }")[0].split(", "))


def test_a_site_is_cut_off_from_the_other_machines_and_from_sites_beside_it(several, played):
    there, ran = played(several)
    networks.partition(several, "dc1")
    assert set(ran) == {"etcd1", "pg1-node1"}
    repository = there["pgbackrest"].addresses["pgha_wan"]
    assert dropped(ran["etcd1"]) == {"10.0.0.2", "10.0.0.3", repository}


def test_a_cut_from_one_site_is_one_from_its_machine(several, played):
    _, ran = played(several)
    networks.partition(several, "dc1", "dc2")
    assert dropped(ran["pg1-node1"]) == {"10.0.0.2"}


def test_what_shares_a_machine_is_not_cut_off_alone(several, played):
    played(several)
    with pytest.raises(BadValue, match=r"dc1 and backup are on 10\.0\.0\.1: dc2 cannot be cut off from one of them"):
        networks.partition(several, "dc2", "dc1")
    with pytest.raises(BadValue, match="from the other nodes alone"):
        networks.isolate(several, "pg2-node1")
