import socket

import pytest

from pgha.errors import Missing
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.project.ports import can_bind, choose_ports, reserved_by_others
from pgha.project.record import Record

SMALL = {"data_centers": 1, "nodes": 2, "postgres_port": 2000, "ssh_port": 3000}


def chosen(recorded=None, taken=(), **settings):
    made = read_settings({**SMALL, **settings})
    return choose_ports(made, build_topology(made), recorded or {}, lambda port: port not in taken)


def test_ports_count_up_from_the_settings():
    assert chosen() == {
        "postgres": {"pg1-node1": 2000, "pg1-node2": 2001},
        "ssh": {"pg1-node1": 3000, "pg1-node2": 3001, "pgbackrest": 3002},
    }


def test_a_host_whose_port_is_taken_moves_and_the_others_stay():
    ports = chosen(taken={2000, 3002})
    assert ports["postgres"] == {"pg1-node1": 2002, "pg1-node2": 2001}
    assert ports["ssh"] == {"pg1-node1": 3000, "pg1-node2": 3001, "pgbackrest": 3003}


def test_no_port_left_is_an_error():
    with pytest.raises(Missing, match="No port from 2000 on is free"):
        chosen(taken=range(65536))


def test_recorded_ports_are_kept():
    recorded = {"postgres": {"pg1-node1": 2500, "pg1-node2": 2400}, "ssh": {"pgbackrest": 2600}}
    ports = chosen(recorded)
    assert ports["postgres"] == recorded["postgres"]
    assert ports["ssh"] == {"pg1-node1": 3000, "pg1-node2": 3001, "pgbackrest": 2600}


def test_a_recorded_port_that_is_taken_is_given_up():
    assert chosen({"postgres": {"pg1-node1": 2500}}, taken={2500})["postgres"]["pg1-node1"] == 2000


@pytest.mark.parametrize(
    "recorded",
    [{"postgres": {"pg1-node2": 2000}}, {"ssh": {"pgbackrest": 2001}}, {"ssh": {"pgbackrest": 3000}}],
    ids=["same-kind", "other-kind", "last"],
)
def test_a_new_host_leaves_the_recorded_ports_of_others_alone(recorded):
    ports = chosen(recorded)
    for kind, entries in recorded.items():
        for host, port in entries.items():
            assert ports[kind][host] == port


@pytest.mark.parametrize("ssh_port", [2000, 2001, 1999])
def test_no_port_is_given_twice(ssh_port):
    ports = chosen(ssh_port=ssh_port)
    given = [port for entries in ports.values() for port in entries.values()]
    assert len(set(given)) == len(given) == 5


def test_ports_of_other_projects_are_reserved(make_project):
    one, other = make_project(project="one"), make_project(project="other")
    one.write_record(Record({}, {"postgres": {"pg1-node1": 2000}, "ssh": {"pg1-node1": 3000}}))
    other.write_record(Record({}, {"postgres": {"pg1-node1": 2001}, "ssh": {}}))
    assert reserved_by_others(other) == {2000, 3000}
    assert reserved_by_others(one) == {2001}
    assert reserved_by_others(make_project()) == {2000, 2001, 3000}


@pytest.mark.parametrize("listening_on", ["127.0.0.1", "0.0.0.0"])
def test_a_port_somebody_listens_on_cannot_be_bound(listening_on):
    with socket.create_server((listening_on, 0)) as server:
        port = server.getsockname()[1]
        assert not can_bind("127.0.0.1", port)
    assert can_bind("127.0.0.1", port)
