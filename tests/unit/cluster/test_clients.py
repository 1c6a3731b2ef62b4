"""Connection strings of the whole cluster, for everyone who may ask."""

from types import SimpleNamespace

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgha.cluster import clients
from pgha.cluster.clients import Login, connection_string, printed_string
from pgha.errors import BadValue, Missing
from pgha.project.record import Record
from pgha.remote import postgres_client
from pgha.remote.postgres_client import Client
from pgha.tools.command import Answer


@pytest.fixture
def published(make_project):
    """Two nodes whose ports are published on this address."""

    def published(address="192.0.2.7", **settings):
        project = make_project(data_centers=2, nodes=1, publish_address=address, **settings)
        project.write_record(Record({}, {"postgres": {"pg1-node1": 2000, "pg2-node1": 2005}, "ssh": {}}))
        project.pgpass.write_text("*:*:*:postgres:secret\n*:*:*:known:secret\n")
        return project

    return published


@pytest.fixture
def here(monkeypatch):
    """What psql and libpq of this host are."""

    def here(psql, libpq):
        monkeypatch.setattr(clients.postgres_client, "find", lambda: Client(psql, libpq))

    return here


def printed(project, *, standby=False, **login):
    string, notes = printed_string(project, Login(**login), standby=standby)
    return conninfo_to_dict(string), notes


def test_the_leader_is_found_among_all_published_ports(published):
    project = published()
    parameters = conninfo_to_dict(connection_string(project, Login(), standby=False))
    assert parameters["host"] == "pg1-node1,pg2-node1"
    assert parameters["hostaddr"] == "192.0.2.7,192.0.2.7"
    assert parameters["port"] == "2000,2005"
    assert parameters["target_session_attrs"] == "primary"
    assert parameters["passfile"] == str(project.pgpass)
    assert "load_balance_hosts" not in parameters
    assert "password" not in parameters


def test_a_standby_is_chosen_at_random(published):
    parameters = conninfo_to_dict(connection_string(published(), Login(), standby=True))
    assert parameters["target_session_attrs"] == "standby"
    assert parameters["load_balance_hosts"] == "random"


def test_inside_the_network_hosts_have_their_names(a_project):
    parameters = conninfo_to_dict(connection_string(a_project, Login(inside=True), standby=False))
    assert parameters["host"].split(",") == [node.name for node in a_project.topology.nodes]
    assert set(parameters["port"].split(",")) == {"5432"}
    assert parameters["passfile"] == "/pgha/config/pgpass"


def test_without_ports_nothing_is_rendered(a_project):
    with pytest.raises(Missing, match="pg1-node1") as caught:
        connection_string(a_project, Login(), standby=False)
    assert caught.value.hint == "inv render"


def test_an_old_libpq_gets_a_string_it_knows_and_another_standby_each_time(published, here):
    here("15.18", 15)
    strings, notes = zip(*(printed(published(), standby=True) for _ in range(40)), strict=True)
    assert not any("load_balance_hosts" in string for string in strings)
    assert {string["port"] for string in strings} == {"2000,2005", "2005,2000"}
    assert ["psql 15.18, libpq 15" in note and "load_balance_hosts" in note for note in notes[0]] == [True]


def test_a_new_libpq_chooses_by_itself(published, here):
    here("17.5", 17)
    string, notes = printed(published(), standby=True)
    assert (string["load_balance_hosts"], notes) == ("random", [])


@pytest.mark.parametrize(
    ("settings", "knows"),
    [({"postgres": 15}, False), ({"postgres": 17}, True), ({"postgres": 14}, True),
     ({"postgres": 17, "base_image": "debian:bookworm-slim"}, True)],
)  # fmt: skip
def test_inside_the_libpq_of_the_images_counts(published, here, settings, knows):
    here("15.18", 15)
    string, _ = printed(published(**settings), standby=True, inside=True)
    assert ("load_balance_hosts" in string) is knows


def test_each_user_has_the_passfile_that_knows_them(published):
    project = published()
    string, notes = printed(project, user="known", dbname="app")
    assert (string["user"], string["dbname"], string["passfile"]) == ("known", "app", str(project.pgpass))
    string, notes = printed(project, user="app", dbname="app")
    assert "passfile" not in string
    assert printed(project, user="known", inside=True)[0]["passfile"] == "/pgha/config/pgpass"
    assert notes == []


