"""What `up` says of the containers before it touches them."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from pgha.model.addresses import networks
from pgha.remote import engine
from pgha.stack import rollout
from pgha.stack.rollout import plan, without_network
from pgha.tools.docker import Container
from pgha.tools.ipam import LiveNetwork

BLOCK = IPv4Network("172.30.240.0/20")


@pytest.fixture
def services(rendering):
    return rendering(data_centers=1).services


def container_of(project, host, service):
    """A container as Compose makes it from this definition."""
    labels = service["labels"]
    return Container(
        service=host,
        name=f"pgha-{host}",
        image=service["image"],
        state="running",
        health="healthy",
        config=labels["pgha.config"],
        published=(),
        image_id=f"sha256:{service['image']}",
        checkout=labels["pgha.checkout"],
        definition=labels["pgha.definition"],
        made_by="1.29.2",
        bindings=tuple(sorted(service.get("ports", []))),
        networks={"pgha_wan": "wan1"},
        folder=str(project.folder),
    )


@pytest.fixture
def there(monkeypatch, a_project, services):
    """Everything runs as it was rendered, but for some hosts, in these networks beside `wan`."""

    def there(*others, **changes):
        found = {host: container_of(a_project, host, service) for host, service in services.items()}
        for host, change in changes.items():
            name = host.replace("_", "-")
            found[name] = replace(found[name], **change) if change else None
        monkeypatch.setattr(engine, "containers", lambda project: {k: v for k, v in found.items() if v})
        monkeypatch.setattr(engine, "image_ids", lambda names: {name: f"sha256:{name}" for name in names})
        wan = networks(a_project.topology, BLOCK)["wan"]
        live = LiveNetwork("wan1", "pgha_wan", "pgha", (wan.subnet,), (wan.dynamic,))
        monkeypatch.setattr(rollout, "every_network", lambda project: (live, *others))

    return there


def planned(project, services):
    return plan(project, services, BLOCK, lambda: "1.29.2")


def test_where_nothing_changed_nothing_is_said(a_project, services, there):
    there()
    seen = planned(a_project, services)
    assert seen.renumbered is False
    assert (seen.create, seen.again, seen.start, seen.interrupted, seen.notes) == ((), {}, (), (), [])
    assert seen.title == "see that every container runs"
    assert without_network(a_project) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image_id": "sha256:older"}, "the image pgha-pg17-patroni:trixie was built again"),
        ({"image": "pgha-pg17-patroni:old"}, "is pgha-pg17-patroni:trixie and no longer pgha-pg17-patroni:old"),
        ({"config": "other"}, "their files changed"),
        ({"bindings": ("0.0.0.0:50551:5432", "0.0.0.0:50651:22")}, "their published addresses or ports changed"),
        ({"checkout": "other"}, "they are taken over"),
        ({"checkout": ""}, "they did not say whose they are"),
        ({"definition": "other"}, "what the compose file says of them changed"),
        ({"made_by": "2.26.1"}, "Compose 2.26.1 made them and this one is 1.29.2"),
        ({"networks": {"pgha_wan": "wan0"}}, "their network is gone"),
        ({"folder": "/old/place/build/pgha"}, "the checkout was moved from /old/place"),
    ],
)
def test_a_container_that_is_made_again_is_named_with_the_reason(a_project, services, there, change, why):
    there(pg1_node1=change)
    seen = planned(a_project, services)
    assert list(seen.again) == ["pg1-node1"]
    assert seen.interrupted == ("pg1-node1",)
    (note,) = seen.notes
    assert why in note and note.endswith(": pg1-node1")
    assert seen.title == "make 1 container again"


def test_the_first_compose_is_not_asked_for_what_it_made_itself(a_project, services, there):
    there()

    def slow():
        raise AssertionError("asked")

    assert plan(a_project, services, BLOCK, slow).again == {}


def test_missing_and_stopped_ones_are_counted(a_project, services, there):
    there(etcd1=None, etcd2=None, pg1_node1={"state": "exited"}, pg1_node2={"config": "other", "state": "exited"})
    seen = planned(a_project, services)
    assert (seen.create, list(seen.again), seen.start) == (("etcd1", "etcd2"), ["pg1-node2"], ("pg1-node1",))
    assert seen.interrupted == ()
    assert seen.title == "create and start 2 containers, make 1 container again, start 1 container"


@pytest.mark.parametrize(
    "network",
    [
        # As Docker chose it, as another block had it, and without room for what comes and goes.
        LiveNetwork("old", "pgha_dc1", "pgha", (IPv4Network("172.18.0.0/16"),)),
        LiveNetwork("old", "pgha_dc1", "pgha", (IPv4Network("172.30.3.0/24"),), (IPv4Network("172.30.3.224/27"),)),
        LiveNetwork("old", "pgha_dc1", "pgha", (IPv4Network("172.30.243.0/24"),)),
    ],
)
def test_a_network_with_other_addresses_makes_all_containers_again(a_project, services, there, network):
    there(network, etcd1=None, etcd2={"networks": {"pgha_wan": "wan0"}}, pg1_node1={"state": "exited"})
    seen = planned(a_project, services)
    assert seen.renumbered is True
    assert (seen.create, set(seen.again), seen.start) == (("etcd1",), set(services) - {"etcd1"}, ())
    (note,) = seen.notes
    assert note.startswith("made again, because every container has a fixed address in 172.30.240.0/20: etcd2, etcd3")


def test_networks_of_others_and_those_with_their_addresses_are_left_alone(a_project, services, there):
    dc1 = networks(a_project.topology, BLOCK)["dc1"]
    own = LiveNetwork("1", "pgha_dc1", "pgha", (dc1.subnet,), (dc1.dynamic,))
    there(own, LiveNetwork("2", "bridge", "", (IPv4Network("172.17.0.0/16"),)), LiveNetwork("3", "pgha_mine", ""))
    assert planned(a_project, services).renumbered is False


def test_what_has_lost_its_network_is_named(a_project, services, there):
    there(etcd1={"networks": {"pgha_wan": "wan0"}, "state": "exited"})
    assert without_network(a_project) == ["etcd1"]


@pytest.mark.parametrize("settings", [{"shm_size": "1g"}, {"publish_address": "192.0.2.7"}, {"locales": "de_DE.UTF-8"}])
def test_a_setting_that_makes_containers_again_changes_their_definition(rendering, settings):
    def definitions(**given):
        services = rendering(data_centers=1, **given).services
        return {host: service["labels"]["pgha.definition"] for host, service in services.items()}

    before, after = definitions(), definitions(**settings)
    assert {host for host in before if before[host] != after[host]} >= {"pg1-node1", "pg1-node2"}
    assert before["etcd1"] == after["etcd1"]
