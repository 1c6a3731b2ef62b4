"""What `up` says when somebody else was quicker."""

import pytest

from pgha.console import Progress
from pgha.errors import PortTaken, SubnetTaken, ToolFailed
from pgha.project.record import Record
from pgha.remote import engine
from pgha.stack import lifecycle
from pgha.stack.rollout import Rollout

WORDS = (
    "Creating network\nPool overlaps with other one on this address space",
    "cannot create network 1 (br-1): conflicts with network 2 (br-2): networks have overlapping IPv4",
    "Creating network\nfailed to allocate gateway (172.26.35.1): Address already in use",
)


@pytest.fixture(params=WORDS)
def compose(monkeypatch, request):
    """Compose, which fails at `up`; the lines it was given."""
    ran = []

    def compose(project, message, *arguments, **options):
        ran.append(arguments)
        if arguments[0] == "up":
            raise ToolFailed(message, request.param)

    monkeypatch.setattr(engine, "compose", compose)
    monkeypatch.setattr(engine, "containers", lambda project: {})
    monkeypatch.setattr(engine, "remove_clones", lambda project: ran.append("clones") and False)
    return ran


@pytest.mark.parametrize(("subnet", "hint"), [("", "inv up chooses others"), ("10.0.0.0/20", "set subnet to another")])
def test_addresses_that_were_taken_meanwhile_are_one_sentence_and_a_way_on(make_project, compose, subnet, hint):
    project = make_project(subnet=subnet)
    project.write_record(Record({}, {}, subnet="172.30.240.0/20"))
    with pytest.raises(SubnetTaken, match=r"172.30.240.0/20, were taken by another network") as caught:
        lifecycle._compose_up(project, Rollout((), {}, (), ()), Progress())
    assert hint in caught.value.hint and "|" not in caught.value.message


@pytest.mark.parametrize(
    "words",
    [
        "driver failed programming external connectivity on endpoint p-pg1-node1 (d77a): "
        "Bind for 127.0.0.1:50552 failed: port is already allocated",
        "failed to bind host port for 127.0.0.1:50552:172.20.0.2:5432/tcp: address already in use\n"
        "Error starting userland proxy: listen tcp4 127.0.0.1:50552: bind: address already in use",
    ],
)
def test_a_port_that_was_taken_meanwhile_is_one_sentence_and_a_way_on(a_project, monkeypatch, words):
    def compose(project, message, *arguments, **options):
        raise ToolFailed(message, words)

    monkeypatch.setattr(engine, "compose", compose)
    monkeypatch.setattr(engine, "containers", lambda project: {})
    with pytest.raises(PortTaken, match="Port 50552 was taken by another program or project meanwhile") as caught:
        lifecycle._compose_up(a_project, Rollout((), {}, (), ()), Progress())
    assert "inv up" in caught.value.hint


def test_networks_with_other_addresses_are_taken_down_first_and_no_volume_with_them(a_project, compose):
    with pytest.raises(SubnetTaken):
        lifecycle._compose_up(a_project, Rollout((), {}, (), (), renumbered=True), Progress())
    assert [entry if entry == "clones" else entry[0] for entry in compose] == ["clones", "down", "up"]
    assert not {"-v", "--volumes"} & set(compose[1])


MACHINES = {"dc1": "ssh://10.0.0.1", "backup": "ssh://10.0.0.2"}


def test_compose_makes_nothing_again_on_machines(make_project, monkeypatch):
    ran = []
    project = make_project(data_centers=1, nodes=1, machines=MACHINES)
    monkeypatch.setattr(engine, "compose", lambda project, message, *words, **options: ran.append(words))
    monkeypatch.setattr(engine, "containers", lambda project: {})
    monkeypatch.setattr(lifecycle.apart, "take_away", lambda project, hosts: ran.append(list(hosts)))
    lifecycle._compose_up(project, Rollout((), {"etcd1": "x"}, (), ("etcd1",)), Progress())
    assert ran == [["etcd1"], ("up", "--detach", "--remove-orphans", "--no-recreate")]
