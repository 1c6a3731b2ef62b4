"""Breaking things by mechanism and healing them, as the engine, Postgres and the network see it."""

import socket
import subprocess
import time

import pytest
from tools import Writer, docker, finish, healed, inspect, port_is_taken, record, sentences, until

pytestmark = pytest.mark.integration


@pytest.fixture
def chaos(small):
    """Two nodes, healed afterwards."""
    yield small
    healed(small)


@pytest.mark.parametrize(
    ("mechanism", "state"),
    [pytest.param("stop", "exited", marks=pytest.mark.long), ("kill", "exited"), ("pause", "paused")],
)
def test_a_container_is_broken_and_healed(chaos, mechanism, state):
    host = chaos.replicas()[0]
    chaos.inv(f"chaos.{mechanism}", "--node", host)
    assert host in chaos.containers(state)
    assert f"{host} is" in chaos.inv("status").stdout
    said = chaos.refused(3, "chaos.kill", "--node", host)
    assert host in said
    shown = chaos.inv("chaos.heal").stdout
    assert f"healed: {host}" in shown
    assert host in chaos.containers("running")
    assert "nothing was broken" in chaos.inv("chaos.heal").stdout


def test_heal_revives_what_something_else_broke(chaos):
    host = chaos.replicas()[0]
    docker("kill", chaos.container(host))
    assert f"{host} did not run" in chaos.inv("chaos.heal").stdout
    assert host in chaos.containers("running")


def started(stack, host):
    return inspect(stack.container(host))[0]["State"]["StartedAt"]


