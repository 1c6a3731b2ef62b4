"""Odd databases and tablespaces: a good backup is called good, and a restored copy touches nothing outside."""

import re
import threading

import psycopg
import pytest
from tools import rows, until, write

pytestmark = pytest.mark.integration

TABLESPACE = "/pgdata/ts"
LATER = "/pgdata/later"


def do(stack, database, *statements):
    dsn = stack.conninfo(stack.leader(), dbname=database, options="-c statement_timeout=0")
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def odd(small):
    """Databases that have been given everything that stopped a verification once, and a backup of them."""
    if small.sql(small.leader(), "select count(*) from pg_database where datname = 'frozen'") == "0":
        make_odd(small)
        do(small, "postgres", "alter database postgres set statement_timeout = '3ms'")
        try:
            small.inv("backup", "--type", "incr")
        finally:
            do(small, "postgres", "alter database postgres reset statement_timeout")
    return small


def make_odd(stack):
    for node in stack.nodes:
        stack.run(node, "mkdir", "-p", TABLESPACE, LATER, user="postgres")
    do(
        stack, "postgres",
        "create table if not exists numbered (n int)",
        "truncate numbered",
        f"create tablespace ts location '{TABLESPACE}'",
        "create table dropped_later tablespace ts as select generate_series(1, 1000) n",
        "create materialized view not_yet as select 1 n with no data",
        "create database frozen",
        "create database hasty",
        "create database latin encoding 'LATIN1' template template0 locale 'C'",
        "create database invalid",
        "update pg_database set datconnlimit = -2 where datname = 'invalid'",
        "create database publisher",
        "create database subscriber",
    )  # fmt: skip
    do(stack, "frozen", "create table cold as select 1 n", 'create table "a\ttab" as select 2 n')
    do(stack, "frozen", "alter database frozen set default_transaction_read_only = on")
    do(stack, "latin", 'create table "é" as select 1 n')
    do(stack, "hasty", "create table many as select generate_series(1, 300000) n")
    do(stack, "hasty",
       "create function no() returns event_trigger language plpgsql as $$ begin raise 'no DDL here'; end $$",
       "create event trigger no on ddl_command_start execute function no()")  # fmt: skip
    do(stack, "hasty", "alter database hasty set statement_timeout = '5ms'")
    write(stack, 1, 2, 3)


def subscribe(stack):
    """One database of the cluster subscribes to another; the leader finds itself by its name."""
    publisher = f"host={stack.leader()} dbname=publisher user=postgres password={stack.passwords()['superuser']}"
    do(stack, "publisher", "create table sent (n int)", "create publication sent for table sent",
       "select pg_create_logical_replication_slot('sent', 'pgoutput')")  # fmt: skip
    do(stack, "subscriber", "create table sent (n int)",
       f"create subscription sent connection '{publisher}' publication sent with (create_slot = off)")  # fmt: skip


def in_tablespaces(stack, node):
    """Every file there, with its size and time."""
    return stack.shell(node, f"find {TABLESPACE} {LATER} -printf '%p %s %T@\\n' | sort")


def problems(stack):
    return {problem["kind"] for problem in stack.status()["problems"]}


def test_a_good_backup_of_odd_databases_is_good_and_no_live_tablespace_is_touched(odd):
    """The standby's tablespace is empty when the backup, which has a table there, is restored beside it."""
    do(odd, "postgres", "drop table dropped_later", "checkpoint")
    for node in odd.nodes:
        until(lambda node=node: not odd.shell(node, f"find {TABLESPACE} -type f"), f"{node} has dropped the table")
    before = {node: in_tablespaces(odd, node) for node in odd.nodes}

    said = odd.inv("verify").stdout
    assert f"backup {odd.backups()[-1]} is good" in said
    for table, number in (
        ("public.dropped_later", 1000), ("public.numbered", 3), ("public.many", 300000), ("public.cold", 1),
        ('public."é"', 1),
    ):  # fmt: skip
        assert re.search(rf"{re.escape(table)} +│ +{number} ", said), said
    assert "not_yet" not in said
    assert {node: in_tablespaces(odd, node) for node in odd.nodes} == before
    assert not problems(odd) & {"backup_not_good", "backup_unchecked"}


@pytest.mark.long
def test_a_check_that_cannot_be_made_is_no_verdict(odd):
    """Here: WAL of the backup makes a tablespace, which its replay would put where the live member has its own."""
    label = odd.backups()[-1]
    for node in odd.nodes:
        odd.run(node, "mkdir", "-p", "/pgdata/brief", user="postgres")
    done = threading.Event()

    def make_and_drop():
        while not done.wait(0.2):
            do(odd, "postgres", "create tablespace brief location '/pgdata/brief'", "drop tablespace brief")

    maker = threading.Thread(target=make_and_drop)
    maker.start()
    try:
        odd.inv("backup", "--type", "incr")
    finally:
        done.set()
        maker.join()
    brief = odd.backups()[-1]
    assert brief != label
    looked = "find /pgdata/brief -printf '%p %T@\\n'"
    before = {node: odd.shell(node, looked) for node in odd.nodes}

    said = odd.refused(4, "verify")
    assert f"Backup {brief} could not be checked on" in said
    assert "a tablespace was made while the backup was taken: " in said
    assert {node: odd.shell(node, looked) for node in odd.nodes} == before
    assert "backup_unchecked" in problems(odd)
    assert "backup_not_good" not in problems(odd)
    assert odd.status()["backup"]["verified"]["checked"] is False
    assert f"backup {label} is good" in odd.inv("verify", "--set", label).stdout


