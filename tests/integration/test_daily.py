"""Daily work: pauses, members made again, parameters, databases, a bundle for a colleague."""

import json
import tarfile

import psycopg
import pytest
from tools import load, until

pytestmark = pytest.mark.integration


@pytest.fixture
def running(small):
    """The small stack, out of maintenance mode afterwards."""
    yield small
    small.inv("resume")
    small.wait_well()


def pauses(stack):
    """Member -> whether its Patroni went by a pause when it looked last."""
    return {name: bool(document.get("pause")) for name, document in stack.members().items()}


def test_a_pause_is_known_to_every_member_and_ends(running):
    leader = running.leader()
    paused = json.loads(running.inv("pause", "--json").stdout)
    assert set(pauses(running).values()) == {True}
    assert (paused["paused"], paused["was_paused"], sorted(paused["knowing"])) == (True, False, sorted(running.nodes))
    again = running.inv("pause")
    assert "already paused" in again.stdout and "HINT: " in again.stderr
    assert "inv resume" in running.refused(3, "switchover")
    running.inv("resume")
    assert set(pauses(running).values()) == {False}
    assert "pause" not in running.dynamic_configuration()
    assert running.wait_well() == leader


def test_a_replica_is_made_again_from_where_it_is_told(small):
    (replica,) = small.replicas()
    leader = small.leader()
    small.sql(leader, "create table written_before_reinit as select 1 n")
    for source, method in (("leader", "basebackup"), ("repository", "pgbackrest")):
        small.shell(replica, "touch /pgdata/17/left_over", user="postgres")
        before = small.logs(replica).count(f"replica has been created using {method}")
        made = json.loads(small.inv("reinit", "--node", replica, "--from", source, "--json").stdout)
        assert (made["node"], made["from"], made["method"]) == (replica, source, method)
        assert small.well() == leader
        assert small.logs(replica).count(f"replica has been created using {method}") == before + 1
        assert small.shell(replica, "ls /pgdata/17/left_over", check=False) == ""
        assert small.sql(replica, "select n from written_before_reinit") == "1"
    assert "inv switchover" in small.refused(2, "reinit", "--node", leader)
    small.sql(leader, "drop table written_before_reinit")


def test_a_parameter_is_changed_on_every_member_and_stays(small):
    key = "postgresql.parameters"
    given = (
        "--set",
        f"{key}.work_mem=9MB",
        "--set",
        f"{key}.max_connections=90",
        "--set",
        "maximum_lag_on_failover=2097152",
    )
    before = small.dynamic_configuration()
    assert "add --yes" in small.refused(2, "config", *given)
    for refused in ("ttl=30", "work_mem=9MB", f"{key}.work_mem=much", f"{key}.synchronous_commit=off"):
        small.refused(2, "config", "--set", refused, "--yes")
    assert small.dynamic_configuration() == before
    try:
        changed = small.inv("config", *given, "--yes", "--json")
        document = json.loads(changed.stdout)
        assert [(c["key"].rsplit(".", 1)[-1], c["after"]) for c in document["changes"]] == [
            ("work_mem", "9MB"), ("max_connections", 90), ("maximum_lag_on_failover", 2097152),
        ]  # fmt: skip
        assert document["pending_restart"] == {node: ["max_connections"] for node in small.nodes}
        assert "inv restart --pending" in changed.stderr
        for node in small.nodes:
            assert small.sql(node, "show work_mem") == "9MB"
            assert small.sql(node, "show max_connections") == "100"
        small.inv("up")
        assert "nothing to change" in small.inv("config", *given, "--yes").stdout
    finally:
        back = ("--unset", f"{key}.work_mem", "--unset", f"{key}.max_connections")
        small.inv("config", *back, "--set", "maximum_lag_on_failover=1048576", "--yes")
    assert [small.sql(node, "show work_mem") for node in small.nodes] == ["4MB", "4MB"]
    assert small.dynamic_configuration() == before
    assert small.status()["problems"] == []


