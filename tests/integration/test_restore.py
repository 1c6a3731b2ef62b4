"""Back in time and forth again, wrong targets, a clone, a verification, and who may do what at the repository."""

import re
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tools import Writer, check_restored, docker, now, numbered_rows, rows, until, write

pytestmark = pytest.mark.integration


HERE = datetime.now(UTC)


@pytest.fixture
def numbered(small):
    """A table with the rows 1 to 3, and a backup that has them."""
    return numbered_rows(small)


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.long)])
def test_to_a_restore_point_and_then_to_points_before_and_after_that_fork(numbered, after):
    earlier = now()
    write(numbered, 4)
    name = f"before mistake {time.time_ns()}"
    numbered.inv("restore-point", "--name", name)
    write(numbered, 5)

    slots = "select slot_name from pg_replication_slots where slot_type = 'logical'"
    edit = ("patronictl", "edit-config", "pgha_cluster", "--quiet", "--force", "-s")
    kept = 'slots={"cdc": {"type": "logical", "database": "postgres", "plugin": "pgoutput"}}'
    numbered.run(numbered.leader(), *edit, kept, user="postgres")
    until(lambda: all(numbered.sql(node, slots) == "cdc" for node in numbered.nodes), "every member has the slot")
    numbered.wait_well()
    numbered.sql(numbered.leader(), "select pg_create_logical_replication_slot('loose', 'pgoutput')")

    said = numbered.inv("restore", "--name", name, "--yes").stderr
    assert "these logical slots are dropped: loose" in said
    assert "their consumers start over: cdc" in said
    assert rows(numbered) == [1, 2, 3, 4]
    until(lambda: all(numbered.sql(node, slots) == "cdc" for node in numbered.nodes), "Patroni created it again")
    numbered.run(numbered.leader(), *edit, "slots=null", user="postgres")
    until(lambda: not any(numbered.sql(node, slots) for node in numbered.nodes), "it is gone again")
    numbered.wait_well()
    if after:
        write(numbered, 10)
        between = now()
        write(numbered, 11)
        numbered.inv("restore", "--time", between, "--yes")
        assert rows(numbered) == [1, 2, 3, 4, 10]

    numbered.inv("restore", "--time", earlier, "--yes")
    assert rows(numbered) == [1, 2, 3]
    check_restored(numbered)


def test_a_member_made_again_comes_from_the_repository(small):
    replica = small.replicas()[0]
    small.sql(small.leader(), "select pg_switch_wal()")  # an idle leader has nothing more to switch
    small.run(replica, "patronictl", "reinit", "pgha_cluster", replica, "--force", "--wait")
    until(lambda: "replica has been created using pgbackrest" in small.logs(replica), "Patroni says how it was made")
    small.wait_well()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--time", (HERE - timedelta(days=30)).isoformat()], "before the first backup"),
        (["--time", (HERE + timedelta(days=1)).isoformat()], "in the future"),
        (["--time", "yesterday"], "not a time in ISO 8601"),
        (["--set", "20200101-000000F"], "20200101-000000F is not in the repository"),
        (["--name", "no such point"], "no restore point no such point"),
        (["--xid", "4000000000"], "has not been given out yet"),
        (["--xid", "first"], "not a transaction number"),
        (["--lsn", "FF/0"], "after the last archived position"),
        (["--lsn", "here"], "not an LSN"),
        (["--timeline", "99"], "no timeline 99"),
        (["--lsn", "0/1", "--xid", "5"], "two points"),
    ],
)
def test_a_wrong_target_is_refused(small, flags, words):
    assert words in small.refused(2, "restore", *flags, "--yes")
    assert not (small.folder / "restore.yaml").exists()


def test_nobody_notices_a_restore_that_is_refused(small):
    started = "select pg_postmaster_start_time(), timeline_id from pg_control_checkpoint()"
    leader, before = small.leader(), [small.sql(node, started) for node in small.nodes]
    with Writer(small.dsn(), "written_during_refusals") as writer:
        for point in ("--time", (HERE - timedelta(days=30)).isoformat()), ("--lsn", "FF/0"):
            small.refused(2, "restore", *point, "--yes")
        writer.wait_for_more()
    assert writer.failures == 0
    assert not writer.missing()
    assert small.leader() == leader
    assert [small.sql(node, started) for node in small.nodes] == before


