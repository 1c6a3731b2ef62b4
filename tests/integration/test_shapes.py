"""Other shapes and versions come up, stream, and put another member in charge."""

import pytest
from tools import docker, inspect, until

pytestmark = pytest.mark.integration


@pytest.fixture
def shape(bench):
    """Bring up a shape; it is gone afterwards."""
    bench.shape.clear()

    def shape(data_centers, nodes, *more, prefix="pg", line=("up",), **settings):
        bench.shape.settings = settings
        bench.shape.nodes = tuple(
            f"{prefix}{dc}-node{n}" for dc in range(1, data_centers + 1) for n in range(1, nodes + 1)
        )
        flags = ["-d", str(data_centers), "-p", str(nodes), "-n", prefix, *more]
        # The suite's beginning built the images of one release.
        build = ["build"] if "-v" in more else []
        shape.line = bench.shape.inv("render", *flags, *build, *line, timeout=500)
        bench.shape.wait_well()
        return bench.shape

    yield shape
    bench.shape.clear()
    bench.shape.settings = {}


def etcd_sites(stack):
    """Network of the site -> its etcd members, as the engine sees it."""
    sites = {}
    for host, identity in stack.containers("running").items():
        if host.startswith("etcd"):
            networks = set(inspect(identity)[0]["NetworkSettings"]["Networks"]) - {f"{stack.name}_wan"}
            sites.setdefault(networks.pop().removeprefix(f"{stack.name}_"), []).append(host)
    return sites


def awaited(stack):
    """Patroni sets it a moment after the standbys stream."""
    return stack.sql(stack.leader(), "show synchronous_standby_names")


def version(stack):
    return stack.sql(stack.leader(), "select current_setting('server_version_num')::int / 10000")


def test_two_data_centers_have_a_witness(shape):
    stack = shape(2, 2)
    assert {site: len(members) for site, members in etcd_sites(stack).items()} == {"dc1": 1, "dc2": 1, "witness": 1}
    assert stack.etcd_healthy() == 3
    until(lambda: awaited(stack).startswith("ANY 2 ("), "commits wait for two standbys")
    assert stack.status()["healthy"] is True


def test_one_node_alone(shape):
    stack = shape(1, 1, prefix="db", line=("up", "stanza", "backup"))
    assert stack.nodes == ("db1-node1",)
    assert stack.leads("db1-node1")
    assert stack.sql("db1-node1", "show synchronous_standby_names") == ""
    stack.sql("db1-node1", "create table written_alone ()")
    assert len(stack.backups()) == 1
    assert stack.status()["healthy"] is True
    assert "db1-node1" in stack.refused(2, "failover", "--candidate", "db1-node1")
    restore_with_a_tablespace(stack, "db1-node1")


def restore_with_a_tablespace(stack, node):
    """The old data is kept beside the restored one until the end, also what it has in a tablespace."""
    stack.run(node, "mkdir", "/pgdata/ts", user="postgres")
    stack.sql(node, "create tablespace ts location '/pgdata/ts'")
    stack.sql(node, "create table in_ts tablespace ts as select 1 n")
    stack.inv("backup", "--type", "incr")
    stack.sql(node, "insert into in_ts values (2)")
    stack.inv("restore", "--set", stack.backups()[-1], "--yes")
    assert stack.sql(node, "select n from in_ts") == "1"
    assert stack.shell(node, "find /pgdata -name '*.kept' -o -name '17.tablespaces'") == ""


@pytest.mark.long
def test_nine_nodes(shape):
    stack = shape(3, 3)
    sites = etcd_sites(stack)
    assert sum(len(members) for members in sites.values()) == stack.etcd_healthy() == 5
    assert max(len(members) for members in sites.values()) == 2
    until(lambda: awaited(stack).startswith("ANY 3 ("), "commits wait for three standbys")
    assert len(stack.status()["members"]) == 9


@pytest.mark.long
def test_postgres_15_runs_with_quorum_commit_and_with_its_old_libpq(shape):
    stack = shape(1, 3, "-v", "15", line=("up", "stanza", "backup"))
    assert version(stack) == "15"
    assert stack.dynamic_configuration()["synchronous_mode"] == "quorum"
    until(lambda: awaited(stack).startswith("ANY 1 ("), "a commit waits for one standby")
    assert len(stack.backups()) == 1
    # Its libpq does not know load_balance_hosts.
    assert " t" in stack.inv("psql", "--standby", "--command", "select pg_is_in_recovery()").stdout
    string = stack.dsn("--inside", "--standby")
    assert stack.run("pg1-node1", "psql", string, "-XAtc", "select pg_is_in_recovery()").strip() == "t"
    other = stack.replicas()[0]
    stack.inv("failover", "--candidate", other)
    assert stack.wait_well() == other
    assert stack.dynamic_configuration()["synchronous_node_count"] == 1
    assert stack.status()["healthy"] is True


@pytest.mark.long
def test_postgres_18(shape):
    stack = shape(1, 2, "-v", "18", line=("up", "stanza", "backup"))
    assert version(stack) == "18"
    until(lambda: awaited(stack).startswith("ANY 1 ("), "commits wait for a standby")
    assert stack.sql(stack.leader(), "show data_checksums") == "on"
    candidate = stack.replicas()[0]
    stack.inv("failover", "--candidate", candidate)
    assert stack.wait_well() == candidate
    assert len(stack.backups()) == 1
    assert stack.status()["healthy"] is True


def test_without_pgbackrest_there_is_no_repository_and_no_backup(shape):
    stack = shape(1, 2, pgbackrest="off")
    assert "pgbackrest" not in stack.containers()
    assert not [name for name in stack.volumes() | stack.networks() if name.endswith(("pgbackrest", "backup"))]
    for task in ("backup", "stanza", "info"):
        assert "pgBackRest" in stack.refused(2, task)
    assert "backup: off" in stack.inv("status").stdout
    assert stack.status()["backup"] is None


def test_nothing_is_up(bench):
    bench.shape.clear()
    for task in ("status", "start", "stop", "down", "config", "stanza", "backup", "switchover"):
        bench.shape.refused(3, task)
    assert bench.shape.containers() == {}
    assert "there was nothing" in bench.shape.inv("destroy", "--yes").stdout


def test_a_mirror_that_is_away_is_named_and_leaves_no_half_image(bench, monkeypatch):
    """With a base that is not here, and that no registry has."""
    base = "registry.invalid/debian:trixie-slim"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    said = bench.shape.refused(5, "build", base_image=base)
    assert f"{base} cannot be bootstrapped from the Debian mirror: E: " in said
    assert not docker("images", "--quiet", base) + docker("images", "--quiet", f"{base}-partial")
