"""One data center with two nodes: interrupted commands, the lock, and settings, keys and files that went wrong."""

import os
import signal
import socket

import pytest
from tools import docker, finish, interrupt, port_is_taken, sentences, until

pytestmark = pytest.mark.integration


@pytest.fixture
def nothing(bench):
    """A project of which nothing is there."""
    bench.small.clear()
    return bench.small


@pytest.fixture
def no_stanza(small):
    """With a repository in which there is nothing."""
    if small.stanza()["status"]["code"] not in (1, 3):
        small.clear()
        small.inv("render", "-d", "1", "-p", "2", "up")
    return small


@pytest.fixture
def small(bench):
    """Two nodes that stream; with or without a stanza."""
    return bench.need(bench.small, lambda: bench.small.inv("render", "-d", "1", "-p", "2", "up"))


@pytest.fixture
def archiving(small):
    """With a stanza, and with so much data that a backup can be interrupted in the middle."""
    small.inv("stanza")
    leader = small.wait_well()
    small.sql(
        leader,
        "create table if not exists big as select n, (select string_agg(md5(random()::text || m), '') "
        "from generate_series(1, 30) m) filler from generate_series(1, 150000) n",
    )
    return small


def test_up_that_was_interrupted_is_completed_by_up(nothing):
    stack = nothing
    stack.inv("render", "-d", "1", "-p", "2")
    first = stack.begin("up")
    until(lambda: 0 < len(stack.containers("running")) < 6, "some containers run", 60, 0.05)
    code, said = interrupt(first)
    assert code == 130
    assert "Interrupted" in said and "HINT: the same command completes what it began" in said

    second = stack.begin("up")
    until(lambda: len(stack.containers("running")) == 6, "all containers run", 60, 0.05)
    interrupt(second, signal.SIGKILL)

    stack.inv("up")
    assert stack.wait_well()
    assert stack.status()["problems"] == []


@pytest.mark.long
def test_start_waits_for_a_port_that_a_client_got_meanwhile(small):
    port = small.published("pg1-node1", 5432)
    small.inv("stop")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        starting = small.begin("start")
        # Compose has started the others by then.
        until(lambda: len(small.containers("running")) == 5, "the others run", 60)
        until(lambda: port_is_taken(small, "pg1-node1"), "its start failed")
        assert starting.poll() is None
        assert "pg1-node1" not in small.containers("running")
    code, said = finish(starting)
    assert code == 0, said
    assert "start pg1-node1 once more" in said
    assert small.wait_well()


def test_a_backup_needs_a_stanza(no_stanza):
    said = no_stanza.refused(3, "backup")
    assert "stanza" in said and "inv stanza" in said
    document = no_stanza.status()["backup"]
    assert document["archiving"] == "off" and document["last"] is None


def test_a_stanza_that_was_interrupted_is_completed_by_stanza(no_stanza):
    """Also when timelines came and went before there was anywhere to archive their histories."""
    small = no_stanza
    small.inv("switchover")
    small.wait_well()
    process = small.begin("stanza")
    until(lambda: small.stanza()["status"]["code"] == 2 or process.poll() is not None, "the stanza is there", 60, 0.05)
    interrupt(process, signal.SIGKILL)
    small.inv("stanza")
    assert "pgbackrest" in small.sql(small.leader(), "show archive_command")
    assert small.status()["backup"]["archiving"] == "on"
    assert "00000002.history" in small.shell("pgbackrest", "ls /pgha/pgbackrest/archive/$STANZA_NAME/17-1").split()


def test_ctrl_c_ends_a_stanza_while_pgbackrest_runs(small):
    small.inv("stanza")
    process = small.begin("stanza")
    until(lambda: small.pgbackrest_runs("check") or process.poll() is not None, "pgbackrest check runs", 60, 0.05)
    code, said = interrupt(process)
    assert code == 130, said
    assert "Interrupted" in said
    small.inv("stanza")


def backup_folders(stack):
    """What lies in the repository, of finished backups and of a running one."""
    return set(stack.shell("pgbackrest", "ls -d /pgha/pgbackrest/backup/$STANZA_NAME/2*/[bp]*", check=False).split())


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_a_backup_that_was_interrupted_is_completed_by_backup(archiving, number):
    before, folders = archiving.backups(), backup_folders(archiving)
    process = archiving.begin("backup")
    until(lambda: backup_folders(archiving) - folders or process.poll() is not None, "files are copied", 60, 0.05)
    code, said = interrupt(process, number)
    assert code == (130 if number == signal.SIGINT else -number), said
    until(lambda: not archiving.pgbackrest_runs("backup"), "nothing goes on behind an interrupted backup")
    assert archiving.backups() == before, "the backup was over before it was interrupted"
    archiving.inv("backup")
    assert archiving.backups()[-1] not in before
    assert archiving.stanza()["status"]["code"] == 0


