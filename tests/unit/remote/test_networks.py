"""A container gets back on its networks at its own addresses."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from pgha.model.addresses import networks
from pgha.project.record import Record
from pgha.remote import engine
from pgha.remote import networks as live
from pgha.remote.engine import Engine
from pgha.remote.networks import reconnect
from pgha.tools.docker import Container
from pgha.tools.ipam import LiveNetwork

BLOCK = IPv4Network("172.30.240.0/20")
OWN = {"pgha_dc1": "172.30.243.111", "pgha_wan": "172.30.240.111"}
NODE = Container("pg1-node1", "pgha-pg1-node1", "image", "running", "", "", (), OWN)


@pytest.fixture
def done(monkeypatch, a_project):
    """The commands by which this container is brought back, on networks with these subnets."""
    a_project.write_record(Record({}, {}, subnet=str(BLOCK)))
    fixed = {f"pgha_{name}": network.subnet for name, network in networks(a_project.topology, BLOCK).items()}

    def done(container, subnets=fixed):
        ran = []
        there = [LiveNetwork("1", name, "pgha", (subnet,)) for name, subnet in subnets.items()]
        monkeypatch.setattr(live, "containers", lambda project: {container.service: container})
        monkeypatch.setattr(live, "every_network", lambda project: there)
        monkeypatch.setattr(Engine, "must", lambda self, command, *rest: ran.append(str(command)))
        names = reconnect(a_project)
        assert names == ([container.service] if ran else [])
        return ran

    return done


CONNECT = "docker network connect --ip 172.30.243.111 --alias pg1-node1 pgha_dc1 pgha-pg1-node1"


def test_where_all_is_as_it_should_be_nothing_is_done(done):
    assert done(NODE) == []


def test_a_network_it_lacks_is_given_back_with_its_address(done):
    assert done(replace(NODE, addresses={"pgha_wan": OWN["pgha_wan"]})) == [CONNECT]


def test_another_address_is_changed_for_its_own(done):
    """As `docker network connect` by hand gives one."""
    other = replace(NODE, addresses={**OWN, "pgha_dc1": "172.30.243.224"})
    assert done(other) == ["docker network disconnect pgha_dc1 pgha-pg1-node1", CONNECT]


def test_what_does_not_run_is_left_alone(done):
    assert done(replace(NODE, state="exited", addresses={})) == []


def test_on_a_network_that_is_older_than_the_record_the_engine_chooses(done):
    old = {"pgha_dc1": IPv4Network("172.18.0.0/16"), "pgha_wan": IPv4Network("172.19.0.0/16")}
    there = {"pgha_dc1": "172.18.0.2", "pgha_wan": "172.19.0.2"}
    assert done(replace(NODE, addresses=there), old) == []
    there.pop("pgha_wan")
    assert done(replace(NODE, addresses=there), old) == [
        "docker network connect --alias pg1-node1 pgha_wan pgha-pg1-node1"
    ]


def test_before_addresses_were_chosen_the_engine_chooses(done, a_project):
    a_project.write_record(Record({}, {}))
    assert done(replace(NODE, addresses={"pgha_dc1": "172.18.0.2"}), {}) == [
        "docker network connect --alias pg1-node1 pgha_wan pgha-pg1-node1"
    ]


def test_what_is_taken_is_what_others_have(monkeypatch, a_project):
    mine, theirs, route = (IPv4Network(f"172.{n}.0.0/24") for n in (20, 21, 22))
    there = (LiveNetwork("1", "pgha_wan", "pgha", (mine,)), LiveNetwork("2", "theirs", "", (theirs,)))
    monkeypatch.setattr(live, "engine_problem", lambda project: None)
    monkeypatch.setattr(live, "every_network", lambda project: there)
    monkeypatch.setattr(live, "_routes", lambda project: frozenset([mine, theirs, route]))
    seen = live.taken(a_project)
    assert seen.holder(mine) == ""
    assert seen.holder(IPv4Network("172.21.0.0/16")) == "the network theirs (172.21.0.0/24)"
    assert seen.holder(route) == "this host's route to 172.22.0.0/24"
    assert seen.holder(route, routes=False) == ""


def test_without_an_engine_the_routes_of_this_host_tell(a_project):
    assert engine.engine_problem(a_project) is not None
    assert live.taken(a_project).foreign == {}
