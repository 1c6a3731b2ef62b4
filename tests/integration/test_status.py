"""What `inv status` says of a cluster that runs and is not as it should be, and what else heeds it."""

import json

import psycopg
import pytest
from tools import docker, sentences, until

pytestmark = pytest.mark.integration


def kinds(stack):
    return {(problem["kind"], problem["host"]) for problem in stack.status()["problems"]}


def patronictl(stack, *words, **options):
    return stack.run(stack.nodes[0], "patronictl", *words, user="postgres", **options)


@pytest.fixture
def paused(small):
    """The small stack in maintenance mode; it is out of it afterwards."""
    patronictl(small, "pause", "--wait")
    yield small
    patronictl(small, "resume", "--wait", check=False)
    small.wait_well()


def test_a_pause_is_a_problem_with_its_way_out(paused):
    status = paused.status()
    assert (status["healthy"], status["paused"]) == (False, True)
    assert kinds(paused) == {("paused", None)}
    assert "inv resume" in paused.inv("status").stderr


@pytest.mark.parametrize("verb", ["up", pytest.param("start", marks=pytest.mark.long)])
def test_start_and_up_of_a_paused_cluster_say_so_instead_of_waiting(paused, verb):
    """In a pause Patroni starts no Postgres; its data are there when the pause ends."""
    paused.sql(paused.leader(), f"create table before_{verb} as select 1 n")
    paused.inv("stop")
    # The lock of the lost leader has to expire, no more: who waited for a leader would be ended by this test.
    said = paused.refused(3, verb, up_timeout=3600)
    assert "paused" in said and "inv resume" in said
    paused.inv("resume")
    paused.inv("up")
    assert paused.sql(paused.leader(), f"select n from before_{verb}") == "1"


@pytest.mark.long
def test_in_a_pause_no_watchdog_ends_a_postgres(paused):
    """Its Patroni is frozen until its lock has expired."""
    leader = paused.leader()
    started = paused.sql(leader, "select pg_postmaster_start_time()")
    key = "/service/pgha_cluster/leader"
    lock = ("etcdctl", "--endpoints=https://localhost:2379", "get", "--print-value-only", key)
    assert paused.run("etcd1", *lock).strip() == leader
    ended = paused.logs(leader).count("watchdog: Patroni")
    paused.inv("chaos.pause", "--node", leader, "--process", "patroni")
    try:
        until(lambda: paused.run("etcd1", *lock).strip() != leader, "the lock has expired")
        assert paused.sql(leader, "select pg_postmaster_start_time()") == started
        assert paused.logs(leader).count("watchdog: Patroni") == ended
    finally:
        paused.inv("chaos.heal")


def test_a_pending_restart_names_its_parameter(small):
    small.wait_well()
    name = "postgresql.parameters.max_connections"
    patronictl(small, "edit-config", "--force", "-s", f"{name}=123")
    try:
        until(lambda: ("pending_restart", small.nodes[0]) in kinds(small), "the restart is pending", 30)
        assert any("max_connections" in sentence for sentence in sentences(small.status()))
        members = small.status()["members"]
        assert all("max_connections" in member["pending_restart"] for member in members)
    finally:
        patronictl(small, "edit-config", "--force", "-s", f"{name}=null")
    until(lambda: kinds(small) == set(), "nothing is pending", 30)


def test_a_standby_whose_replay_is_paused_is_told_and_no_backup_waits_for_it(paused):
    """Outside of maintenance mode Patroni goes on with a paused replay at its next look."""
    (standby,) = paused.replicas()
    paused.sql(standby, "select pg_wal_replay_pause()")
    try:
        paused.sql(paused.leader(), "create table unseen as select generate_series(1, 200000) n")

        def behind():
            return next(m["replay_lag_bytes"] > 1 << 20 for m in paused.status()["members"] if m["name"] == standby)

        until(behind, "the standby has not replayed it", 30)
        assert ("replay_paused", standby) in kinds(paused)
        assert f"{standby}: replay is paused" in paused.inv("status").stdout
        assert f"replay is paused on {standby}" in paused.inv("backup", "--type", "incr").stderr
    finally:
        paused.sql(standby, "select pg_wal_replay_resume()")


def test_a_slot_that_keeps_more_than_a_checkpoint_gives_back_is_told(small):
    leader = small.leader()
    # Patroni drops a slot that its configuration does not know.
    patronictl(small, "edit-config", "--force", "-s", "slots.forgotten.type=physical")
    small.sql(leader, "alter system set max_wal_size = '32MB'")
    small.sql(leader, "select pg_reload_conf()")
    try:
        until(lambda: small.sql(leader, "select 1 from pg_replication_slots where slot_name = 'forgotten'"), "a slot")
        for number in range(4):
            small.sql(leader, f"create table fills_{number} as select 1")
            small.sql(leader, "select pg_switch_wal()")
        until(lambda: ("slot_retains_wal", leader) in kinds(small), "status shows it", 30)
        assert "unused physical slot forgotten keeps" in small.inv("status").stdout
    finally:
        patronictl(small, "edit-config", "--force", "-s", "slots=null")
        small.sql(leader, "alter system reset max_wal_size")
        small.sql(leader, "select pg_reload_conf()")
    until(lambda: kinds(small) == set(), "all is well again", 30)


