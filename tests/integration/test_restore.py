"""Six members: back in time and forth again, wrong targets, a clone, and a leader that is gone."""

import re
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tools import Writer, docker, until

pytestmark = pytest.mark.integration


def now():
    return datetime.now(UTC)


def rows(stack, table="numbered"):
    return [int(n) for n in stack.sql(stack.leader(), f"select n from {table} order by n").split()]


def write(stack, *numbers, table="numbered"):
    """Numbered rows, each a transaction; returns the last one's xid."""
    leader = stack.leader()
    return [stack.sql(leader, f"insert into {table} values ({n}) returning xmin") for n in numbers][-1]


def pause():
    """Points in time that are apart."""
    time.sleep(1.1)
    return now().isoformat()


def check_cluster(stack):
    """One leader, all others streaming on its timeline, no slot left behind, archiving works, a backup can be taken."""
    leader = stack.wait_well()
    assert stack.sql(leader, "select count(*) from pg_replication_slots where not active") == "0"
    before = stack.backups()
    stack.run("pgbackrest", "pgbackrest", "--stanza=pg_ha_db", "check", user="postgres")
    stack.inv("backup", "--type", "incr")
    assert len(stack.backups()) == len(before) + 1
    assert stack.status()["healthy"] is True
    assert not (stack.folder / "restore.yaml").exists()


@pytest.fixture
def numbered(main):
    """A table with the rows 1 to 3, and a backup that has them."""
    main.sql(main.wait_well(), "drop table if exists numbered; create table numbered (n int)")
    write(main, 1, 2, 3)
    main.inv("backup", "--type", "incr")
    time.sleep(1.1)
    return main


def test_back_to_just_before_a_table_was_dropped(numbered):
    write(numbered, 4, 5)
    just_before = pause()
    write(numbered, 6)
    numbered.sql(numbered.leader(), "drop table numbered")
    before = numbered.leader()

    answer = numbered.inv("restore", "--time", just_before, "--yes")
    assert rows(numbered) == [1, 2, 3, 4, 5]
    leader = numbered.wait_well()
    assert leader != before  # the old leader's data was kept until the new state was proven
    assert answer.stdout.count("pgbackrest (delta)") == 5
    reached = re.search(r"reached: +(\S+), last transaction (\S+ \S+), now on timeline (\d+)", answer.stdout)
    assert just_before[:10] in reached[2] and datetime.fromisoformat(reached[2]) <= datetime.fromisoformat(just_before)
    assert int(reached[3]) == int(numbered.sql(leader, "select timeline_id from pg_control_checkpoint()"))
    assert f"requested: time {just_before}" in answer.stdout
    assert re.search(r"set: +\d{8}-\d{6}F", answer.stdout)
    assert "restore " in answer.stdout.split("seconds:")[1]
    check_cluster(numbered)


def test_to_a_restore_point_and_then_to_points_before_and_after_that_fork(numbered):
    earlier = pause()
    write(numbered, 4)
    numbered.inv("restore-point", "--name", "before the mistake")
    write(numbered, 5)

    numbered.inv("restore", "--name", "before the mistake", "--yes")
    assert rows(numbered) == [1, 2, 3, 4]
    write(numbered, 10)
    between = pause()
    write(numbered, 11)

    numbered.inv("restore", "--time", between, "--yes")
    assert rows(numbered) == [1, 2, 3, 4, 10]

    numbered.inv("restore", "--time", earlier, "--yes")
    assert rows(numbered) == [1, 2, 3]
    check_cluster(numbered)


def test_the_leader_is_gone(numbered):
    write(numbered, 4)
    wanted = pause()
    write(numbered, 5)
    docker("kill", numbered.container(numbered.leader()))
    numbered.inv("restore", "--time", wanted, "--yes")
    assert rows(numbered) == [1, 2, 3, 4]
    check_cluster(numbered)


def test_a_member_made_anew_comes_from_the_repository(main):
    replica = main.replicas()[0]
    main.sql(main.leader(), "select pg_switch_wal()")  # an idle leader has nothing more to switch
    main.run(replica, "patronictl", "reinit", "pgha_cluster", replica, "--force", "--wait")
    until(lambda: "replica has been created using pgbackrest" in main.logs(replica), "Patroni says how it was made")
    main.wait_well()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--time", (now() - timedelta(days=30)).isoformat()], "before the first backup"),
        (["--time", (now() + timedelta(days=1)).isoformat()], "in the future"),
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
def test_a_wrong_target_is_refused_and_nobody_notices(main, flags, words):
    leader = main.wait_well()
    with Writer(main.dsn(), f"noticing_{time.time_ns()}") as writer:
        said = main.refused(2, "restore", *flags, "--yes")
        writer.wait_for_more()
    assert words in said
    assert not writer.missing(main)
    assert writer.longest_gap() < 1.5
    assert main.leader() == leader
    assert not (main.folder / "restore.yaml").exists()


def test_a_refusal_shows_what_can_be_restored(main):
    said = main.refused(2, "restore", "--time", "2020-01-01", "--yes")
    shown = re.search(r"what can be restored: (\S+ \S+) to (\S+ \S+) \(WAL [0-9A-F]{24}\)", said)
    begin, end = (datetime.fromisoformat(text) for text in shown.groups())
    stops = [backup["timestamp"]["stop"] for backup in main.stanza()["backup"]]
    assert min(stops) <= begin.timestamp() <= min(stops) + 1
    assert begin < end <= now()
    assert shown[0].removeprefix("what can be restored: ") in main.inv("info").stdout


def test_a_restore_asks_first(main):
    assert "Nobody can be asked" in main.refused(2, "restore")
    main.wait_well()


def test_a_time_on_a_timeline_that_was_left_is_said_before_anything_happens(numbered):
    """Also when the leader's own timeline has archived no segment yet, as after every switchover."""
    point = pause()
    write(numbered, 4)
    numbered.sql(numbered.leader(), "select pg_switch_wal()")
    left = pause()
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
    wanted = pause()
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
        assert {m["Member"] for m in numbered.members()} == set(numbered.nodes)
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


def test_keys_of_the_hosts_run_nothing_but_pgbackrest_at_the_repository(main):
    for source, target in (("pg1-node1", "pgbackrest"), ("pgbackrest", "pg1-node1")):
        for command in ("hostname", "pgbackrest info", "pgbackrest archive-get:remote; hostname"):
            answer = main.shell(source, f"ssh {target} '{command}' 2>&1", user="postgres", check=False)
            assert target not in answer.split(), (source, command, answer)
            assert "pg_ha_db" not in answer


def test_the_repository_is_encrypted(main):
    assert main.stanza()["cipher"] == "aes-256-cbc"
    passphrase = main.passwords()["repository"]
    assert passphrase not in main.shell("pg1-node1", "cat /pgha/config/*")
    info = main.shell("pgbackrest", "cat /pgha/pgbackrest/backup/pg_ha_db/backup.info | head -c 8 | od -c")
    assert "S   a   l   t   e   d" in info
    listed = main.shell("pgbackrest", "ps -eo args")
    assert passphrase not in listed + main.logs("pgbackrest")
    assert passphrase not in (main.folder / "compose.yaml").read_text()