def test_a_refusal_shows_what_can_be_restored(small):
    said = small.refused(2, "restore", "--time", "2020-01-01", "--yes")
    shown = re.search(r"what can be restored: (\S+ \S+) to (\S+ \S+) \(WAL [0-9A-F]{24}\)", said)
    begin, end = (datetime.fromisoformat(text) for text in shown.groups())
    stops = [backup["timestamp"]["stop"] for backup in small.stanza()["backup"]]
    assert min(stops) <= begin.timestamp() <= min(stops) + 1
    assert begin < end <= datetime.fromisoformat(now())
    assert shown[0].removeprefix("what can be restored: ") in small.inv("info").stdout


def test_a_restore_asks_first(small):
    assert "Nobody can be asked" in small.refused(2, "restore")
    small.wait_well()


@pytest.mark.long
def test_a_time_on_a_timeline_that_was_left_is_said_before_anything_happens(numbered):
    """Also when the leader's own timeline has archived no segment yet, as after every switchover."""
    point = now()
    write(numbered, 4)
    numbered.sql(numbered.leader(), "select pg_switch_wal()")
    left = now()
    write(numbered, 5)
    numbered.inv("restore", "--time", point, "--yes")
    numbered.inv("switchover")
    leader = numbered.wait_well()
    assert "was left at" in numbered.refused(2, "restore", "--time", left)
    assert numbered.leader() == leader
    try:
        assert "was left at" in numbered.inv("clone", "--time", left).stderr
    finally:
        numbered.inv("clone", "--remove")
    assert rows(numbered) == [1, 2, 3]


def test_a_clone_is_beside_the_cluster_and_touches_nothing(numbered):
    wanted = now()
    write(numbered, 4)
    leader = numbered.leader()
    archived = numbered.stanza()["archive"][-1]["max"]

    made = numbered.inv("clone", "--time", wanted)
    try:
        dsn = re.search(r'psql "(.*)"', made.stdout)[1]
        with psycopg.connect(dsn) as connection:
            assert [n for (n,) in connection.execute("select n from numbered order by n")] == [1, 2, 3]
            assert connection.execute("show archive_mode").fetchone() == ("off",)
            assert connection.execute("select pg_is_in_recovery()").fetchone() == (False,)
            connection.execute("insert into numbered values (100)")
            connection.commit()
            connection.execute("select pg_switch_wal()")
        assert "has a clone already" in numbered.refused(2, "clone")
        shown = numbered.status()["clone"]
        assert (shown["state"], f"port={shown['port']}") == ("running", re.search(r"port=\d+", dsn)[0])
        assert rows(numbered) == [1, 2, 3, 4]
        assert set(numbered.members()) == set(numbered.nodes)
        newest = [name for name in numbered.archived() if name > archived]
        assert {name[:8] for name in newest} <= {archived[:8]}
        assert numbered.leader() == leader
    finally:
        numbered.inv("clone", "--remove")
    assert not docker("ps", "--all", "--quiet", f"--filter=name=^{numbered.name}-clone$")
    assert numbered.status()["clone"] is None
    assert "there was no clone" in numbered.inv("clone", "--remove").stdout


def test_a_backup_is_verified_by_restoring_it(numbered):
    label = numbered.backups()[-1]
    assert numbered.status()["backup"]["verified"] is None
    said = numbered.inv("verify").stdout
    assert f"backup {label} is good" in said
    assert re.search(r"public\.numbered +│ +3 ", said)
    verified = numbered.status()["backup"]["verified"]
    assert verified["ok"] is True
    assert "verified at" in numbered.inv("status").stdout
    assert not numbered.shell(verified["node"], "ls /pgdata").count("verify/")
    assert numbered.wait_well()


# Who may do what at the repository --------------------------------------------------------------------------