@pytest.fixture
def declared(small):
    """The small stack with a slot of its settings; without it afterwards."""
    small.settings = {"slots": "{cdc: {database: postgres, plugin: test_decoding}}"}
    small.inv("up")
    yield small
    small.settings = {}
    patronictl(small, "edit-config", "--force", "-s", "slots=null")
    small.inv("up")
    until(lambda: not any(logical(small, node) for node in small.nodes), "Patroni dropped it", 30)


def logical(stack, node):
    return stack.sql(node, "select slot_name from pg_replication_slots where slot_type = 'logical' order by 1").split()


def test_a_slot_of_the_settings_outlives_a_switchover_and_one_that_goes_is_named(declared):
    leader = declared.leader()
    assert {node: logical(declared, node) for node in declared.nodes} == {node: ["cdc"] for node in declared.nodes}
    assert kinds(declared) == set()
    declared.sql(leader, "create table sent as select 1 n")
    declared.sql(leader, "select pg_create_logical_replication_slot('loose', 'pgoutput')")
    assert kinds(declared) == {("slot_not_kept", leader)}
    said = declared.inv("switchover").stderr
    assert "the logical slot loose is dropped: nothing keeps it on another member" in said
    assert "cdc" not in said
    new = declared.wait_well()
    sent = declared.sql(new, "select data from pg_logical_slot_get_changes('cdc', null, null)")
    assert "table public.sent: INSERT: n[integer]:1" in sent, "it was committed before the switchover"
    until(lambda: logical(declared, leader) == ["cdc"], "Patroni dropped the other one", 30)
    declared.sql(new, "drop table sent")
    before = declared.containers("running")
    assert "slots." not in declared.inv("up").stderr
    assert declared.containers("running") == before
    assert logical(declared, new) == ["cdc"]


def test_a_password_that_was_changed_is_shown_and_set_back_by_up(small):
    leader = small.wait_well()
    small.sql(leader, "alter role postgres password 'of somebody else'")
    try:
        assert kinds(small) == {("login_failed", leader)}
        shown = small.inv("status")
        assert "password authentication failed" in shown.stdout and "inv up" in shown.stderr
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(small.dsn())
    finally:
        said = small.inv("up").stderr
    assert "the password of postgres had been changed" in said
    psycopg.connect(small.dsn()).close()
    assert kinds(small) == set()


def test_settings_that_differ_from_what_runs_are_shown_for_a_cluster_that_is_well(small):
    def asked(**settings):
        status = json.loads(small.inv("status", "--json", **settings).stdout)
        return status, [problem["kind"] for problem in status["problems"]]

    other = {"publish_address": "127.0.0.2", "postgres_port": small.own["postgres_port"] + 10}
    status, kinds_ = asked(**other)
    assert kinds_ == ["settings_differ"]
    assert "publish_address 127.0.0.2, not 127.0.0.1" in sentences(status)[0]
    assert status["leader"] == small.leader()
    assert small.inv("psql", "--command", "select 41 + 1", **other).stdout.split()[2] == "42"
    shape = ("render", "-d", "1", "-p", "2")
    files = {path: path.read_bytes() for path in small.folder.rglob("*") if path.is_file()}
    assert "another shape" in small.refused(3, *shape[:-1], "3")
    assert {path: path.read_bytes() for path in files} == files
    small.inv(*shape, **other)
    try:
        assert asked(**other)[1] == ["settings_differ"], "it is rendered, and not up"
    finally:
        small.inv(*shape)
    assert asked()[1] == []


def test_connections_that_are_used_up_are_told(small):
    leader = small.leader()
    limit = int(small.sql(leader, "show max_connections"))
    held = f"for i in $(seq {limit + 5}); do psql -XAtqc 'select pg_sleep(300)' > /dev/null 2>&1 & done; wait"
    docker("exec", "-d", "--user=postgres", small.container(leader), "sh", "-c", held)
    try:
        until(lambda: ("connections_exhausted", leader) in kinds(small), "status shows it", 60)
        assert small.status()["healthy"] is False
        assert f"Postgres on {leader} takes no connections" in small.refused(4, "backup", "--type", "incr")
    finally:
        small.run(leader, "pkill", "-f", r"postgres: .*\[local\] SELECT", check=False)
    until(lambda: kinds(small) == set(), "all is well again", 60)


@pytest.mark.long
def test_an_etcd_member_that_lost_its_volume_is_let_in_again_by_up(small):
    volume = f"{small.name}_etcd3"
    docker("rm", "--force", small.container("etcd3"))
    docker("volume", "rm", volume)
    said = small.inv("up").stderr
    assert "etcd3 had lost its data" in said
    assert small.etcd_healthy() == 3
    assert kinds(small) == set()
    before = small.containers()
    assert "had lost" not in small.inv("up").stderr
    assert small.containers() == before, "the next up changes nothing"