def test_a_container_that_was_started_since_is_left_alone(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.stop", "--node", host)
    docker("start", chaos.container(host))
    before = started(chaos, host)
    assert not any("chaos" in problem for problem in sentences(chaos.status()))
    chaos.inv("chaos.heal")
    assert started(chaos, host) == before


def test_a_port_that_a_client_got_meanwhile_is_waited_for(chaos):
    host = chaos.replicas()[0]
    port = chaos.published(host, 5432)
    chaos.inv("chaos.kill", "--node", host)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        healing = chaos.begin("chaos.heal")
        until(lambda: port_is_taken(chaos, host), "its start failed")
        assert healing.poll() is None
    code, said = finish(healing)
    assert code == 0, said
    assert host in chaos.containers("running")


def test_what_was_broken_inside_a_killed_container_ended_with_it(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.pause", "--node", host, "--process", "sshd", "chaos.kill", "--node", host)
    shown = chaos.inv("chaos.heal").stdout
    assert f"healed: sshd on {host} is paused" in shown
    assert f"healed: {host} is killed" in shown
    assert chaos.openssh(host, "hostname").stdout.strip() == host


def test_a_stop_that_is_still_under_way_is_waited_for(chaos):
    """As after a command that was killed: the engine goes on with what it was asked."""
    host = chaos.replicas()[0]
    record(chaos).write_text(f"- {{mechanism: stop, host: {host}, process: '', sites: [], milliseconds: 0}}\n")
    with subprocess.Popen(["docker", "stop", "-t", "120", chaos.container(host)], stdout=subprocess.DEVNULL):
        chaos.inv("chaos.heal")
    assert host in chaos.containers("running")
    assert chaos.wait_well()


def test_a_damaged_record_is_named(chaos):
    record(chaos).write_text("- 7\n")
    try:
        assert "broken.yaml is damaged" in chaos.refused(3, "chaos.heal")
        assert any("damaged" in problem for problem in sentences(chaos.status()))
    finally:
        record(chaos).unlink()


def test_sshd_is_stopped_and_heal_does_not_need_it(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.stop", "--node", host, "--process", "sshd")
    assert chaos.openssh(host, "hostname").returncode != 0
    assert chaos.leader(), "the cluster does not need sshd"
    chaos.inv("chaos.heal")
    assert chaos.openssh(host, "hostname").stdout.strip() == host


def test_a_frozen_postgres_goes_on_when_it_is_healed(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.pause", "--node", host, "--process", "postgres")
    states = chaos.shell(host, "ps -o stat= -C postgres").split()
    assert states and all(state.startswith("T") for state in states)
    chaos.inv("chaos.heal")
    assert chaos.sql(host, "select pg_is_in_recovery()") == "t"


def pids(stack, host):
    return stack.run(host, "pgrep", "-f", "bin/patroni").split()


def began(stack, host):
    """When the Postgres of a host was started, and by which Patroni it is looked after."""
    return stack.sql(host, "select pg_postmaster_start_time()"), pids(stack, host)


def watchdog_acted(stack, host):
    """How often, since the container was made."""
    return stack.logs(host).count("watchdog: Patroni has not renewed its lock")


def test_a_leader_whose_patroni_hangs_is_ended_before_its_lock_expires_and_a_standby_is_not(chaos):
    leader, (standby,) = chaos.leader(), chaos.replicas()
    before = {host: began(chaos, host) for host in chaos.nodes}
    ended = {host: watchdog_acted(chaos, host) for host in chaos.nodes}
    with Writer(chaos.dsn(), "written_while_patroni_hung") as writer:
        for host in (standby, leader):
            chaos.inv("chaos.pause", "--node", host, "--process", "patroni")
        until(lambda: watchdog_acted(chaos, leader) > ended[leader], "the watchdog acted")
        until(lambda: set(pids(chaos, leader)).isdisjoint(before[leader][1]), "another Patroni")
        assert began(chaos, standby) == before[standby]
        chaos.inv("chaos.heal")
        writer.wait_for_more()
    assert not writer.missing()
    chaos.wait_well()
    assert began(chaos, leader)[0] != before[leader][0]
    assert watchdog_acted(chaos, standby) == ended[standby]


def pass_by(seconds):
    """Wait until the clock has gone on: here time is the state."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, f"{seconds} s have passed", 2 * seconds)


@pytest.mark.long
def test_a_host_that_slept_for_longer_than_the_lock_lives_ends_no_postgres(chaos):
    before = {host: began(chaos, host) for host in chaos.nodes}
    containers = chaos.containers().values()
    docker("pause", *containers)
    try:
        pass_by(30)
    finally:
        docker("unpause", *containers)
    chaos.wait_well()
    pass_by(20)
    assert {host: began(chaos, host) for host in chaos.nodes} == before


def test_wiped_data_is_cloned_again(chaos):
    host = chaos.replicas()[0]
    before = chaos.run(host, "stat", "-c", "%i", "/pgdata/17/PG_VERSION")
    chaos.sql(chaos.leader(), "create table written_before_the_wipe as select 1 n")
    chaos.inv("chaos.wipe", "--node", host)
    until(lambda: chaos.run(host, "stat", "-c", "%i", "/pgdata/17/PG_VERSION") != before, f"{host} is cloned")
    chaos.wait_well()
    assert chaos.sql(host, "select n from written_before_the_wipe") == "1"
    assert chaos.run(host, "ls", "/pgdata").split() == ["17"]


def problems(stack):
    return {(problem["kind"], problem["host"], problem["sentence"]) for problem in stack.status()["problems"]}


def test_a_disk_is_full_and_this_hosts_is_not(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.fill", "--node", host)
    assert chaos.shell(host, "df --output=avail /pgdata | tail -n 1").strip() == "0"
    answer = chaos.shell(host, "echo one more > /pgdata/more 2>&1 || true; cat /pgdata/more")
    assert answer.strip() in ("", "sh: 1: echo: echo: I/O error") or "No space" in answer
    assert ("disk_full", host, f"the disk of {host} is 100 % full, 0B free") in problems(chaos)
    chaos.sql(chaos.leader(), "create table written_while_a_disk_is_full as select generate_series(1, 200000) n")
    until(lambda: "No space left on device" in chaos.logs(host), f"{host} has no space")
    chaos.inv("chaos.heal")
    chaos.wait_well()
    assert chaos.shell(host, "stat -f -c %T /pgdata").strip() != "tmpfs"
    assert "ballast" not in chaos.run(host, "ls", "/pgdata")
    assert chaos.sql(host, "select count(*) from written_while_a_disk_is_full") == "200000"


def made_at(stack, host):
    """Tells a data directory from a new one."""
    return stack.run(host, "stat", "-c", "%i", "/pgdata/17/global/pg_control")


def test_a_small_disk_that_was_never_made_takes_no_data_with_it(chaos):
    """The record is written first: what was interrupted after that leaves the volume as it was."""
    host = chaos.replicas()[0]
    before = made_at(chaos, host)
    record(chaos).write_text(f"- {{mechanism: fill, host: {host}, process: '', sites: [], milliseconds: 0}}\n")
    assert f"healed: the disk of {host} is full" in chaos.inv("chaos.heal").stdout
    assert made_at(chaos, host) == before
    assert chaos.shell(host, "stat -f -c %T /pgdata").strip() != "tmpfs"


@pytest.mark.parametrize("role", ["leader", pytest.param("replica", marks=pytest.mark.long)])
def test_a_node_that_lost_its_small_disk_is_cloned_again(chaos, role):
    """It ends with its container, and what the volume holds is older. The DCS may still call the node the leader."""
    chaos.wait_synchronous()
    host = chaos.leader() if role == "leader" else chaos.replicas()[0]
    before = made_at(chaos, host)
    chaos.inv("chaos.fill", "--node", host)
    docker("restart", chaos.container(host))
    assert "is not full" in chaos.refused(4, "chaos.fill", "--node", host)
    chaos.inv("chaos.heal")
    assert chaos.wait_well() != host
    assert made_at(chaos, host) != before
    assert "moved" not in chaos.run(host, "ls", "/pgdata")


@pytest.mark.long
def test_down_does_not_forget_that_data_is_not_the_newest(chaos):
    host = chaos.replicas()[0]
    before = made_at(chaos, host)
    chaos.inv("chaos.fill", "--node", host, "chaos.stop", "--node", host, "--process", "sshd", "down")
    assert f"The small disk of {host} ended with its container" in chaos.refused(3, "up")
    assert "not started: the data here is not the newest" in chaos.logs(host)
    assert not any("sshd" in problem for problem in sentences(chaos.status()))
    chaos.inv("chaos.heal")
    chaos.wait_well()
    assert made_at(chaos, host) != before


@pytest.mark.parametrize("task", [pytest.param("up", marks=pytest.mark.long), "start"])
def test_a_task_ends_what_it_starts_again(chaos, task):
    """A container that is started again has a new network and new processes; what runs stays broken."""
    stopped, other = chaos.replicas()[0], chaos.leader()
    chaos.inv("chaos.stop", "--node", other, "--process", "sshd")
    chaos.inv("chaos.stop", "--node", stopped, "--process", "sshd", "chaos.kill", "--node", stopped)
    chaos.inv(task)
    left = sentences(chaos.status())
    assert any(f"sshd on {other}" in problem for problem in left)
    assert not any(problem.startswith("broken by chaos") and stopped in problem for problem in left)
    assert chaos.openssh(stopped, "hostname").stdout.strip() == stopped


def test_what_cannot_be_broken_is_refused(chaos):
    assert "etcd1 runs no Postgres" in chaos.refused(2, "chaos.wipe", "--node", "etcd1")
    assert "etcd1 runs no patroni" in chaos.refused(2, "chaos.kill", "--node", "etcd1", "--process", "patroni")
    assert "dc9" in chaos.refused(2, "chaos.partition", "--dc", "dc9")
    assert "from itself" in chaos.refused(2, "chaos.partition", "--dc", "dc1", "--from", "dc1")
    assert "either a node or a data center" in chaos.refused(2, "chaos.stop")
    assert "0 ms" in chaos.refused(2, "chaos.delay", "--dc", "dc1", "--ms", "0")
    assert not record(chaos).exists()
