"""Who gets into Postgres over the network, and how: over TLS, with a password, or as a member with its certificate."""

import shutil

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tools import program

pytestmark = pytest.mark.integration

MINE = "select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.fixture
def other_authority(tmp_path):
    """The certificate of an authority that this project knows nothing of."""
    path = tmp_path / "ca.crt"
    program(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
        "-subj", "/CN=other CA", "-keyout", tmp_path / "ca.key", "-out", path,
    )  # fmt: skip
    return path


def pair(stack, host):
    """What a host shows."""
    at = stack.certificates_folder / "hosts"
    return {"sslcert": str(at / f"{host}.crt"), "sslkey": str(at / f"{host}.key")}


def refusal(conninfo):
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(conninfo)
    return str(caught.value)


def test_a_client_takes_this_project_s_servers_and_no_others(small, other_authority):
    string = small.dsn()
    given = conninfo_to_dict(string)
    assert (given["sslmode"], given["sslrootcert"]) == ("verify-full", str(small.certificates_folder / "ca.crt"))
    with psycopg.connect(string) as connection:
        assert connection.execute(MINE).fetchone() == (True, None)
        assert connection.execute("show ssl_min_protocol_version").fetchone() == ("TLSv1.2",)
    assert "certificate verify failed" in refusal(make_conninfo(string, sslrootcert=other_authority))
    (leader, other) = (small.leader(), *small.replicas())
    # What answers at a node's port has to be that node.
    assert "does not match host name" in refusal(make_conninfo(small.conninfo(leader), host=other))
    if shutil.which("psql"):
        assert program("psql", string, "-XAtc", MINE).stdout.strip() == "t|"
        wrong = program("psql", f"{string} sslrootcert={other_authority}", "-XAtc", MINE, check=False)
        assert wrong.returncode and "certificate verify failed" in wrong.stderr


def test_nobody_gets_in_without_tls_or_without_a_password(small):
    for node in small.nodes:
        assert "no encryption" in refusal(small.conninfo(node, sslmode="disable"))
        assert "no password supplied" in refusal(small.conninfo(node, password="", passfile="/dev/null"))
        # A member's certificate makes nobody else of it.
        assert "no password supplied" in refusal(
            small.conninfo(node, password="", passfile="/dev/null", **pair(small, node))
        )
        inside = f"psql 'host={node} user=postgres dbname=postgres sslmode=disable' -XAtwc 'select 1' 2>&1 || true"
        assert "no encryption" in small.shell(small.nodes[0], inside)


def test_members_are_who_their_certificates_say(small):
    leader, (replica,) = small.leader(), small.replicas()
    rows = small.sql(leader, "select usename, ssl, client_dn from pg_stat_replication join pg_stat_ssl using (pid)")
    assert rows == f"replicator|t|/CN={replica}"
    password = small.passwords()["replication"]
    member = {"user": "replicator", "password": password}
    assert "requires a valid client certificate" in refusal(small.conninfo(leader, **member))
    assert "certificate authentication failed" in refusal(small.conninfo(leader, **member, **pair(small, "pgbackrest")))
    for user in ("replicator", "rewind_user"):
        own = small.conninfo(leader, user=user, password="", passfile="/dev/null", **pair(small, replica))
        with psycopg.connect(own) as connection:
            assert connection.execute(MINE).fetchone() == (True, f"/CN={replica}")
