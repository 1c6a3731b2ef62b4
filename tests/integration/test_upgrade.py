"""Upgrades while a client writes: the newest packages, and another major version."""

import json
import os
import signal

import pytest
from tools import Writer, docker, finish, inspect, load, until

pytestmark = pytest.mark.integration

LOCALE = "de_DE.UTF-8"
"""With a locale it is an image of another name: no other stack of this host runs it."""


def image_of(stack, host):
    """Its name and its identity."""
    container = inspect(stack.container(host))[0]
    return container["Config"]["Image"], container["Image"]


def checked(writer):
    """Nothing that was acknowledged is missing, nobody wrote beside the leader, and it changed at most once."""
    assert not writer.missing()
    assert not writer.verdict().two_leaders
    assert len({write.timeline for write in writer.writes if write.outcome == "acknowledged"}) <= 2


# Minor ------------------------------------------------------------------------------------------------------


def test_where_nothing_is_newer_no_container_is_made_again(small):
    before = small.containers("running")
    plan = json.loads(small.inv("upgrade", "--minor", "--plan", "--json").stdout)
    node = plan["hosts"][small.nodes[0]]["runs"]
    assert set(node) == {"PostgreSQL", "Patroni", "pgBackRest"}
    assert small.sql(small.leader(), "show server_version").split()[0] == node["PostgreSQL"].split("-")[0]
    assert set(plan["hosts"]["etcd1"]["runs"]) == {"etcd"}
    if plan["newer"] or plan["rollout"]["way"] != "nothing":
        pytest.skip("the package mirror has something newer than the images of this host")
    said = small.inv("upgrade", "--minor").stdout
    assert "the package mirror has nothing newer" in said and "no container is made again" in said
    assert small.containers("running") == before
    assert "inv upgrade --minor" in small.refused(2, "upgrade")


@pytest.fixture
def own_image(small):
    """The stack, its nodes on an image of a name that no other stack uses; back on the usual one afterwards."""
    usual, _ = image_of(small, small.nodes[0])
    image = f"{usual}-{LOCALE}"
    docker("tag", usual, image)
    small.wait_synchronous()
    small.inv("up", "--at-once", locales=LOCALE)
    small.wait_synchronous()
    yield small, usual, image
    small.inv("up", "--at-once")
    assert small.wait_well()
    docker("rmi", "--force", image)


@pytest.mark.long
def test_an_image_that_was_built_again_is_rolled_out_while_a_client_writes(own_image):
    """No package is newer just now: the image gets a label, as one that was built before an interruption."""
    stack, usual, image = own_image
    leader = stack.leader()
    (replica,) = stack.replicas()
    before = stack.containers("running")
    docker("build", "--tag", image, "-", input=f"FROM {usual}\nLABEL pgha.test=newer\n")
    newer = docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    with Writer(stack.dsn(), "written_during_upgrade") as writer:
        done = json.loads(stack.inv("upgrade", "--minor", "--json", locales=LOCALE).stdout)
        writer.wait_for_more()
    checked(writer)
    assert sorted(done["made_again"]) == sorted(stack.nodes)
    assert (done["switchover"]["from"], done["switchover"]["to"]) == (leader, replica)
    assert {image_of(stack, node) for node in stack.nodes} == {(image, newer)}
    after = stack.containers("running")
    assert {host for host in before if before[host] != after[host]} == set(stack.nodes)
    assert not (stack.folder / "rollout.yaml").exists()


# Major ------------------------------------------------------------------------------------------------------


def version(stack):
    return stack.sql(stack.leader(), "select current_setting('server_version_num')::int / 10000")


def record(stack):
    path = stack.folder / "upgrade.yaml"
    return load(path.read_text()) if path.exists() else {}


@pytest.fixture
def older(bench):
    """One data center with two nodes of an older major, a table in a tablespace, an extension; gone afterwards."""
    stack = bench.stacks[bench.group]

    def older(major):
        stack.clear()
        stack.inv("render", "-d", "1", "-p", "2", "-v", major, "build", "up", "stanza", "backup", timeout=600)
        leader = stack.wait_synchronous()
        for node in stack.nodes:
            stack.run(node, "mkdir", "/pgdata/ts", user="postgres")
        stack.sql(leader, "create tablespace ts location '/pgdata/ts'")
        stack.sql(leader, "create table in_ts (n int primary key) tablespace ts")
        stack.sql(leader, "insert into in_ts select generate_series(1, 1000)")
        stack.sql(leader, "create extension pg_stat_statements")
        return stack

    yield older
    stack.clear()


def whole(stack, major):
    """Everything of this major: data, members, etcd, archiving, backups."""
    assert stack.wait_synchronous()
    assert version(stack) == major
    assert stack.sql(stack.leader(), "select count(*), sum(n) from in_ts") == "1000|500500"
    assert {stack.sql(node, "show data_checksums") for node in stack.nodes} == {"on"}
    for node in stack.nodes:
        left = set(stack.run(node, "ls", "/pgdata").split())
        assert left - {"ts", "archive_gap", "verify.log", "verified.json", f"{major}.log"} == {major}, node
        assert len(stack.run(node, "ls", "/pgdata/ts").split()) == 1
    assert record(stack) == {}
    assert stack.etcd_healthy() == 3
    assert stack.status()["problems"] == []


