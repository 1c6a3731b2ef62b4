"""What a client's program and its user do with the cluster: pipes, Ctrl-C, strings for other users."""

import shutil

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tools import interrupt, program, until

pytestmark = pytest.mark.integration


@pytest.fixture
def once(small):
    """A table that is empty."""
    small.sql(small.leader(), "drop table if exists once; create table once (n int)")
    yield small
    small.sql(small.leader(), "drop table once")


def statements(stack):
    """What the leader's Postgres runs and waits for."""
    return stack.sql(stack.leader(), "select query from pg_stat_activity where query ~ '^insert into once'")


def test_an_interrupted_statement_is_cancelled_on_the_server(once):
    line = once.begin("psql", "--command", "insert into once select 1 from pg_sleep(10)")
    until(lambda: statements(once), "the statement runs", interval=0.05)
    code, said = interrupt(line)
    assert code == 130
    assert "the statement was cancelled" in said
    assert "completes" not in said
    assert statements(once) == ""
    assert once.sql(once.leader(), "select count(*) from once") == "0"


def test_an_interrupted_command_on_a_host_ends_there(small):
    line = small.begin("ssh", "--node", "pg1-node1", "--command", "echo begun; sleep 987; echo not here")
    assert line.stdout.readline() == "begun\n"
    # A shell that starts a program (vfork) blocks signals meanwhile: one that comes then reaches the shell alone.
    until(lambda: small.run("pg1-node1", "pgrep", "-f", "^sleep 987", check=False), "sleep runs", interval=0.05)
    code, said = interrupt(line)
    assert code == 130
    assert "ended on pg1-node1" in said and "not here" not in said
    assert small.run("pg1-node1", "pgrep", "-f", "sleep 987", check=False) == ""


def test_a_piped_script_runs_and_ends_with_psql_s_exit_code(once):
    assert once.inv("psql", stdin="insert into once values (1);\n\\qecho done\n").stdout.splitlines() == [
        "INSERT 0 1", "done",
    ]  # fmt: skip
    failed = once.try_inv("psql", stdin="insert into once values (2);\ntable no_such_table;\ndelete from once;\n")
    assert failed.returncode == 3
    assert "no_such_table" in failed.stderr
    assert once.sql(once.leader(), "select array_agg(n) from once") == "{1,2}"


def test_a_long_script_and_data_take_seconds(once):
    lines = "".join(f"{number}\n" for number in range(700_000))
    assert len(lines) > 4_000_000
    once.inv("psql", stdin=f"copy once from stdin;\n{lines}\\.\n", timeout=60)
    once.inv("psql", "--command", "copy once from stdin", stdin="7\n", timeout=60)
    assert once.sql(once.leader(), "select count(*), count(distinct n) from once") == "700001|700000"


def test_a_script_runs_on_a_host(small):
    script = "hostname\necho $STANZA_NAME >&2\nexit 7\necho not here\n"
    answer = small.try_inv("ssh", "--node", "pg1-node2", stdin=script)
    assert (answer.returncode, answer.stdout, answer.stderr) == (7, "pg1-node2\n", "pg_ha_db\n")
    answer = small.inv("ssh", "--node", "pg1-node2", "--command", "wc -c", stdin="x" * 1_000_000)
    assert answer.stdout.strip() == "1000000"
    hint = small.refused(2, "ssh", "--node", "pg1-node2").partition("HINT: ")[2]
    assert hint.startswith(f"INVOKE_PGHA_PROJECT={small.name} inv ssh --node pg1-node2 ")


def test_an_application_has_a_string_of_its_own(small):
    small.inv("psql", stdin="create role crm login password 'it';\ncreate database crm owner crm;\n")
    try:
        string = small.dsn("--user", "crm", "--dbname", "crm")
        assert "passfile" not in conninfo_to_dict(string)
        with psycopg.connect(string, password="it") as connection:
            assert connection.execute("select current_user || current_database()").fetchone() == ("crmcrm",)
        for address in ("localhost", "127.0.0.1"):
            other = small.dsn("--address", address, "--user", "crm", "--dbname", "crm")
            trusted = {} if "sslrootcert" in other else {"sslrootcert": small.certificates_folder / "ca.crt"}
            psycopg.connect(other, password="it", **trusted).close()
        with psycopg.connect(small.dsn()) as connection:
            assert connection.execute("select pg_is_in_recovery()").fetchone() == (False,)
    finally:
        small.inv("psql", stdin="drop database crm;\ndrop role crm;\n")


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed on this host")
def test_the_psql_of_this_host_reads_the_strings(small):
    for flags, expected in (((), "f"), (("--standby",), "t")):
        answer = program("psql", small.dsn(*flags), "-XAtc", "select pg_is_in_recovery()")
        assert answer.stdout.strip() == expected


def test_what_an_earlier_task_of_the_line_said_comes_first(small):
    lines = small.inv("dsn", "psql", "--command", "select 'then this'").stdout.splitlines()
    assert lines[0].startswith("host=") and "then this" in lines[3]


def test_status_tells_how_to_connect_to_this_project(small):
    assert f'psql "$(INVOKE_PGHA_PROJECT={small.name} inv dsn)"' in small.inv("status").stdout
