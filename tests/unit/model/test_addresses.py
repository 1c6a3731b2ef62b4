"""Every container has addresses of its own, and keeps them when others come."""

from ipaddress import IPv4Network

import pytest

from pgha.model.addresses import BLOCK_PREFIX, addresses, block_of, candidates, fits, networks
from pgha.model.rules import MAX_NODES
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology

BLOCK = IPv4Network("172.30.240.0/20")
SHAPES = [(dc, n) for dc in range(1, MAX_NODES + 1) for n in range(1, MAX_NODES // dc + 1)]


def topology_of(data_centers, nodes, **settings):
    return build_topology(read_settings({"data_centers": data_centers, "nodes": nodes, **settings}))


def all_addresses(topology, block=BLOCK):
    found = {host.name: addresses(topology, block, host) for host in topology.hosts}
    return {(host, network): str(address) for host, every in found.items() for network, address in every.items()}


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_no_two_containers_share_an_address_and_a_dynamic_one_is_none_of_theirs(data_centers, nodes):
    topology = topology_of(data_centers, nodes)
    every = networks(topology, BLOCK)
    subnets = [network.subnet for network in every.values()]
    assert not any(a.overlaps(b) for a in subnets for b in subnets if a != b)
    assert len(set(subnets)) == len(every) == len(topology.sites) + 1
    assert all(subnet.subnet_of(BLOCK) for subnet in subnets)
    given = [(name, a) for host in topology.hosts for name, a in addresses(topology, BLOCK, host).items()]
    assert len({address for _, address in given}) == len(given) == 2 * len(topology.hosts)
    for name, address in given:
        network = every[name]
        assert address in network.subnet and address not in network.dynamic and address != network.gateway
        assert network.dynamic.subnet_of(network.subnet) and network.gateway not in network.dynamic


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_what_is_added_changes_no_address_of_what_was_there(data_centers, nodes):
    before = topology_of(data_centers, nodes)
    for more in ((data_centers, nodes + 1), (data_centers + 1, nodes)):
        if more not in SHAPES:
            continue
        after = topology_of(*more)
        # An etcd member that moves to another site, away from the witness, is another one there.
        sites = {host.name: host.site for host in after.hosts}
        stays = {host.name for host in before.hosts if sites[host.name] == host.site}
        assert stays >= {node.name for node in before.nodes} | {"pgbackrest", "etcd1"}
        kept, now = all_addresses(before), all_addresses(after)
        assert {key: now[key] for key in kept if key[0] in stays} == {
            key: address for key, address in kept.items() if key[0] in stays
        }


def test_the_addresses_can_be_read():
    assert all_addresses(topology_of(2, 2)) == {
        ("etcd1", "dc1"): "172.30.243.11", ("etcd1", "wan"): "172.30.240.11",
        ("etcd2", "dc2"): "172.30.244.12", ("etcd2", "wan"): "172.30.240.12",
        ("etcd3", "witness"): "172.30.242.13", ("etcd3", "wan"): "172.30.240.13",
        ("pg1-node1", "dc1"): "172.30.243.111", ("pg1-node1", "wan"): "172.30.240.111",
        ("pg1-node2", "dc1"): "172.30.243.112", ("pg1-node2", "wan"): "172.30.240.112",
        ("pg2-node1", "dc2"): "172.30.244.121", ("pg2-node1", "wan"): "172.30.240.121",
        ("pg2-node2", "dc2"): "172.30.244.122", ("pg2-node2", "wan"): "172.30.240.122",
        ("pgbackrest", "backup"): "172.30.241.10", ("pgbackrest", "wan"): "172.30.240.10",
    }  # fmt: skip


def test_without_a_repository_the_others_have_the_same_addresses():
    with_it, without = all_addresses(topology_of(3, 2)), all_addresses(topology_of(3, 2, pgbackrest=False))
    assert {key: address for key, address in with_it.items() if key[0] != "pgbackrest"} == without


def test_a_project_begins_to_choose_where_its_name_says():
    blocks = list(candidates("pgha"))
    assert blocks == list(candidates("pgha"))
    assert len(set(blocks)) == len(blocks) == 11 * 16
    assert {block.prefixlen for block in blocks} == {BLOCK_PREFIX}
    assert str(min(blocks)) == "172.20.0.0/20" and str(max(blocks)) == "172.30.240.0/20"
    assert len({next(candidates(f"project{n}")) for n in range(20)}) > 15


@pytest.mark.parametrize(
    ("text", "block"),
    [("10.0.0.0/8", "10.0.0.0/20"), ("10.1.16.0/20", "10.1.16.0/20"), ("10.1.8.0/21", "10.1.8.0/21")],
)
def test_of_a_large_network_the_beginning_is_used(text, block):
    assert str(block_of(text)) == block


@pytest.mark.parametrize(("data_centers", "prefix"), [(1, 22), (2, 21), (5, 21), (6, 20), (9, 20)])
def test_what_a_rule_lets_pass_has_room(data_centers, prefix):
    topology = topology_of(data_centers, 1, subnet=f"10.0.0.0/{prefix}")
    assert fits(topology, IPv4Network(f"10.0.0.0/{prefix}"))
    assert not fits(topology, IPv4Network(f"10.0.0.0/{prefix + 1}"))
    assert len(networks(topology, IPv4Network(f"10.0.0.0/{prefix}"))) == len(topology.sites) + 1


@pytest.mark.parametrize("gone", ["dc1", "dc2"])
def test_what_is_given_up_changes_no_address_of_what_is_left(gone):
    before = topology_of(3, 2)
    names = [host.name for host in before.hosts if host.site.name == gone]
    left = before.without(names)
    assert gone not in [site.name for site in left.sites] and not left.host(names[0])
    assert gone not in networks(left, BLOCK)
    assert all_addresses(left) == {key: at for key, at in all_addresses(before).items() if key[0] not in names}
    assert fits(left, BLOCK) == fits(before, BLOCK)


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_the_monitoring_changes_no_address_and_has_its_own(data_centers, nodes):
    before, after = (all_addresses(topology_of(data_centers, nodes, monitoring=on)) for on in (False, True))
    assert {key: after[key] for key in before} == before
    assert len(set(after.values())) == len(after) == len(before) + 2
    assert after["monitoring", "monitoring"] == "172.30.255.9"


def test_a_small_block_has_room_for_one_site_less():
    block = IPv4Network("172.30.240.0/21")
    assert fits(topology_of(5, 1), block)
    assert not fits(topology_of(5, 1, monitoring=True), block)
    assert fits(topology_of(4, 1, monitoring=True), block)