def written(stack, node):
    """Where a checkpoint began after which nothing of before is in memory only."""
    stack.sql(node, "checkpoint")
    return stack.sql(node, "select redo_lsn from pg_control_checkpoint()")


def test_a_damaged_backup_is_not_good(odd):
    """A page that is not what it was, on the disk and so in the backup: pgBackRest takes it along and marks that."""
    do(odd, "postgres", "create table rotten as select generate_series(1, 1000) n", "vacuum freeze rotten")
    path = odd.sql(odd.leader(), "select pg_relation_filepath('rotten')")
    redo = written(odd, odd.leader())
    for node in odd.nodes:
        until(lambda node=node: node == odd.leader() or written(odd, node) == redo, f"{node} has written the table")
        odd.shell(node, f"dd if=/dev/urandom of=/pgdata/17/{path} bs=1024 count=1 seek=9 conv=notrunc 2>&1")
    try:
        odd.refused(4, "backup", "--type", "incr")
        said = odd.refused(4, "verify")
        assert f"Backup {odd.backups()[-1]} is not good" in said
        assert "rotten" in said
        assert "backup_not_good" in problems(odd)
    finally:
        do(odd, "postgres", "drop table rotten")


def lose(stack, node):
    line = "pid=$(head -n 1 /pgdata/1?/postmaster.pid); mv /pgdata/1? /pgdata/gone && kill -s KILL $pid"
    stack.shell(node, f"{line}; rm -rf /pgdata/gone")


def wipe(stack, node):
    stack.inv("chaos.wipe", "--node", node)


def reinit(stack, node):
    stack.run(node, "patronictl", "reinit", "pgha_cluster", node, "--force", "--wait")


@pytest.mark.parametrize("break_it", [wipe, *(pytest.param(how, marks=pytest.mark.long) for how in (lose, reinit))])
def test_a_member_with_a_tablespace_is_made_again(odd, break_it):
    do(odd, "postgres", "drop table if exists in_tablespace",
       "create table in_tablespace tablespace ts as select generate_series(1, 5) n")  # fmt: skip
    node = odd.replicas()[0]
    until(lambda: rows_on(odd, node) == 5, f"{node} has the table")
    began = odd.sql(node, "select pg_postmaster_start_time()")
    break_it(odd, node)
    until(lambda: odd.sql(node, "select pg_postmaster_start_time()") != began, f"{node} is there again")
    odd.wait_well()
    assert rows_on(odd, node) == 5


def rows_on(stack, node):
    return int(stack.sql(node, "select count(*) from in_tablespace"))


def test_a_clone_starts_nothing_and_a_restored_cluster_all_of_it(odd):
    """A tablespace made after the backup is not in it: what it holds would be taken for newer than the WAL."""
    do(odd, "postgres", "drop table if exists in_tablespace",
       "create table in_tablespace tablespace ts as select generate_series(1, 5) n")  # fmt: skip
    do(odd, "postgres", "alter system set shared_preload_libraries = 'auto_explain', 'pg_stat_statements'")
    subscribe(odd)
    here = odd.conninfo(odd.leader())
    until(lambda: "logical replication apply worker" in subscribing(here), "the cluster itself subscribes")
    odd.inv("backup", "--type", "incr")
    do(odd, "postgres", "alter system reset shared_preload_libraries", f"create tablespace later location '{LATER}'",
       "create table in_later tablespace later as select 1 n")  # fmt: skip
    odd.inv("restore-point", "--name", "subscribed")
    do(odd, "subscriber", "alter subscription sent disable")
    label = odd.backups()[-1]

    made = odd.inv("clone", "--name", "subscribed", scratch_preload_libraries="pg_stat_statements")
    try:
        dsn = re.search(r'psql "(.*)"', made.stdout)[1]
        with psycopg.connect(dsn) as connection:
            assert connection.execute("show shared_preload_libraries").fetchone() == ("pg_stat_statements",)
            assert connection.execute("show max_logical_replication_workers").fetchone() == ("0",)
            assert connection.execute("show primary_conninfo").fetchone() == ("",)
            assert connection.execute("select subenabled from pg_subscription").fetchall() == [(True,)]
            assert connection.execute("select count(*) from in_tablespace").fetchone() == (5,)
            assert connection.execute("select n from in_later").fetchall() == [(1,)]
        assert not subscribing(dsn)
    finally:
        odd.inv("clone", "--remove")

    write(odd, 4)
    odd.inv("restore", "--set", label, "--yes")
    assert rows(odd) == [1, 2, 3]
    assert odd.sql(odd.leader(), "select count(*) from pg_tablespace where spcname = 'later'") == "0"
    for node in odd.nodes:
        assert odd.shell(node, f"find {LATER} -mindepth 1; ls /pgdata | grep tablespaces", check=False) == ""
        assert rows_on(odd, node) == 5
        assert odd.sql(node, "show max_logical_replication_workers") == "4"
        assert odd.sql(node, "show shared_preload_libraries") == "auto_explain, pg_stat_statements"
    until(lambda: subscribing(odd.conninfo(odd.leader())), "the restored cluster subscribes")


def subscribing(dsn):
    """What connects to publishers: the launcher starts with every primary, and begins each subscription."""
    with psycopg.connect(dsn) as connection:
        query = "select backend_type from pg_stat_activity where backend_type like 'logical replication%'"
        return {kind for (kind,) in connection.execute(query)}
