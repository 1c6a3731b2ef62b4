"""Other passwords, keys and certificates, while a client writes; interrupted, and completed by the same command."""

import json
import os
import re
import signal
import threading

import psycopg
import pytest
from tools import STANZA, Writer, docker, finish, load, take_backup, until

pytestmark = pytest.mark.integration


def checked(writer):
    """No write failed, nothing that was acknowledged is missing, and nobody took over."""
    assert not writer.missing()
    assert not writer.verdict().two_leaders
    assert writer.failures == 0
    assert len({write.timeline for write in writer.writes if write.outcome == "acknowledged"}) == 1


STARTED = "select pg_postmaster_start_time()"


class Caller(threading.Thread):
    """A client that connects anew all the time, and keeps why it could not."""

    def __init__(self, string):
        super().__init__(daemon=True)
        self._string, self._over = string, threading.Event()
        self.calls, self.refusals = 0, []

    def run(self):
        while not self._over.is_set():
            try:
                psycopg.connect(self._string).close()
                self.calls += 1
            except psycopg.Error as error:
                self.refusals.append(str(error))
            self._over.wait(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


def shown_by_postgres(stack, node):
    line = "openssl s_client -starttls postgres -connect localhost:5432 < /dev/null 2>&1"
    return stack.run(node, "sh", "-c", line)


def rotate(stack, what, *flags):
    return json.loads(stack.inv("rotate", "--what", what, "--json", *flags).stdout)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    return finish(process)


def kinds(stack):
    return {problem["kind"] for problem in stack.status()["problems"]}


def made_again(stack):
    """Why `up` would make containers again."""
    plan = json.loads(stack.inv("up", "--plan", "--json").stdout)
    return {turn["because"] for turn in plan["turns"]}


def archives(stack):
    """The leader's next segment comes into the repository."""
    # One without a record is not switched.
    stack.sql(stack.leader(), "select pg_create_restore_point('next')")
    segment = stack.sql(stack.leader(), "select pg_walfile_name(pg_switch_wal())")
    until(lambda: segment in stack.archived(), f"{segment} is archived")


def trusted(stack, host):
    """Whom a container lets in over SSH, the host keys it knows, and the authorities it trusts."""
    users = stack.run(host, "cat", "/pgha/ssh/authorized_keys").splitlines()
    known = stack.run(host, "cat", "/etc/ssh/ssh_known_hosts").splitlines()
    return set(users), set(known), authorities(stack, host)


def authorities(stack, host):
    """How many authorities it trusts."""
    return stack.run(host, "grep", "-c", "BEGIN", "/pgha/tls/ca.crt").strip()


def hosts(stack):
    return [*stack.nodes, "pgbackrest"]


def test_passwords_are_replaced_while_clients_write_and_connect_and_completed_when_killed(small):
    """A rotation that is killed leaves both; the same command completes it, and `up` finds nothing to do."""
    small.wait_synchronous()
    passwords = small.folder / "passwords.yaml"
    old, containers = load(passwords.read_text()), small.containers("running")
    old_string = f"{small.dsn()} password={old['superuser']}"
    with Writer(small.dsn(), "written_during_rotation") as writer:
        first = small.begin("rotate", "--what", "passwords")
        until(lambda: "coming" in passwords.read_text(), "the new passwords are written down", 60, 0.02)
        os.killpg(first.pid, signal.SIGKILL)
        finish(first)
        half = load(passwords.read_text())
        assert {name: half[name] for name in old} == old
        assert "rotation_half_done" in {problem["kind"] for problem in small.status()["problems"]}
        assert "inv rotate --what passwords completes it" in small.refused(3, "up")
        done = json.loads(small.inv("rotate", "--what", "passwords", "--json").stdout)
        writer.wait_for_more()
    checked(writer)
    assert writer.failures == 0
    assert done["resumed"] and set(done["rotated"]) == {"superuser", "replication", "rewind", "restapi"}
    new = load(passwords.read_text())
    assert {name: new[name] for name in half["coming"]} == half["coming"] and "coming" not in new
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(old_string)
    psycopg.connect(small.dsn()).close()
    assert (small.containers("running"), made_again(small)) == (containers, set())


def test_keys_and_certificates_are_replaced_while_a_client_writes_and_wal_is_archived(small):
    small.wait_synchronous()
    leader, containers = small.leader(), small.containers("running")
    started = [small.sql(node, STARTED) for node in small.nodes]
    before = {host: trusted(small, host) for host in hosts(small)}
    plan = rotate(small, "keys", "--plan")
    assert [step["hosts"] for step in plan["steps"]] == [hosts(small)] * 3 and plan["refused"] == []
    with Writer(small.dsn(), "written_during_identities") as writer, Caller(small.dsn()) as caller:
        for what in ("keys", "certificates"):
            others = small.etcds if what == "certificates" else []
            assert rotate(small, what)["hosts"] == [*others, *hosts(small)]
        archives(small)
        writer.wait_for_more()
    checked(writer)
    assert caller.calls and not caller.refusals
    assert [small.sql(node, STARTED) for node in small.nodes] == started
    for node in small.nodes:
        own = (small.certificates_folder / "hosts" / f"{node}.crt").read_text()
        assert own in shown_by_postgres(small, node)
    for host in hosts(small):
        users, known, count = trusted(small, host)
        assert len(users) == 2 and not users & before[host][0]
        assert len(known) == 3 and not known & before[host][1]
        assert count == "1"
        assert small.openssh(host, "true").returncode == 0
    assert {authorities(small, host) for host in small.etcds} == {"1"} and small.etcd_healthy() == len(small.etcds)
    small.run(leader, "ssh", *small.replicas(), "true", user="postgres")
    assert (small.containers("running"), made_again(small)) == (containers, set())
    there = json.loads(small.inv("rotate", "--json").stdout)["rotatable"]
    assert {entry["what"] for entry in there} == {"passwords", "keys", "certificates", "passphrase"}
    assert small.status()["problems"] == []


@pytest.mark.long
@pytest.mark.parametrize("what", ["keys", "certificates"])
def test_a_rotation_of_identities_that_is_killed_anywhere_is_completed(small, what):
    """Killed before the first step, and after each of them; a container that is restarted in between takes what fits,
    and backups are taken meanwhile and afterwards."""
    small.wait_synchronous()
    containers = small.containers("running")
    with Writer(small.dsn(), "written_during_killed_rotation") as writer:
        for ended in ("", "trust the old and the new ones", "read by its .*: pg1-node1", "read by its .*: pgbackrest"):
            first = small.begin("rotate", "--what", what)
            if ended:
                until_said(first, rf"{ended}.*: done in")
            else:
                folder = {"keys": small.keys_folder, "certificates": small.certificates_folder}[what]
                until((folder / "coming").exists, "the new ones are there", 60, 0.01)
            kill(first)
            assert "rotation_half_done" in kinds(small)
            assert f"inv rotate --what {what} completes it" in small.refused(3, "backup")
            for host in hosts(small):
                small.inv("ssh", "--node", host, "--command", "true")
            docker("restart", small.container("pgbackrest"))
            archives(small)
            # As cron does.
            until(
                lambda: small.run("pgbackrest", "pgbackrest", f"--stanza={STANZA}", "backup", user="postgres"),
                "a backup",
            )
            assert rotate(small, what)["resumed"]
            assert kinds(small) & {"rotation_half_done", "archiving_fails"} == set()
        writer.wait_for_more()
    checked(writer)
    take_backup(small, "--type", "incr")
    assert (small.containers("running"), made_again(small)) == (containers, set())


def until_said(process, pattern):
    """Read what a command says until it says this."""
    said = ""
    while not re.search(pattern, said):
        line = process.stdout.readline()
        assert line, said
        said += line


@pytest.mark.long
def test_containers_that_are_made_again_or_started_have_what_was_rotated(small):
    small.wait_synchronous()
    for what in ("passwords", "keys", "certificates"):
        rotate(small, what)
    small.inv("stop")
    small.inv("start")
    leader = small.wait_synchronous()
    assert made_again(small) == set()
    # With the new ones members stream from each other, and Patroni takes the REST API's.
    small.inv("switchover")
    assert small.wait_synchronous() != leader
    small.inv("up", shm_size="300m")
    small.wait_synchronous()
    small.inv("up")
    small.wait_synchronous()
    archives(small)
    assert small.status()["problems"] == []
    # All at once, for keys that are lost: every container that has one is made again.
    small.inv("keys", "--rotate", "--yes")
    assert made_again(small) == {"their files changed"}
    small.inv("up")
    small.wait_synchronous()


@pytest.mark.long
def test_a_host_that_is_stopped_takes_it_when_it_starts(small):
    small.wait_synchronous()
    (replica,) = small.replicas()
    small.inv("stop", "--node", replica, "--degraded")
    try:
        for what in ("keys", "certificates"):
            assert rotate(small, what)["when_they_start"] == [replica]
    finally:
        small.inv("start", "--node", replica)
    small.wait_synchronous()
    small.inv("ssh", "--node", replica, "--command", "pgbackrest --stanza=pg_ha_db repo-ls archive/pg_ha_db")
    assert made_again(small) == set()


@pytest.mark.long
def test_a_frozen_host_is_named_before_anything_is_touched(small):
    small.wait_synchronous()
    (replica,) = small.replicas()
    docker("pause", small.container(replica))
    try:
        for what in ("passwords", "keys", "certificates"):
            assert replica in small.refused(3, "rotate", "--what", what)
            assert rotate(small, what, "--plan")["refused"]
    finally:
        docker("unpause", small.container(replica))
    small.wait_synchronous()
    assert "rotation_half_done" not in kinds(small)


@pytest.mark.long
def test_a_restore_and_a_clone_to_a_time_before_a_rotation_have_the_passwords_of_now(small):
    small.wait_synchronous()
    take_backup(small, "--type", "incr")
    wanted = small.sql(small.leader(), "select now()")
    rotate(small, "passwords")
    small.sql(small.leader(), "create table made_afterwards ()")
    made = small.inv("clone", "--time", wanted)
    try:
        dsn = re.search(r'psql "(.*)"', made.stdout)[1]
        psycopg.connect(dsn).close()
    finally:
        small.inv("clone", "--remove")
    small.inv("restore", "--time", wanted, "--yes")
    small.wait_synchronous()
    psycopg.connect(small.dsn()).close()
    assert small.sql(small.leader(), "select to_regclass('made_afterwards')") == ""
    small.inv("backup")
    assert small.status()["problems"] == []


def labels(stack):
    """pgBackRest's number of a repository -> the backups in it."""
    found = {}
    for backup in stack.stanza()["backup"]:
        found.setdefault(backup["database"]["repo-key"], []).append(backup["label"])
    return found


@pytest.mark.long
def test_another_passphrase_is_another_repository_and_the_former_one_restores_until_it_goes(small):
    small.wait_synchronous()
    take_backup(small, "--type", "incr")
    old, containers, before = small.passwords(), small.containers("running"), labels(small)
    first, second = sorted({1, 2}, key=lambda number: number not in before)
    small.sql(small.leader(), "drop table if exists rotated; create table rotated ()")
    wanted = small.sql(small.leader(), "select now()")
    archives(small)
    small.sql(small.leader(), "drop table rotated")
    with Writer(small.dsn(), "written_during_passphrase") as writer:
        process = small.begin("rotate", "--what", "passphrase")
        until_said(process, r"WAL into both: .*: done in")
        kill(process)
        assert "rotation_half_done" in kinds(small)
        assert "inv rotate --what passphrase completes it" in small.refused(3, "backup")
        assert rotate(small, "passphrase")["resumed"]
        archives(small)
        writer.wait_for_more()
    checked(writer)
    new = small.passwords()
    assert new["repository"] != old["repository"] == new["second"]["passphrase"]
    both = labels(small)
    assert both[first] == before[first] and len(both[second]) == 1
    assert (small.containers("running"), made_again(small), kinds(small)) == (containers, set(), set())
    assert small.passwords()["repository"] not in small.shell("pg1-node1", "cat /pgha/config/*")
    small.inv("verify")
    small.inv("verify", "--set", both[first][-1])
    clone = small.inv("clone", "--time", wanted).stdout
    try:
        with psycopg.connect(re.search(r'psql "(.*)"', clone)[1]) as there:
            assert there.execute("select to_regclass('rotated')").fetchone() == ("rotated",)
    finally:
        small.inv("clone", "--remove")
    small.inv("backup", "--type", "incr")
    assert labels(small)[first] == before[first]
    assert "retention_full" in small.refused(2, "rotate", "--what", "passphrase", "--remove-old")
    small.inv("rotate", "--what", "passphrase", "--remove-old", "--yes")
    assert set(labels(small)) == {second}
    archives(small)
    small.inv("verify")
    assert "is before" in small.refused(2, "clone", "--time", wanted)
    assert (small.containers("running"), made_again(small), kinds(small)) == (containers, set(), set())


@pytest.mark.long
def test_a_restore_from_the_former_repository_and_the_way_back_to_it(small):
    small.wait_synchronous()
    take_backup(small, "--type", "incr")
    before = labels(small)
    small.sql(small.leader(), "drop table if exists rotated; create table rotated ()")
    wanted = small.sql(small.leader(), "select now()")
    archives(small)
    small.sql(small.leader(), "drop table rotated")
    old = small.passwords()["repository"]
    rotate(small, "passphrase")
    small.inv("restore", "--time", wanted, "--yes")
    small.wait_synchronous()
    assert small.sql(small.leader(), "select to_regclass('rotated')") == "rotated"
    assert kinds(small) == {"backup_of_another"}
    small.inv("backup")
    assert kinds(small) == set()
    small.inv("switchover")
    small.wait_synchronous()
    (replica,) = small.replicas()
    small.inv("reinit", "--node", replica, "--from", "repository")
    small.inv("rotate", "--what", "passphrase", "--abort", "--yes")
    assert labels(small) == before and small.passwords()["repository"] == old
    archives(small)
    small.inv("backup", "--type", "incr")
    assert (made_again(small), kinds(small)) == (set(), set())