def test_every_address_is_none_for_another_machine(published):
    project = published("0.0.0.0")
    string, notes = printed(project)
    assert string["hostaddr"] == "127.0.0.1,127.0.0.1"
    assert ["--address" in note for note in notes] == [True]
    string, notes = printed(project, address="192.0.2.9")
    assert string["hostaddr"] == "192.0.2.9,192.0.2.9"
    assert string["tcp_user_timeout"] == "10000"
    # There is no file of this checkout there, and one that is named keeps libpq from the user's own.
    assert "passfile" not in string
    assert "build/pgha/pgpass" in notes[-1]


def test_ports_that_only_this_host_has_are_named(published):
    _, notes = printed(published("127.0.0.1"), address="192.0.2.7", user="app")
    assert [note for note in notes if "publish_address" in note]


@pytest.mark.parametrize(
    "login",
    [{"address": "0.0.0.0"}, {"address": "::"}, {"address": "a,b"}, {"address": "a b"}, {"user": ""}, {"dbname": ""},
     {"inside": True, "address": "192.0.2.7"}],
)  # fmt: skip
def test_a_login_that_cannot_be_is_refused(published, login):
    with pytest.raises(BadValue) as caught:
        printed(published(), **login)
    assert "inv dsn" in caught.value.hint


# Logging in -------------------------------------------------------------------------------------------------


@pytest.fixture
def leads(monkeypatch):
    """pg1-node1 leads; the commands that it is given, and how a client's login ends there."""
    ran, endings = [], []

    class Leader:
        def run(self, host, command):
            ran.append((host, command))
            return Answer(command, "", "FATAL:  password authentication failed", 2)

        def must(self, host, command, message):
            ran.append((host, command))
            return Answer(command, "", "", 0)

    def ended(conninfo):
        ran.append(conninfo_to_dict(conninfo))
        if endings[0] is postgres_client.NoLibpq:
            raise postgres_client.NoLibpq
        return endings[0]

    monkeypatch.setattr(clients, "connect", lambda project: Leader())
    monkeypatch.setattr(postgres_client, "log_in", ended)
    return SimpleNamespace(ran=ran, endings=endings)


def test_a_client_logs_in_where_and_as_the_string_says(published, leads):
    project = published()
    leads.endings.append(None)
    assert clients.log_in(project, "pg2-node1") is None
    string = conninfo_to_dict(clients.connection_string(project, Login(), standby=False))
    port = str(project.ports["postgres"]["pg2-node1"])
    (asked,) = leads.ran
    assert port in string.pop("port").split(",") and asked.pop("port") == port
    for where in ("host", "hostaddr"):
        assert asked.pop(where) in string.pop(where).split(",")
    assert asked.items() <= string.items()


def test_without_a_libpq_here_the_leader_s_psql_logs_in_with_the_same_password(published, leads):
    leads.endings.append(postgres_client.NoLibpq)
    assert clients.log_in(published(), "pg1-node1") == postgres_client.Refusal(
        "FATAL:  password authentication failed", True
    )
    host, command = leads.ran[-1]
    assert (host, command.argv[0]) == ("pg1-node1", "psql")
    assert conninfo_to_dict(command.argv[1])["passfile"] == "/pgha/config/pgpass"


# Machines -----------------------------------------------------------------------------------------------------

MACHINES = {"dc1": "ssh://10.0.0.1", "dc2": {"engine": "ssh://b", "address": "10.0.0.2"}, "witness": "ssh://10.0.0.3"}


@pytest.fixture
def several(make_project):
    project = make_project(data_centers=2, nodes=1, machines={**MACHINES, "backup": "ssh://10.0.0.3"})
    project.write_record(Record({}, {"postgres": {"pg1-node1": 5432, "pg2-node1": 5432}, "ssh": {}}))
    project.pgpass.write_text("*:*:*:postgres:secret\n")
    return project


def test_each_node_is_found_at_the_address_of_its_machine(several, here):
    here("psql 17", 170000)
    parameters, notes = printed(several)
    assert parameters["host"] == "pg1-node1,pg2-node1"
    assert parameters["hostaddr"] == "10.0.0.1,10.0.0.2"
    assert parameters["port"] == "5432,5432"
    # A leader that is cut off answers nothing, and ends no connection.
    assert parameters["tcp_user_timeout"] == "10000" and parameters["keepalives_idle"] == "5"
    assert notes == []


def test_within_the_machines_names_and_ports_are_the_same(several):
    parameters = conninfo_to_dict(connection_string(several, Login(inside=True), standby=False))
    assert (parameters["host"], parameters["port"]) == ("pg1-node1,pg2-node1", "5432,5432")
    assert "hostaddr" not in parameters


def test_one_address_stands_for_no_several_machines(several):
    with pytest.raises(BadValue, match="--address is for one machine"):
        printed(several, address="192.0.2.7")
