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

    numbered.inv("restore", "--name", name, "--yes")
    assert rows(numbered) == [1, 2, 3, 4]
    if after:
        write(numbered, 10)
        between = now()
        write(numbered, 11)
        numbered.inv("restore", "--time", between, "--yes")
        assert rows(numbered) == [1, 2, 3, 4, 10]

    numbered.inv("restore", "--time", earlier, "--yes")
    assert rows(numbered) == [1, 2, 3]
    check_restored(numbered)


def test_a_member_made_anew_comes_from_the_repository(small):
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
        assert rows(numbered) == [1, 2, 3, 4]
        assert set(numbered.members()) == set(numbered.nodes)
        newest = [name for name in numbered.archived() if name > archived]
        assert {name[:8] for name in newest} <= {archived[:8]}
        assert numbered.leader() == leader
    finally:
        numbered.inv("clone", "--remove")
    assert not docker("ps", "--all", "--quiet", f"--filter=name=^{numbered.name}-clone$")
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


def test_keys_of_the_hosts_run_nothing_but_pgbackrest_at_the_repository(small):
    for source, target in (("pg1-node1", "pgbackrest"), ("pgbackrest", "pg1-node1")):
        for command in ("hostname", "pgbackrest info", "pgbackrest archive-get:remote; hostname"):
            answer = small.shell(source, f"ssh {target} '{command}' 2>&1", user="postgres", check=False)
            assert target not in answer.split(), (source, command, answer)
            assert "pg_ha_db" not in answer


def test_the_repository_is_encrypted(small):
    assert small.stanza()["cipher"] == "aes-256-cbc"
    passphrase = small.passwords()["repository"]
    assert passphrase not in small.shell("pg1-node1", "cat /pgha/config/*")
    info = small.shell("pgbackrest", "cat /pgha/pgbackrest/backup/pg_ha_db/backup.info | head -c 8 | od -c")
    assert "S   a   l   t   e   d" in info
    listed = small.shell("pgbackrest", "ps -eo args")
    assert passphrase not in listed + small.logs("pgbackrest")
    assert passphrase not in (small.folder / "compose.yaml").read_text()
