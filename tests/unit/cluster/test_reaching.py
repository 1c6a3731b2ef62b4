"""Where a client finds a node, and by what it knows it."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgha.cluster import reaching
from pgha.cluster.clients import Login, connection_string, printed_string
from pgha.errors import BadValue, NotRendered
from pgha.project.certificates import ensure_certificates
from pgha.project.record import Record


@pytest.fixture
def published(make_project):
    def published(**settings):
        project = make_project(data_centers=2, nodes=1, **settings)
        project.write_record(Record({}, {"postgres": {"pg1-node1": 2000, "pg2-node1": 2005}, "ssh": {}}))
        ensure_certificates(project)
        return project

    return published


def printed(project, **login):
    string, notes = printed_string(project, Login(**login), standby=False)
    return conninfo_to_dict(string), notes


def test_libpq_looks_for_each_node_s_own_certificate_at_the_published_address(published):
    project = published(publish_address="192.0.2.7")
    string, notes = printed(project)
    assert string["host"] == "pg1-node1,pg2-node1"
    assert string["hostaddr"] == "192.0.2.7,192.0.2.7"
    assert (string["port"], string["sslmode"]) == ("2000,2005", "verify-full")
    assert string["sslrootcert"] == str(project.root / "tls" / "pgha" / "ca.crt")
    assert notes == []


def test_inside_it_is_the_copy_in_the_container(published):
    string = conninfo_to_dict(connection_string(published(), Login(inside=True), standby=False))
    assert (string["host"], string["sslrootcert"]) == ("pg1-node1,pg2-node1", "/pgha/tls/ca.crt")
    assert string["sslmode"] == "verify-full" and "hostaddr" not in string


def test_on_another_machine_it_is_the_user_s_own_file(published):
    string, notes = printed(published(publish_address="0.0.0.0"), address="192.0.2.7")
    assert (string["host"], string["hostaddr"]) == ("pg1-node1,pg2-node1", "192.0.2.7,192.0.2.7")
    assert string["sslmode"] == "verify-full" and "sslrootcert" not in string
    assert "there ~/.postgresql/root.crt has to be a copy of tls/pgha/ca.crt" in notes


def test_a_name_has_to_be_in_every_certificate(published):
    project = published()
    with pytest.raises(BadValue, match=r"The certificate of pg1-node1 has no name db\.example\.com") as caught:
        printed(project, address="db.example.com")
    assert caught.value.hint.startswith("certificate_names: db.example.com in invoke.yaml, then inv up")
    string, _ = printed(published(certificate_names="other DB.example.com"), address="db.Example.com")
    assert string["host"] == "db.Example.com,db.Example.com" and "hostaddr" not in string


def test_one_node_and_the_clone(published):
    project = published()
    own = conninfo_to_dict(reaching.node_string(project, "pg2-node1", "app", "db", passfile="/p"))
    assert (own["host"], own["hostaddr"], own["port"]) == ("pg2-node1", "127.0.0.1", "2005")
    assert (own["user"], own["dbname"], own["passfile"], own["sslmode"]) == ("app", "db", "/p", "verify-full")
    clone = conninfo_to_dict(reaching.clone_string(project, 2010, "postgres", "postgres", passfile="/p"))
    assert (clone["host"], clone["hostaddr"], clone["port"]) == ("localhost", "127.0.0.1", "2010")
    with pytest.raises(NotRendered, match="pg9-node1"):
        reaching.node_string(project, "pg9-node1", "app", "db", passfile="")


def test_without_tls_strings_are_as_they_were(published):
    project = published(tls=False)
    for string in (
        connection_string(project, Login(), standby=False),
        connection_string(project, Login(inside=True), standby=False),
        connection_string(project, Login(address="db.example.com"), standby=False),
        reaching.clone_string(project, 2010, "postgres", "postgres", passfile="/p"),
    ):
        assert not {"hostaddr", "sslmode", "sslrootcert"} & set(conninfo_to_dict(string))
    assert printed(project, address="db.example.com")[0]["host"] == "db.example.com,db.example.com"
    assert conninfo_to_dict(connection_string(project, Login(), standby=False))["host"] == "127.0.0.1,127.0.0.1"
