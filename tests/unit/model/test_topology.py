import itertools

import pytest

from pgha.model.settings import read_settings
from pgha.model.topology import build_topology

SHAPES = [(d, n) for d in range(1, 10) for n in range(1, 10) if d * n <= 9]
SPREAD = [(d, n) for d, n in SHAPES if d >= 2]


def topology_of(data_centers, nodes, **more):
    return build_topology(read_settings({"data_centers": data_centers, "nodes": nodes, **more}))


@pytest.mark.parametrize(
    ("data_centers", "nodes", "etcd", "synchronous"),
    [
        (1, 1, 3, 0),
        (1, 2, 3, 1),
        (1, 3, 3, 1),
        (1, 9, 5, 1),
        (2, 1, 3, 1),
        (2, 2, 3, 2),
        (2, 3, 5, 3),
        (2, 4, 5, 4),
        (3, 1, 3, 1),
        (3, 2, 5, 2),
        (3, 3, 5, 3),
        (4, 1, 3, 1),
        (4, 2, 5, 2),
        (9, 1, 5, 1),
    ],
)
def test_counts_of_a_shape(data_centers, nodes, etcd, synchronous):
    topology = topology_of(data_centers, nodes)
    assert len(topology.nodes) == data_centers * nodes
    assert len(topology.data_centers) == data_centers
    assert len(topology.etcd) == etcd
    assert topology.etcd_quorum == etcd // 2 + 1
    assert topology.synchronous_node_count == synchronous


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_etcd_is_odd_and_never_less_than_the_formula(data_centers, nodes):
    count = len(topology_of(data_centers, nodes).etcd)
    assert count % 2 == 1
    assert count >= max(3, data_centers * nodes // 2 + 1)


@pytest.mark.parametrize(("data_centers", "nodes"), SPREAD)
def test_etcd_keeps_its_quorum_when_any_site_is_lost(data_centers, nodes):
    topology = topology_of(data_centers, nodes)
    for site in topology.sites:
        left = [member for member in topology.etcd if member.site != site]
        assert len(left) >= topology.etcd_quorum, site


@pytest.mark.parametrize(("data_centers", "nodes"), SPREAD)
def test_any_commit_is_on_a_standby_in_another_data_center(data_centers, nodes):
    topology = topology_of(data_centers, nodes)
    for leader in topology.nodes:
        standbys = [node for node in topology.nodes if node != leader]
        chosen = list(itertools.combinations(standbys, topology.synchronous_node_count))
        assert chosen
        for acknowledging in chosen:
            assert any(standby.site != leader.site for standby in acknowledging)


@pytest.mark.parametrize(("data_centers", "nodes"), [(d, n) for d, n in SPREAD if n > 1])
def test_one_synchronous_standby_less_would_not_be_enough(data_centers, nodes):
    topology = topology_of(data_centers, nodes)
    leader = topology.nodes[0]
    neighbours = [node for node in topology.nodes if node.site == leader.site and node != leader]
    assert len(neighbours) == topology.synchronous_node_count - 1


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_a_witness_stands_only_between_two_data_centers(data_centers, nodes):
    topology = topology_of(data_centers, nodes)
    witnesses = [site for site in topology.sites if site.kind == "witness"]
    assert len(witnesses) == (1 if data_centers == 2 else 0)
    for site in witnesses:
        assert [host.name for host in topology.at(site)] == [topology.etcd[-1].name]


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_every_data_center_has_its_nodes_and_all_names_differ(data_centers, nodes):
    topology = topology_of(data_centers, nodes, prefix="db")
    for number, site in enumerate(topology.data_centers, start=1):
        assert site.name == f"dc{number}"
        here = [node.name for node in topology.nodes if node.site == site]
        assert here == [f"db{number}-node{n}" for n in range(1, nodes + 1)]
    names = [host.name for host in topology.hosts]
    assert len(set(names)) == len(names)
    assert {host.site for host in topology.hosts} <= set(topology.sites)


def test_the_repository_is_alone_at_its_site():
    topology = topology_of(3, 2)
    backup = next(site for site in topology.sites if site.kind == "backup")
    assert topology.at(backup) == (topology.repository,)
    assert topology.host("pgbackrest") == topology.repository


def test_without_pgbackrest_there_is_neither_host_nor_site():
    topology = topology_of(3, 2, pgbackrest=False)
    assert topology.repository is None
    assert all(site.kind == "data center" for site in topology.sites)
    assert topology.ssh_hosts == topology.nodes


def test_the_monitoring_is_alone_at_its_site_and_is_asked_for_nothing():
    topology = topology_of(3, 2, monitoring=True)
    (site,) = (site for site in topology.sites if site.kind == "monitoring")
    assert topology.at(site) == (topology.monitoring,) == topology.hosts[-1:]
    assert topology.monitoring not in topology.ssh_hosts
    assert topology.without(["monitoring"]) == topology_of(3, 2)
    assert topology_of(3, 2).monitoring is None


def test_hosts_are_found_by_name_and_etcd_starts_first():
    topology = topology_of(1, 1)
    assert [host.name for host in topology.hosts] == ["etcd1", "etcd2", "etcd3", "pg1-node1", "pgbackrest"]
    assert topology.host("pg1-node1") == topology.nodes[0]
    assert topology.host("pg9-node9") is None


def test_what_is_left_has_its_own_quorum_and_its_own_copies():
    whole = build_topology(read_settings({"data_centers": 3, "nodes": 2}))
    gone = [host.name for host in whole.hosts if host.site.name in ("dc1", "dc2")]
    left = whole.without(gone)
    assert [site.name for site in left.sites] == ["dc3", "backup"]
    assert [host.name for host in left.hosts] == ["etcd3", "pg3-node1", "pg3-node2", "pgbackrest"]
    assert (left.etcd_quorum, left.synchronous_node_count) == (1, 1)
    assert left.without(["pg3-node2"]).synchronous_node_count == 0
    assert whole.without([]) is whole