def asked(stack, host, stanza="pg_ha_db", repository="pgbackrest", identity="/pgha/tls/host"):
    """What pgBackRest on a host is answered when it shows a certificate and wants to list the archive of a stanza."""
    options = [f"--stanza={stanza}"] if stanza else []
    line = [
        "pgbackrest", "--no-config", *options, "--io-timeout=1", f"--repo1-host={repository}", "--repo1-host-type=tls",
        "--repo1-host-ca-file=/pgha/tls/ca.crt", f"--repo1-host-cert-file={identity}.crt",
        f"--repo1-host-key-file={identity}.key", "repo-ls", f"archive/{stanza}",
    ]  # fmt: skip
    return stack.run(host, "sh", "-c", '"$@" 2>&1; echo exit code $?', "asked", *line, user="postgres")


DENIED = "access denied\nexit code 105"


def test_a_node_s_certificate_opens_its_stanza_alone(small):
    assert "archive.info" in asked(small, "pg1-node1")
    assert DENIED in asked(small, "pg1-node1", stanza="other")
    assert DENIED in asked(small, "pg1-node1", stanza="")


def test_a_certificate_opens_what_it_was_made_for(small):
    """The nodes' open the repository's server, its own opens theirs; nodes have nothing to ask of each other."""
    assert DENIED in asked(small, "pgbackrest")
    assert DENIED in asked(small, "pg1-node1", repository="pg1-node2")


@pytest.fixture
def foreign(small):
    """A certificate for pg1-node1, made by somebody else, in that host's /tmp."""
    line = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=pg1-node1 "
        "-keyout /tmp/foreign.key -out /tmp/foreign.crt 2>/dev/null"
    )
    small.shell("pg1-node1", line, user="postgres")
    yield "/tmp/foreign"
    small.shell("pg1-node1", "rm /tmp/foreign.*")


def test_somebody_else_s_certificate_opens_nothing(small, foreign):
    said = asked(small, "pg1-node1", identity=foreign)
    assert "unknown ca" in said and "archive.info" not in said


RELAY = """
import os, socket, ssl, subprocess, sys, threading
own = ("/pgha/tls/host.crt", "/pgha/tls/host.key")
server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
server.load_cert_chain(*own)
client = ssl.create_default_context(cafile="/pgha/tls/ca.crt")
if sys.argv[1] == "with":
    client.load_cert_chain(*own)
listener = socket.create_server(("", 0))

def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass

def relay():
    while True:
        ours = server.wrap_socket(listener.accept()[0], server_side=True)
        theirs = client.wrap_socket(socket.create_connection(("pgbackrest", 8432)), server_hostname="pgbackrest")
        for pair in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=copy, args=pair, daemon=True).start()

threading.Thread(target=relay, daemon=True).start()
port = listener.getsockname()[1]
line = ["pgbackrest", "--stanza=pg_ha_db", f"--repo1-host={socket.gethostname()}", f"--repo1-host-port={port}",
        "--protocol-timeout=10", "--db-timeout=5", "repo-ls", "archive/pg_ha_db"]
print(subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout)
"""
"""Lets pgBackRest speak to the repository's server through a connection that shows its certificate, or none."""


def test_without_a_certificate_the_server_answers_nothing(small):
    assert "archive.info" in small.run("pg1-node1", "python3", "-", "with", user="postgres", stdin=RELAY)
    said = small.run("pg1-node1", "python3", "-", "without", user="postgres", stdin=RELAY)
    assert "archive.info" not in said and "ERROR" in said


def test_a_server_that_was_killed_is_started_again(small):
    for host in ("pgbackrest", "pg1-node1"):
        small.run(host, "pkill", "-KILL", "-f", "^pgbackrest server")
        until(
            lambda host=host: not small.shell(host, "pgbackrest server-ping localhost 2>&1 | grep ERROR || true"),
            f"pgBackRest's server of {host} answers",
        )


def test_the_repository_is_encrypted(small):
    assert small.stanza()["cipher"] == "aes-256-cbc"
    passphrase = small.passwords()["repository"]
    assert passphrase not in small.shell("pg1-node1", "cat /pgha/config/*")
    info = small.shell("pgbackrest", "cat /pgha/pgbackrest/backup/pg_ha_db/backup.info | head -c 8 | od -c")
    assert "S   a   l   t   e   d" in info
    listed = small.shell("pgbackrest", "ps -eo args")
    assert passphrase not in listed + small.logs("pgbackrest")
    assert passphrase not in (small.folder / "compose.yaml").read_text()