UPGRADE = ("upgrade", "--major", "17", "--yes")


def without_a_copy_of_what_is_only_here(stack, leader):
    """An extension that the new major's image lacks is named before anything is touched."""
    extension = "/usr/share/postgresql/15/extension/only_here"
    stack.run(leader, "sh", "-c", f"echo \"default_version = '1'\" > {extension}.control; : > {extension}--1.sql")
    stack.sql(leader, "create extension only_here")
    before = stack.containers("running")
    said = stack.refused(3, *UPGRADE, timeout=600)
    assert "lacks the extension only_here of the database postgres" in said
    assert stack.containers("running") == before and record(stack) == {}
    stack.sql(leader, "drop extension only_here")


@pytest.mark.long
def test_another_major_while_a_client_writes(older):
    stack = older("15")
    leader, identifier = stack.leader(), stack.system_identifier()
    with Writer(stack.dsn(), "written_during_upgrade") as writer:
        without_a_copy_of_what_is_only_here(stack, leader)
        assert "no way back to 14" in stack.refused(2, "upgrade", "--major", "14", "--yes")
        before = stack.containers("running")
        steps = json.loads(stack.inv("upgrade", "--major", "17", "--plan", "--json").stdout)["steps"]
        assert any(f"stopped on every member, {leader} last" in step for step in steps)
        assert stack.containers("running") == before and record(stack) == {}
        done = json.loads(stack.inv(*UPGRADE, "--json", timeout=900).stdout)
        writer.wait_for_more()
    assert not writer.missing()
    assert not writer.verdict().two_leaders
    assert (done["from"], done["to"], done["leader"]) == (15, 17, leader)
    assert any("pg_stat_statements" in note for note in done["notes"])
    whole(stack, "17")
    assert stack.system_identifier() != identifier
    after = stack.containers("running")
    assert not {*before.values()} & {*after.values()}
    present = [b for b in stack.stanza()["backup"] if b["database"]["id"] == stack.stanza()["db"][-1]["id"]]
    assert [b["type"] for b in present] == ["full"]
    assert "nothing is to be upgraded" in stack.inv(*UPGRADE).stdout
    assert "inv render -d 1 -p 2 -n pg -v 17" in stack.refused(3, "render", "-d", "1", "-p", "2", "-v", "18")

    # A backup of the old major is no way to a point in time any more; those of the new one are.
    stack.inv("backup", "--type", "incr")
    stack.inv("verify", timeout=600)
    stack.inv("restore", "--yes", timeout=600)
    whole(stack, "17")


@pytest.mark.long
def test_logical_slots_are_given_up_only_when_that_is_said(older):
    stack = older("15")
    stack.sql(stack.leader(), "select pg_create_logical_replication_slot('cdc', 'pgoutput')")
    said = stack.refused(3, *UPGRADE)
    assert "would be lost, and their consumers their place: cdc" in said
    said = stack.inv(*UPGRADE, "--drop-slots", timeout=900).stdout
    assert "these logical slots are gone: cdc" in said
    whole(stack, "17")


def killed_in(stack, process, stage):
    """SIGKILL in a stage; what pg_upgrade's own container does then goes on by itself."""
    until(lambda: record(stack).get("stage") == stage or process.poll() is not None, f"it is at {stage}", 900, 0.02)
    os.killpg(process.pid, signal.SIGKILL)
    _, said = finish(process)
    assert record(stack).get("stage") == stage, said


@pytest.mark.long
def test_killed_in_any_stage_it_is_completed_or_undone(older):
    stack = older("15")
    leader, identifier = stack.leader(), stack.system_identifier()
    with Writer(stack.dsn(), "written_during_killed_upgrade") as writer:
        for stage in ("held", "upgrading"):
            killed_in(stack, stack.begin(*UPGRADE), stage)
            assert "upgrade_half_done" in {problem["kind"] for problem in stack.status()["problems"]}
            assert "inv upgrade --abort" in stack.refused(3, "up")
            assert "is half done, not to 16" in stack.refused(2, "upgrade", "--major", "16", "--yes")
            stack.inv("upgrade", "--abort", "--yes")
            writer.wait_for_more()
            assert stack.wait_synchronous() == leader
            assert stack.system_identifier() == identifier
            whole(stack, "15")
        for stage in ("held", "upgrading", "leading", "cloning"):
            killed_in(stack, stack.begin(*UPGRADE), stage)
        assert "leads with PostgreSQL 17 already" in stack.refused(2, "upgrade", "--abort", "--yes")
        stack.inv(*UPGRADE, timeout=900)
        writer.wait_for_more()
    assert not writer.missing()
    whole(stack, "17")
    assert stack.system_identifier() != identifier


@pytest.mark.long
def test_a_new_major_that_is_older_than_the_old_ones_minor_release_touches_nothing(older):
    """17 to 18: Debian testing may have an 18 from before the 17 of stable, which writes what that does not know."""
    stack = older("17")
    before = stack.containers("running")
    answer = stack.try_inv("upgrade", "--major", "18", "--yes", timeout=900)
    if answer.returncode:
        assert answer.returncode == 4 and "pg_upgrade fails with a copy of the schemas" in answer.stderr
        assert stack.containers("running") == before and record(stack) == {}
        pytest.skip(f"pg_upgrade of these packages: {answer.stderr.splitlines()[-2]}")
    whole(stack, "18")
