"""Two members: a restore that is killed in each of its stages, undone or completed; a damaged repository, and one that
was away; the repository alone; cron."""

import re
import signal
import threading
import time

import pytest
from tools import PATIENCE, Writer, docker, finish, now, rows, sentences, take_backup, until, write

pytestmark = pytest.mark.integration

STAGES = ["held", "restoring", "restored", "proven", "promoted", "leading", "cloning"]


@pytest.fixture
def table(small):
    """An empty table of its own, with a backup that has it."""
    name = f"t{time.time_ns()}"
    small.sql(small.leader(), f"create table {name} (n int)")
    take_backup(small, "--type", "incr")
    return name


def stage_of(stack):
    try:
        return re.search(r"^stage: (\S+)$", (stack.folder / "restore.yaml").read_text(), re.MULTILINE)[1]
    except FileNotFoundError:
        return ""


def kill_at(stack, stage, *line):
    """Run `inv restore` and kill it as soon as it has reached this stage."""
    process = stack.begin("restore", *line)
    until(lambda: stage_of(stack) == stage or process.poll() is not None, f"stage {stage}", 120, 0.01)
    assert process.poll() is None, finish(process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    return stage_of(stack)


LONG = pytest.mark.long


@pytest.mark.parametrize("stages", [("restored",), pytest.param(STAGES, marks=LONG)], ids=["one", "every"])
def test_killed_in_a_stage_and_completed_by_the_same_command(small, table, stages):
    write(small, 1, 2, table=table)
    wanted = now()
    write(small, 3, table=table)
    line = ("--time", wanted, "--yes")
    for stage in stages:
        reached = kill_at(small, stage, *line)
        assert reached in STAGES[STAGES.index(stage) :]
        if stage == "restored":
            said = small.status()
            assert any("half done" in problem for problem in sentences(said))
            assert "half done" in small.refused(3, "failover", "--candidate", "pg1-node1")
            assert "half done" in small.refused(3, "up")
            assert "half done" in small.refused(3, "chaos.kill", "--node", "pg1-node1")
            other = small.refused(2, "restore", "--xid", "5", "--yes")
            assert wanted in other
    if stages[-1] == "cloning":
        assert "already leads" in small.refused(2, "restore", "--abort", "--yes")
    small.inv("restore", *line)
    small.wait_well()
    assert rows(small, table) == [1, 2]
    assert small.status()["healthy"] is True
    small.inv("backup", "--type", "incr")


def check_copy(stack):
    """The server that has reached the point and waits there reaches nobody."""
    node = re.search(r"^node: (\S+)$", (stack.folder / "restore.yaml").read_text(), re.MULTILINE)[1]
    names = "'max_logical_replication_workers', 'shared_preload_libraries', 'primary_conninfo', 'archive_mode'"
    query = f"select pg_is_in_recovery(), array_agg(setting order by name) from pg_settings where name in ({names})"
    told = stack.run(node, "psql", "-XAt", "-h", "/tmp/aside", "-d", "postgres", "-c", query, user="postgres")
    assert told.strip() == 't|{off,0,"",""}'


@pytest.mark.parametrize(
    "stage",
    [pytest.param("held", marks=LONG), pytest.param("restoring", marks=LONG), pytest.param("restored", marks=LONG),
     "proven", pytest.param("promoted", marks=LONG)],
)  # fmt: skip
def test_killed_in_a_stage_and_undone(small, table, stage):
    write(small, 1, 2, table=table)
    wanted = now()
    leader, configuration = small.leader(), small.dynamic_configuration()
    archived = small.archived()
    with Writer(small.dsn(), f"kept{time.time_ns()}") as writer:
        if kill_at(small, stage, "--time", wanted, "--yes") == "proven":
            check_copy(small)
        small.inv("restore", "--abort", "--yes")
        writer.wait_for_more()
    assert small.wait_well()
    assert not writer.missing()
    assert rows(small, table) == [1, 2]
    assert small.leader() == leader
    assert small.dynamic_configuration() == configuration
    # Nothing of the undone restore is in the archive, where it would lead every later recovery astray.
    histories = small.shell("pgbackrest", "find /pgha/pgbackrest/archive -name '*.history'").split()
    timeline = int(small.sql(leader, "select timeline_id from pg_control_checkpoint()"))
    assert max([int(path[-16:-8], 16) for path in histories], default=1) <= timeline
    assert set(archived) <= set(small.archived())
    assert small.status()["healthy"] is True
    assert "No restore is half done" in small.refused(3, "restore", "--abort")


@LONG
@pytest.mark.parametrize(("stage", "happens"), [("held", "stop"), ("restored", "restart")])
def test_an_interrupted_restore_survives_the_containers(small, table, stage, happens):
    xid = write(small, 1, table=table)
    write(small, 2, table=table)
    kill_at(small, stage, "--xid", xid, "--yes")
    docker(happens, *(small.container(node) for node in small.nodes))
    if stage == "restored":
        until(lambda: "not started: inv restore holds Patroni back" in small.logs("pg1-node1"), "Patroni is held back")
    small.inv("restore", "--yes")
    assert rows(small, table) == [1]


@LONG
def test_to_a_transaction_a_position_and_a_backup(small, table):
    timeline = small.sql(small.leader(), "select timeline_id from pg_control_checkpoint()")
    xid = write(small, 1, table=table)
    position = small.sql(small.leader(), "select pg_current_wal_lsn()")
    write(small, 2, table=table)
    small.inv("backup", "--type", "incr")
    label = small.backups()[-1]
    write(small, 3, table=table)

    small.inv("restore", "--xid", xid, "--yes")
    assert rows(small, table) == [1]
    write(small, 10, table=table)

    # That backup is on a timeline which the first restore has left.
    small.inv("restore", "--set", label, "--yes")
    assert rows(small, table) == [1, 2]

    said = small.inv("restore", "--lsn", position, "--timeline", timeline, "--yes")
    assert rows(small, table) == [1]
    assert f"requested: lsn {position}, timeline {timeline}" in said.stdout
    small.inv("backup", "--type", "incr")


@LONG
def test_without_a_target_to_the_end_of_the_archive(small, table):
    write(small, 1, 2, table=table)
    small.inv("restore", "--yes")
    assert rows(small, table) == [1, 2]


def test_no_leader_at_all(small, table):
    """Patroni is paused, so nobody is promoted: the archive is all there is."""
    write(small, 1, table=table)
    small.inv("restore-point", "--name", table)
    small.run("pg1-node1", "patronictl", "pause", "--wait")
    docker("kill", small.container(small.leader()))
    small.inv("restore", "--name", table, "--yes")
    assert rows(small, table) == [1]
    small.run("pg1-node1", "patronictl", "resume", "--wait", check=False)
    small.wait_well()


def test_the_repository_is_all_that_is_left(small, table):
    write(small, 1, 2, 3, table=table)
    small.inv("restore-point", "--name", f"end_of_{table}")
    identifier = small.system_identifier()
    backups = small.backups()
    small.inv("destroy", "--yes", "--keep-repository")
    assert small.volumes() == {f"{small.name}_pgbackrest"}

    small.inv("render", "-d", "1", "-p", "2", "up", "restore", "--yes")
    small.wait_well()
    assert rows(small, table) == [1, 2, 3]
    assert small.system_identifier() == identifier
    assert small.backups() == backups
    small.inv("backup", "--type", "incr")
    assert small.status()["healthy"] is True


def test_a_flipped_byte_is_found_and_named(small):
    small.inv("backup")
    small.inv("verify")
    assert small.status()["backup"]["verified"]["ok"] is True
    label = small.backups()[-1]
    find = f"find /pgha/pgbackrest/backup/pg_ha_db/{label} -path '*bundle/*' -size +4k | head -n 1"
    path = small.shell("pgbackrest", find).strip()
    flip = (
        "p=$0; b=$(dd if=$p bs=1 skip=2000 count=1 2>/dev/null | od -An -tu1); "
        'printf "\\\\$(printf %o $((b ^ 1)))" | dd of=$p bs=1 seek=2000 conv=notrunc 2>/dev/null'
    )
    small.run("pgbackrest", "sh", "-c", flip, path)
    try:
        said = small.refused(4, "verify")
        assert f"{label}/bundle/{path.rsplit('/', 1)[1]}" in said
        assert any("verify" in problem for problem in sentences(small.status()))
    finally:
        small.run("pgbackrest", "sh", "-c", flip, path)
    small.inv("verify")
    assert small.status()["healthy"] is True


@LONG
@pytest.mark.parametrize("seconds", [0, 60])
def test_the_repository_is_away_under_load(small, table, seconds):
    small.sql(small.leader(), f"create table filler_{table} (b text)")
    count = "select failed_count from pg_stat_archiver"
    with Writer(small.dsn(), f"away{time.time_ns()}") as writer:
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                small.sql(small.leader(), f"insert into filler_{table} select repeat(md5(n::text), 30) "
                          "from generate_series(1, 9000) n", check=False)  # fmt: skip

        load = threading.Thread(target=churn)
        load.start()
        try:
            failures = int(small.sql(small.leader(), count))
            docker("stop", small.container("pgbackrest"))
            failed = writer.failures
            went = time.monotonic()
            until(lambda: small.status()["backup"]["waiting_segments"] > 2, "the backlog grows", 60)
            assert any("pgbackrest" in problem for problem in sentences(small.status()))
            assert "wait, the oldest for" in small.inv("status").stdout
            leader, before = small.leader(), small.sql(small.leader(), "select pg_current_wal_lsn()")
            assert "HINT" in small.refused(5, "backup")
            assert "HINT" in small.refused(5, "restore", "--yes")
            assert (small.leader(), stage_of(small)) == (leader, "")
            # The archiver tries a segment three times, then it waits for a minute or for the next segment.
            until(lambda: writer.wait_for_more() or int(small.sql(leader, count)) >= failures + 3, "it gave up", 90)
            until(lambda: writer.wait_for_more() or time.monotonic() > went + seconds, f"{seconds} s are over", 120)
            assert writer.failures == failed
            assert before < small.sql(leader, "select pg_current_wal_lsn()")
            docker("start", small.container("pgbackrest"))
        finally:
            stop.set()
            load.join(60 * PATIENCE)
        until(lambda: small.status()["backup"]["waiting_segments"] == 0, "the backlog drains", 120, 1)
        writer.wait_for_more()
    small.run("pgbackrest", "pgbackrest", "--stanza=pg_ha_db", "check", user="postgres")
    small.inv("restore", "--yes")
    assert not writer.missing()


EVERY_MINUTE = {"schedule_full": "", "schedule_diff": "", "schedule_incr": "* * * * *", "schedule_verify": "* * * * *"}


@pytest.fixture
def scheduled(small):
    """The schedule runs every minute; afterwards there is none."""
    assert "nothing is scheduled" in small.inv("schedule", "--show").stdout
    small.settings = EVERY_MINUTE
    try:
        shown = small.inv("schedule").stdout
        assert re.search(r"incr +│ repository +│ \* \* \* \* \* +│ \d{4}-", shown)
        yield small
        small.inv("schedule", "--off")
    finally:
        small.settings = {}
    assert "nothing is scheduled" in small.inv("schedule", "--show").stdout
    for host in (*small.nodes, "pgbackrest"):
        assert "scheduled" not in small.shell(host, "crontab -u postgres -l | grep -v '^#'", check=False)


@pytest.mark.long
def test_cron_takes_and_verifies_backups_by_itself(scheduled):
    before = scheduled.backups()
    until(lambda: len(scheduled.backups()) > len(before), "cron takes a backup", 90, 1)

    def done():
        jobs = {job["job"]: job for job in scheduled.status()["backup"]["schedule"]}
        names = ("incr", "verify-repository", "verify-backup")
        return jobs and all(jobs[name]["last_exit_code"] == 0 for name in names) and jobs

    until(done, "the last results are in status", 90, 2)