@pytest.fixture
def app(small):
    """A database of an application's, gone afterwards."""
    yield small
    small.inv("psql", stdin="drop database if exists app;\ndrop role if exists app;\n")


def test_an_application_has_a_database_and_a_role_of_its_own(app):
    secrets = [json.loads(app.inv("database", "--name", "app", "--json").stdout)["dsn"]]
    password = app.passwords()["roles"]["app"]
    with psycopg.connect(app.dsn("--user", "app", "--dbname", "app")) as connection:
        connection.execute("create table mine (n int)")
        connection.execute("insert into mine values (7)")
        found = (
            "select tableowner, rolsuper from pg_tables join pg_roles on rolname = current_user where tablename = %s"
        )
        owner, strong = connection.execute(found, ["mine"]).fetchone()
    assert (owner, strong) == ("app", False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(app.conninfo(app.leader(), user="app", dbname="app", password="another"))
    assert "as it should be" in app.inv("database", "--name", "app").stdout
    listed = {d["name"]: d for d in json.loads(app.inv("database", "--json").stdout)["databases"]}
    assert (listed["app"]["owner"], listed["app"]["open_to_every_role"], listed["app"]["password_known"]) == (
        "app",
        False,
        True,
    )
    secrets += [app.inv("database").stdout, *(app.logs(node) for node in app.nodes)]
    assert not any(password in text or "SCRAM-SHA-256$" in text for text in secrets)
    app.refused(2, "database", "--name", "app", "--owner", "postgres")
    app.inv("psql", stdin="alter role app password 'another';\n")
    assert 'alter role "app" login' in app.inv("database", "--name", "app").stdout
    before = app.containers()
    app.inv("up")
    assert app.containers() == before, "no container is made again for it"
    with psycopg.connect(app.dsn("--standby", "--user", "app", "--dbname", "app")) as connection:
        assert connection.execute("select n from mine").fetchone() == (7,)


def test_a_bundle_has_what_a_colleague_needs_and_no_secret(app):
    app.inv("database", "--name", "app")
    leader, passwords = app.leader(), app.passwords()
    # What an operator types ends up in the log, also when it fails.
    for secret in (passwords["superuser"], "of nobody's"):
        app.sql(leader, f"alter role no_such_role password '{secret.replace(chr(39), chr(39) * 2)}'", check=False)
    until(lambda: "no_such_role" in app.logs(leader), "the statement is in the log")
    written = json.loads(app.inv("report", "--json").stdout)
    assert written["missing"] == {}
    with tarfile.open(written["path"]) as archive:
        files = {entry.name.partition("/")[2]: archive.extractfile(entry).read().decode() for entry in archive}
    assert sorted(files) == written["files"]
    private = [
        path for folder in (app.keys_folder, app.certificates_folder) for path in folder.rglob("*") if path.is_file()
    ]
    keys = [line for path in private if "PRIVATE KEY" in (text := path.read_text()) for line in text.splitlines()
            if len(line) > 40 and "-----" not in line]  # fmt: skip
    own = {passwords[name] for name in ("superuser", "replication", "rewind", "restapi", "repository", "digest_key")}
    own |= set(passwords["roles"].values())
    assert len(own) == 7 and len(keys) > 10
    for name, text in files.items():
        assert not any(secret in text for secret in (*own, *keys, "of nobody", "SCRAM-SHA-256$")), name
    assert "no_such_role" in files[f"logs/{leader}.log"]
    assert json.loads(files["status.json"])["leader"] == leader
    assert load(files["cluster/dynamic.yaml"]) == app.dynamic_configuration()
    assert load(files["configuration/compose.yaml"])["services"].keys() == app.containers().keys()
    assert any(row["query"].startswith("select") for row in json.loads(files["statistics/pg_stat_activity.json"]))
    assert {f"logs/{host}.log" for host in app.containers()} <= files.keys()
    assert files["plan.json"] and "patroni 4" in files["versions.json"]