def test_a_second_changing_command_is_told_who_holds_the_lock(archiving):
    process = archiving.begin("backup")
    until(lambda: archiving.pgbackrest_runs("backup") or process.poll() is not None, "pgbackrest runs", 60, 0.05)
    os.kill(process.pid, signal.SIGSTOP)  # it holds its lock, however quickly pgBackRest ends
    try:
        said = archiving.refused(3, "stanza")
        assert "inv backup" in said and str(process.pid) in said
        archiving.inv("status")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    code, output = finish(process)
    assert code == 0, output
    archiving.inv("stanza")


@pytest.mark.long
def test_a_port_that_is_taken_is_replaced_by_the_next_free_one_and_shown(small):
    port = small.published("pg1-node1", 5432)
    small.inv("down")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        until(lambda: other.bind(("127.0.0.1", port)) is None, "the port is free again", 90)
        other.listen()
        said = small.inv("up").stderr
    new = small.published("pg1-node1", 5432)
    assert new != port
    assert f"{port} -> {new}" in said
    assert f"port={new}," in small.dsn()
    assert small.wait_well()
    before = small.containers()
    assert "taken" not in small.inv("up").stderr
    assert small.containers() == before
    shape = ("render", "-d", "1", "-p", "2")
    small.inv(*shape, postgres_port=small.own["postgres_port"] + 10)
    small.inv(*shape)
    assert f"port={new}," in small.dsn(), "settings that came back find what runs"


@pytest.mark.long
def test_rotated_keys_lock_out_until_up_gives_them_to_the_containers(small):
    identifier = small.system_identifier()
    certificate = small.run("pg1-node1", "cat", "/pgha/tls/host.crt")
    small.inv("keys", "--rotate", "--yes")
    said = small.refused(5, "status")
    assert "inv up" in said
    small.refused(5, "config")
    small.inv("up")
    assert small.wait_well()
    # While all containers were made again the archiver may have failed three times; then it waits a minute.
    until(lambda: small.status()["problems"] == [], "WAL is archived with the new keys", 90)
    assert small.system_identifier() == identifier
    assert certificate != small.run("pg1-node1", "cat", "/pgha/tls/host.crt")
    if small.stanza()["status"]["code"] == 0:
        small.inv("backup", "--type", "incr")
    assert small.openssh("pg1-node1", "hostname").stdout.strip() == "pg1-node1"
    answer = small.run("pg1-node1", "ssh", "-o", "BatchMode=yes", "pg1-node2", "hostname", user="postgres")
    assert answer.strip() == "pg1-node2"


@pytest.mark.parametrize("flags", [["-d", "2", "-p", "2"], ["-d", "1", "-p", "2", "-v", "15"]])
def test_a_shape_that_does_not_fit_the_data_is_refused(small, flags):
    before = small.containers("running"), small.volumes(), small.system_identifier()
    said = small.refused(3, "render", *flags, "up")
    assert "-d 1 -p 2 -n pg -v 17" in said
    assert (small.containers("running"), small.volumes(), small.system_identifier()) == before
    small.inv("render", "-d", "1", "-p", "2", "up")
    assert small.containers("running") == before[0]


def test_lost_passwords_are_not_replaced_by_new_ones(small):
    before = small.containers("running")
    path = small.folder / "passwords.yaml"
    kept = path.rename(path.with_suffix(".away"))
    try:
        said = small.refused(3, "up")
        assert "passwords.yaml" in said
        assert small.containers("running") == before
    finally:
        kept.rename(path)
    small.inv("up")
    assert small.containers("running") == before


def test_damaged_passwords_are_named(small):
    path = small.folder / "passwords.yaml"
    kept = path.read_text()
    path.write_text("superuser: [")
    try:
        assert "passwords.yaml is damaged" in small.refused(3, "up")
        assert path.read_text() == "superuser: ["
    finally:
        path.write_text(kept)


@pytest.mark.parametrize("damage", ["flags: [", "flags: {}\n", "", "\x00\x01"])
def test_a_damaged_record_is_named(small, damage):
    path = small.folder / "project.yaml"
    kept = path.read_text()
    path.write_text(damage)
    try:
        for line in ("status", "up", "dsn"):
            assert "project.yaml is damaged" in small.refused(3, line)
    finally:
        path.write_text(kept)
    assert small.status()["problems"] == []


def test_a_removed_container_is_made_again(small):
    docker("rm", "--force", small.container("pg1-node1"))
    assert any("pg1-node1" in problem for problem in sentences(small.status()))
    small.inv("up")
    assert small.wait_well()


def test_paused_containers_do_not_block(small):
    node = next(node for node in small.nodes if node != small.leader())
    docker("pause", small.container(node))
    status = small.status()
    assert any(node in problem for problem in sentences(status))
    small.inv("up")
    assert small.wait_well()


def test_status_of_a_stack_without_any_postgres_is_an_error(small):
    docker("kill", *(small.container(node) for node in small.nodes))
    said = small.refused(5, "status")
    assert "pg1-node" in said and "inv up" in said
    small.inv("up")
    assert small.wait_well()
