"""One data center is cut off: every task tells and does what the majority's side knows and wants."""

import json

import psycopg
import pytest
from tools import docker, inspect, now, take_backup, until

pytestmark = pytest.mark.integration

NODES = {site: f"pg{site[2]}-node1" for site in ("dc1", "dc2", "dc3")}
ETCD = {"dc1": "etcd1", "dc2": "etcd2", "dc3": "etcd3"}


def told_by(stack, host):
    """What a member's own REST API says of the cluster, without this project."""
    return json.loads(stack.run(host, "curl", "-s", "-m", "3", "https://localhost:8008/cluster"))["members"]


def lead_from(stack, site):
    """Let the site that is cut off next be the leader's."""
    if stack.leader() != NODES[site]:
        stack.inv("failover", "--candidate", NODES[site])
        stack.wait_well()
    return stack.wait_synchronous()


@pytest.fixture
def cut(sites):
    """Cut a data center off with its leader and wait until another one leads; healed afterwards."""

    def cut(site):
        old = lead_from(sites, site)
        sites.inv("chaos.partition", "--dc", site)
        other = next(node for name, node in NODES.items() if name != site)

        def led_elsewhere():
            leads = [m["name"] for m in told_by(sites, other) if m["role"] == "leader" and m["state"] == "running"]
            return leads and leads[0] != NODES[site] and leads[0]

        return old, until(led_elsewhere, "another site leads", 60)

    yield cut
    sites.inv("chaos.heal")
    sites.wait_well()


@pytest.mark.parametrize("site", ["dc1", *(pytest.param(site, marks=pytest.mark.long) for site in ("dc2", "dc3"))])
def test_status_and_the_verbs_believe_the_majority(sites, cut, site):
    old, new = cut(site)

    def settled():
        status = sites.status()
        (state,) = (m["state"] for m in status["members"] if m["name"] == NODES[site])
        return status["leader"] == new and state == "cut off" and status

    status = until(settled, "status says who leads, and who is cut off", 30)
    assert status["etcd"]["has_quorum"] is True
    assert status["etcd"]["unhealthy"] == [ETCD[site]]
    (shown,) = (m for m in status["members"] if m["name"] == NODES[site])
    assert shown["role"] in ("", "replica")
    cut_off = {problem["host"] for problem in status["problems"] if problem["kind"] == "cut_off"}
    assert cut_off == {NODES[site], ETCD[site]}
    assert old == NODES[site]
    look_around(sites, new)
    take_backups(sites, verify=site == "dc3")
    refuse_what_takes_all(sites, site)
    (candidate,) = set(NODES.values()) - {NODES[site], new}
    assert f"switchover {new} -> {candidate}" in sites.inv("failover", "--candidate", candidate).stdout


def look_around(stack, leader):
    """What is read: the majority's."""
    assert stack.inv("config", "--json").stdout
    assert "can be restored" in stack.inv("info").stdout
    stack.inv("schedule")
    try:
        hosts = (*NODES.values(), "pgbackrest")
        assert all("verify-" in stack.shell(host, "crontab -u postgres -l") for host in hosts)
        assert "repository" in stack.inv("schedule", "--show").stdout
    finally:
        stack.inv("schedule", "--off")
    with psycopg.connect(stack.dsn()) as connection:
        assert connection.info.port == stack.published(leader, 5432)
    for flags, is_standby in (((), "f"), (("--standby",), "t")):
        assert f"\n {is_standby}\n" in stack.inv("psql", *flags, "--command", "select pg_is_in_recovery()").stdout
    for host in (NODES["dc1"], "pgbackrest"):
        assert stack.inv("ssh", "--node", host, "--command", "hostname").stdout.strip() == host


def take_backups(stack, verify):
    """Archiving is looked at, a backup is taken, and restored for real, on the majority's side."""
    assert "pgbackrest check passed" in stack.inv("stanza").stdout
    before = stack.backups()
    take_backup(stack, "--type", "incr")
    assert len(stack.backups()) == len(before) + 1
    if verify:
        assert "is good" in stack.inv("verify").stdout


def refuse_what_takes_all(stack, site):
    """A member that is out of reach would come back with the old data; nothing is touched."""
    leader = stack.leader()
    said = stack.refused(3, "restore", "--time", now(), "--yes")
    assert f"{NODES[site]} is cut off, and a restore takes every member along" in said
    assert not (stack.folder / "restore.yaml").exists()
    assert stack.leader() == leader
    assert "chaos.heal" in stack.refused(3, "drill", "--name", "switchover")


def test_a_repository_that_is_cut_off_is_named_and_nothing_waits_for_it(sites):
    leader = sites.wait_well()
    sites.inv("chaos.partition", "--dc", "backup")
    try:
        for line in (
            ("backup",),
            ("backup", "--type", "incr"),
            ("stanza",),
            ("restore", "--time", now(), "--yes"),
            ("restore-point", "--name", "never"),
        ):
            # 3: it was looked at before; what waits in vain ends with 4 or 6.
            said = sites.refused(3, *line)
            assert f"The repository (pgbackrest) is cut off from {leader}" in said, line
            assert "inv chaos.heal" in said
        assert "can be restored" in sites.inv("info").stdout
        assert sites.status()["leader"] == leader
        assert sites.inv("psql", "--command", "select 1").returncode == 0
        assert "nothing is scheduled" in sites.inv("schedule", "--show").stdout
    finally:
        sites.inv("chaos.heal")
    assert sites.wait_well() == leader
    until(lambda: sites.status()["healthy"], "everything is archived", 90)


def image(stack):
    return inspect(stack.container("etcd1"))[0]["Config"]["Image"]


def test_a_network_that_was_taken_from_a_container_by_hand_is_named_and_mended(sites):
    """docker network disconnect: no rule of ours, and the container runs."""
    host = next(node for node in sites.nodes if node != sites.leader())
    before = sites.addresses()
    docker("network", "disconnect", f"{sites.name}_wan", sites.container(host))
    seen = [(p["kind"], p["host"]) for p in sites.status()["problems"]]
    assert ("network_missing", host) in seen
    # Somebody else, who gets what is free, does not get its address.
    other = docker("run", "--detach", "--rm", f"--network={sites.name}_wan", "--entrypoint=sleep", image(sites), "600")
    try:
        sites.inv("chaos.heal")
    finally:
        docker("rm", "--force", other.strip())
    assert sites.wait_well()
    assert sites.addresses() == before
    docker("network", "disconnect", f"{sites.name}_wan", sites.container(host))
    sites.inv("up")
    assert sites.wait_well()
    assert sites.addresses() == before
    assert sites.status()["problems"] == []
