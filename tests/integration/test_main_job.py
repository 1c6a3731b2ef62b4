"""`inv build up stanza backup`, the first look at it, its clients, its backups, and its rest."""

import json
import os
import pty
import sys

import psycopg
import pytest
from tools import ROOT, interrupt, read_until, until

pytestmark = pytest.mark.integration


def test_the_first_line_ends_with_six_streaming_members_and_a_backup(fresh):
    status = json.loads(fresh.status.stdout)
    roles = [member["role"] for member in status["members"]]
    states = [member["state"] for member in status["members"]]
    assert len(roles) == 6
    assert roles.count("leader") == 1
    assert states.count("streaming") == 5
    assert (status["etcd"]["healthy"], status["etcd"]["members"]) == (5, 5)
    assert status["backup"]["stanza"] == "ok"
    assert status["backup"]["backups"] == 1
    assert status["backup"]["last"]["type"] == "full"
    assert status["backup"]["archiving"] == "on"
    assert status["healthy"] is True


def test_pgbackrest_itself_knows_one_full_backup(fresh):
    assert fresh.stanza["status"]["code"] == 0
    assert [backup["type"] for backup in fresh.stanza["backup"]] == ["full"]
    assert fresh.stanza["backup"][0]["error"] is False


def test_patroni_and_postgres_agree_with_status(main):
    members = main.members()
    assert set(members) == set(main.nodes)
    leader = main.leader()
    assert [name for name in members if main.sql(name, "select pg_is_in_recovery()") == "f"] == [leader]
    assert main.streaming(leader) == set(main.nodes) - {leader}
    assert main.etcd_healthy() == 5
    document = main.status()
    assert document["leader"] == leader
    assert document["system_identifier"] == main.system_identifier()


def test_the_status_screen_names_every_part(main):
    screen = main.inv("status", folder="tests").stdout
    for word in (*main.nodes, "dc1", "dc2", "dc3", "5 of 5 healthy", "stanza ok", "archiving: on"):
        assert word in screen
    assert str(main.published("pg2-node1", 5432)) in screen
    assert str(main.published("pg2-node1", 22)) in screen


def test_quorum_commit_waits_for_another_data_center(main):
    leader = main.leader()
    names = main.sql(leader, "show synchronous_standby_names")
    assert names.startswith("ANY 2 (")
    assert main.dynamic_configuration()["failsafe_mode"] is True
    assert main.dynamic_configuration()["synchronous_mode"] == "quorum"
    assert main.sql(leader, "show data_checksums") == "on"


def test_everything_twice_changes_nothing(main):
    before = main.containers()
    assert "is up to date" in main.inv("render").stderr
    assert "0 keys made" in main.inv("keys").stdout
    assert "stanza was there" in main.inv("up", "stanza").stdout
    assert main.containers() == before
    assert "nothing to do" in main.inv("setup").stdout


def test_dsn_finds_the_leader_from_the_host(main):
    dsn = main.dsn()
    assert main.passwords()["superuser"] not in dsn
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select pg_is_in_recovery()").fetchone() == (False,)


def test_dsn_standby_goes_to_more_than_one_standby(main):
    addresses = set()
    # For this host's libpq: where that cannot choose, each string has made the choice already.
    for dsn in (main.dsn("--standby") for _ in range(4)):
        for _ in range(4):
            with psycopg.connect(dsn) as connection:
                standby, address = connection.execute("select pg_is_in_recovery(), inet_server_addr()::text").fetchone()
            assert standby
            addresses.add(address)
    assert len(addresses) > 1


def test_dsn_inside_works_inside(main):
    for flags, expected in ((["--inside"], "f"), (["--inside", "--standby"], "t")):
        string = main.dsn(*flags)
        assert main.run("pg3-node2", "psql", string, "-XAtc", "select pg_is_in_recovery()").strip() == expected


def test_psql_runs_sql_on_the_leader_or_a_standby(main):
    question = "select 'recovery=' || pg_is_in_recovery()"
    assert "recovery=false" in main.inv("psql", "--command", question).stdout
    assert "recovery=true" in main.inv("psql", "--standby", "--command", question).stdout
    assert "no_such_table" in main.refused(4, "psql", "--command", "table no_such_table", hint=False)


def test_ssh_gives_a_shell_on_a_terminal(main):
    child, terminal = pty.fork()
    if child == 0:
        line = [sys.executable, "-m", "invoke", "ssh", "--node", "pg2-node1"]
        os.chdir(ROOT)
        os.execve(line[0], line, main.environment({}))
    try:
        # What is typed before the prompt is there is thrown away: the terminal becomes raw first.
        read_until(terminal, b"$ ")
        os.write(terminal, b"echo on $(hostname); exit 7\n")
        read_until(terminal, b"on pg2-node1")
        ended = until(lambda: next(e for e in [os.waitpid(child, os.WNOHANG)] if e[0]), "the shell ends")
        assert os.waitstatus_to_exitcode(ended[1]) == 7
    finally:
        os.close(terminal)


def test_patronictl_needs_no_configuration_on_a_node(main):
    assert "Leader" in main.inv("ssh", "--node", "pg1-node1", "--command", "patronictl list").stdout


def test_ssh_runs_a_command_on_a_host(main):
    for host in ("pg2-node2", "pgbackrest"):
        assert main.inv("ssh", "--node", host, "--command", "hostname; id -un").stdout.split() == [host, "postgres"]
    assert "pg9-node9" in main.refused(2, "ssh", "--node", "pg9-node9", "--command", "true")


def test_plain_openssh_reaches_every_host(main):
    for host in (*main.nodes, "pgbackrest"):
        answer = main.openssh(host, "hostname; echo $STANZA_NAME $PATRONI_CFG")
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.split() == [host, "pg_ha_db", "/pgha/config/patroni.conf"]


def test_logs_show_one_container_or_all_and_follow(main):
    assert "I am (pg1-node1" in main.inv("logs", "--node", "pg1-node1").stdout
    assert "pg3-node2" in main.inv("logs", "--tail", "5").stdout
    following = main.begin("logs", "--node", "pg1-node1", "--follow", "--tail", "1")
    assert following.stdout.readline()
    code, said = interrupt(following)
    assert code == 130
    assert "HINT" not in said


def test_config_is_what_patroni_holds(main):
    assert json.loads(main.inv("config", "--json").stdout) == main.dynamic_configuration()


def test_a_differential_backup_and_info(main):
    main.inv("backup", "--type", "diff")
    newest = main.stanza()["backup"][-1]
    assert newest["type"] == "diff"
    assert newest["label"] in main.inv("info").stdout
    (shown,) = json.loads(main.inv("info", "--json").stdout)
    assert [backup["label"] for backup in shown["backup"]] == main.backups()
    assert "weekly" in main.refused(2, "backup", "--type", "weekly")


def test_written_wal_arrives_in_the_repository(main):
    leader = main.leader()
    main.sql(leader, "create table fills_a_segment as select generate_series(1, 1000)")
    segment = main.sql(leader, "select pg_walfile_name(pg_switch_wal())")
    until(lambda: main.stanza()["archive"][-1]["max"] >= segment, f"{segment} is archived")
