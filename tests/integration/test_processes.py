"""What runs in the containers, where it keeps its data, and which networks it is on."""

import json

import psycopg
import pytest
from tools import docker, inspect, until

pytestmark = pytest.mark.integration

SITES = {"etcd1": "dc1", "etcd2": "dc2", "etcd3": "dc3", "etcd4": "dc1", "etcd5": "dc2", "pgbackrest": "backup"}


def site_of(host):
    return SITES.get(host) or f"dc{host[2]}"


def zombies(stack, host):
    return [line for line in stack.run(host, "ps", "-eo", "stat=,comm=").splitlines() if line.startswith("Z")]


def test_the_supervisor_is_process_one_and_reaps(main):
    for host in (*main.nodes, "pgbackrest"):
        assert main.run(host, "cat", "/proc/1/comm").strip() == "s6-svscan"
    host = main.nodes[0]
    main.shell(host, "(sleep 0.21; exit 7) >/dev/null 2>&1 & (sleep 0.31 &) >/dev/null 2>&1")
    until(lambda: not main.run(host, "pgrep", "-f", "sleep 0[.][23]1", check=False), "the orphans end")
    until(lambda: not zombies(main, host), "the orphans are reaped")


def test_a_killed_postgres_is_started_again_and_reaped(main):
    host = main.replicas()[0]
    postmaster = "head -1 /pgdata/17/postmaster.pid"
    before = main.shell(host, postmaster)
    main.shell(host, f"kill -9 $({postmaster})")
    until(lambda: main.shell(host, postmaster) != before, f"{host} has another Postgres")
    main.wait_well()
    until(lambda: not zombies(main, host), "the killed processes are reaped")


def test_a_killed_patroni_is_started_again(main):
    host = main.replicas()[0]
    before = main.run(host, "pgrep", "-f", "bin/patroni").split()
    main.run(host, "kill", "-9", *before)
    until(lambda: set(main.run(host, "pgrep", "-f", "bin/patroni").split()).isdisjoint(before), "a new Patroni")
    main.wait_well()


def test_a_killed_replica_rejoins_by_itself(main):
    host = main.replicas()[1]
    docker("kill", main.container(host))
    main.sql(main.leader(), "create table written_while_one_was_away as select 1 n")
    docker("start", main.container(host))
    main.wait_well()
    until(lambda: main.sql(host, "select n from written_while_one_was_away") == "1", f"{host} has the new row")


def test_every_container_becomes_healthy(main):
    until(lambda: set(main.healths().values()) == {"healthy"}, "every health check passes", 90, 1)


def test_a_node_without_patroni_becomes_unhealthy(main):
    host = main.replicas()[0]
    (check,) = [entry["Config"]["Healthcheck"]["Test"] for entry in inspect(main.container(host))]
    assert check[0] == "CMD"
    # Its Patroni may have been started a moment ago: Postgres streams before the API listens.
    until(lambda: main.run(host, *check[1:]) == "", f"{host} is healthy")
    main.run(host, "s6-svc", "-wD", "-d", "/service/patroni")
    try:
        with pytest.raises(AssertionError):
            main.run(host, *check[1:])
    finally:
        main.run(host, "s6-svc", "-u", "/service/patroni")
    main.wait_well()


def test_etcd_lives_in_its_volume(main):
    leader = main.leader()
    line = ["patronictl", "-c", "/pgha/config/patroni.conf", "history", "-f", "json"]
    history = json.loads(main.run(leader, *line))
    for host in (h for h in SITES if h.startswith("etcd")):
        mounts = {m["Destination"]: m for m in inspect(main.container(host))[0]["Mounts"]}
        assert mounts["/var/lib/etcd"]["Name"] in main.volumes()
        assert main.run(host, "ls", "/var/lib/etcd/member").split() == ["snap", "wal"]
    docker("rm", "--force", *(main.container(h) for h in SITES if h.startswith("etcd")))
    main.inv("up")
    assert main.etcd_healthy() == 5
    assert json.loads(main.run(leader, *line))[: len(history)] == history


def test_postgres_and_the_repository_live_in_their_volumes(main):
    for host, folder in (("pg1-node1", "/pgdata"), ("pgbackrest", "/pgha/pgbackrest")):
        mounts = {m["Destination"]: m.get("Name") for m in inspect(main.container(host))[0]["Mounts"]}
        assert mounts[folder] in main.volumes()


def test_every_container_is_on_its_sites_network_and_on_wan(main):
    for entry in inspect(*main.containers().values()):
        host = entry["Name"].removeprefix(f"/{main.name}-")
        assert set(entry["NetworkSettings"]["Networks"]) == {f"{main.name}_{site_of(host)}", f"{main.name}_wan"}
    assert main.networks() == {f"{main.name}_{site}" for site in ("dc1", "dc2", "dc3", "backup", "wan")}


@pytest.fixture
def cut_off(main):
    """Take a data center off the wide area network; it is back afterwards, at its own addresses."""
    cut, before = [], main.addresses()

    def cut_off(site):
        for host in main.containers():
            if site_of(host) == site:
                docker("network", "disconnect", f"{main.name}_wan", main.container(host))
                cut.append(host)
        return cut

    yield cut_off
    for host in cut:
        wan = f"{main.name}_wan"
        docker("network", "connect", "--ip", before[host][wan], "--alias", host, wan, main.container(host))
    main.wait_well()


def test_a_data_center_that_is_cut_off_keeps_its_ports_and_its_neighbours(main, cut_off):
    leader = main.leader()
    site = next(f"dc{n}" for n in (3, 2, 1) if f"dc{n}" != site_of(leader))
    nodes = [host for host in cut_off(site) if host.startswith("pg")]
    for host in nodes:
        with psycopg.connect(main.conninfo(host)) as connection:
            assert connection.execute("select pg_is_in_recovery()").fetchone() == (True,)
        assert main.openssh(host, "hostname").stdout.strip() == host
    main.run(nodes[0], "curl", "-fsS", "-m", "3", f"https://{nodes[1]}:8008/liveness")
    with pytest.raises(AssertionError):
        main.run(nodes[0], "curl", "-fsS", "-m", "3", f"https://{leader}:8008/liveness")
    assert main.leader() == leader
