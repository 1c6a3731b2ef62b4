import pytest
from psycopg.conninfo import conninfo_to_dict

from pgha.cluster.clients import connection_string
from pgha.errors import Missing
from pgha.project.record import Record
from pgha.tools.postgres import conninfo


@pytest.mark.parametrize(
    "value",
    ["plain", "", "with space", "quo'te", "back\\slash", "\\", "'", "a=b", 'dou"ble', "tab\there", "new\nline", "50%"],
)
def test_libpq_reads_every_value_as_it_was(value):
    assert conninfo_to_dict(conninfo(passfile=value, dbname="postgres")) == {"passfile": value, "dbname": "postgres"}


@pytest.fixture
def project_with_ports(make_project):
    project = make_project(data_centers=2, nodes=1, publish_address="192.0.2.7")
    project.write_record(Record({}, {"postgres": {"pg1-node1": 2000, "pg2-node1": 2005}, "ssh": {}}))
    return project


def test_the_leader_is_found_among_all_published_ports(project_with_ports):
    parameters = conninfo_to_dict(connection_string(project_with_ports, standby=False, inside=False))
    assert parameters["host"] == "192.0.2.7,192.0.2.7"
    assert parameters["port"] == "2000,2005"
    assert parameters["target_session_attrs"] == "primary"
    assert parameters["passfile"] == str(project_with_ports.pgpass)
    assert "load_balance_hosts" not in parameters
    assert "password" not in parameters


def test_a_standby_is_chosen_at_random(project_with_ports):
    parameters = conninfo_to_dict(connection_string(project_with_ports, standby=True, inside=False))
    assert parameters["target_session_attrs"] == "standby"
    assert parameters["load_balance_hosts"] == "random"


def test_inside_the_network_hosts_have_their_names(a_project):
    parameters = conninfo_to_dict(connection_string(a_project, standby=False, inside=True))
    assert parameters["host"].split(",") == [node.name for node in a_project.topology.nodes]
    assert set(parameters["port"].split(",")) == {"5432"}
    assert parameters["passfile"] == "/pgha/config/pgpass"


def test_without_ports_nothing_is_rendered(a_project):
    with pytest.raises(Missing, match="pg1-node1") as caught:
        connection_string(a_project, standby=False, inside=False)
    assert caught.value.hint == "inv render"
