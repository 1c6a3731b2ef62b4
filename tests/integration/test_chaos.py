"""Breaking things by mechanism and healing them, as the engine, Postgres and the network see it."""

import os
import signal
import socket
import subprocess

import pytest
from tools import Writer, docker, inspect, until

pytestmark = pytest.mark.integration


def site_of(stack, host):
    networks = inspect(stack.container(host))[0]["NetworkSettings"]["Networks"]
    return next(name.removeprefix(f"{stack.name}_") for name in networks if name != f"{stack.name}_wan")


def at(stack, site):
    return [host for host in stack.containers() if site_of(stack, host) == site]


def addresses(stack):
    found = inspect(*stack.containers().values())
    return {
        entry["Name"]: {name: net["IPAddress"] for name, net in entry["NetworkSettings"]["Networks"].items()}
        for entry in found
    }


def reaches(stack, host, other):
    """Whether Patroni's REST API of one node can be asked from another."""
    answer = stack.shell(host, f"curl -s -m 2 -o /dev/null http://{other}:8008/liveness && echo yes || echo no")
    return answer.strip() == "yes"


def record(stack):
    return stack.folder / "broken.yaml"


@pytest.fixture
def chaos(main):
    """The main stack, healed afterwards."""
    yield main
    main.inv("chaos.heal")
    main.wait_well()
    assert not record(main).exists()


def elsewhere(stack):
    """A data center that has not the leader, and its two nodes."""
    leader = stack.leader()
    site = next(f"dc{n}" for n in (3, 2, 1) if f"dc{n}" != site_of(stack, leader))
    return site, [host for host in at(stack, site) if host.startswith("pg")], leader


def test_a_data_center_is_cut_off_and_back_in_one_line(chaos):
    site, nodes, leader = elsewhere(chaos)
    before = addresses(chaos)
    shown = chaos.inv("chaos.partition", "--dc", site, "status", "chaos.heal", "status").stdout
    assert f"{nodes[0]} is cut off from" in shown
    assert "broken by chaos" in shown.split("healed: ")[0]
    assert "broken by chaos" not in shown.split("healed: ")[1]
    assert addresses(chaos) == before
    assert chaos.wait_well() == leader
    assert reaches(chaos, nodes[0], leader)


def test_inside_a_data_center_that_is_cut_off_everything_still_talks(chaos):
    site, nodes, leader = elsewhere(chaos)
    chaos.inv("chaos.partition", "--dc", site)
    assert not reaches(chaos, nodes[0], leader)
    assert not reaches(chaos, leader, nodes[0])
    assert reaches(chaos, nodes[0], nodes[1])
    for host in nodes:
        assert chaos.openssh(host, "hostname").stdout.strip() == host
        assert chaos.published(host, 5432)
    status = chaos.status()
    assert status["healthy"] is False
    assert any(nodes[0] in problem and "cut off" in problem for problem in status["problems"])


def test_one_link_is_cut_and_the_third_site_sees_both(chaos):
    site, nodes, leader = elsewhere(chaos)
    other = site_of(chaos, leader)
    third = next(h for h in chaos.nodes if site_of(chaos, h) not in (site, other))
    chaos.inv("chaos.partition", "--dc", site, "--from", other)
    assert not reaches(chaos, nodes[0], leader)
    assert reaches(chaos, nodes[0], third)
    assert reaches(chaos, leader, third)
    assert chaos.leader() == leader
    silent = f"{nodes[0]}: "
    until(lambda: any(problem.startswith(silent) for problem in chaos.status()["problems"]), "the lack is seen", 40)


def test_two_cuts_of_one_data_center_add_up(chaos):
    site, nodes, _ = elsewhere(chaos)
    others = [f"dc{n}" for n in (1, 2, 3) if f"dc{n}" != site]
    for other in others:
        chaos.inv("chaos.partition", "--dc", site, "--from", other)
    for other in others:
        assert not reaches(chaos, nodes[0], next(h for h in at(chaos, other) if h.startswith("pg")))


@pytest.mark.parametrize(("mechanism", "state"), [("stop", "exited"), ("kill", "exited"), ("pause", "paused")])
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
    os.system(f"docker kill {chaos.container(host)} >/dev/null")
    assert f"{host} did not run" in chaos.inv("chaos.heal").stdout
    assert host in chaos.containers("running")


def started(stack, host):
    return inspect(stack.container(host))[0]["State"]["StartedAt"]


def test_a_container_that_was_started_since_is_left_alone(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.stop", "--node", host)
    docker("start", chaos.container(host))
    before = started(chaos, host)
    assert not any("chaos" in problem for problem in chaos.status()["problems"])
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
        with pytest.raises(subprocess.TimeoutExpired):
            healing.communicate(timeout=8)
    said, _ = healing.communicate(timeout=120)
    assert healing.returncode == 0, said
    assert host in chaos.containers("running")


def test_what_was_broken_inside_a_killed_container_ended_with_it(chaos):
    host = chaos.replicas()[0]
    chaos.inv("chaos.pause", "--node", host, "--process", "sshd", "chaos.kill", "--node", host)
    shown = chaos.inv("chaos.heal").stdout
    assert f"healed: sshd on {host} is paused" in shown
    assert f"healed: {host} is killed" in shown
    assert chaos.openssh(host, "hostname").stdout.strip() == host


def test_what_a_killed_command_broke_is_healed(chaos):
    site, nodes, _ = elsewhere(chaos)
    hosts = set(at(chaos, site))
    process = chaos.begin("chaos.stop", "--dc", site)
    # etcd is the first to end; the nodes take seconds.
    until(lambda: hosts & set(chaos.containers("exited")), "the engine was told", 20, 0.05)
    assert record(chaos).exists(), "it is written down before"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    # The engine goes on with what it was told.
    until(lambda: nodes[0] in chaos.containers("exited"), f"{nodes[0]} is stopped", 60)
    chaos.inv("chaos.heal")
    assert set(chaos.containers("running")) == set(chaos.containers())


def test_a_stop_that_is_still_under_way_is_waited_for(chaos):
    """As after a command that was killed: the engine goes on with what it was told."""
    host = chaos.replicas()[0]
    record(chaos).write_text(f"- {{mechanism: stop, host: {host}, process: '', sites: [], milliseconds: 0}}\n")
    with subprocess.Popen(["docker", "stop", "-t", "120", chaos.container(host)], stdout=subprocess.DEVNULL):
        chaos.inv("chaos.heal")
    assert host in chaos.containers("running")
    assert chaos.well()


def test_a_damaged_record_is_named(chaos):
    record(chaos).write_text("- 7\n")
    try:
        assert "broken.yaml is damaged" in chaos.refused(3, "chaos.heal")
        assert any("damaged" in problem for problem in chaos.status()["problems"])
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


def test_a_patroni_that_hangs_is_killed_before_its_lock_expires(chaos):
    leader = chaos.leader()
    before = chaos.run(leader, "pgrep", "-f", "/usr/bin/patroni").split()
    with Writer(chaos.dsn(), "written_while_patroni_hung") as writer:
        chaos.inv("chaos.pause", "--node", leader, "--process", "patroni")
        until(
            lambda: set(chaos.run(leader, "pgrep", "-f", "/usr/bin/patroni").split()).isdisjoint(before),
            "another Patroni", 18,
        )  # fmt: skip
        writer.wait_for_more()
    assert writer.missing(chaos) == set()
    assert chaos.wait_well() == leader
    assert "guard: Patroni has not answered" in chaos.logs(leader)


@pytest.mark.parametrize("archive", ["there", "away"])
def test_a_standby_that_received_more_than_the_next_leader_is_the_same_database(chaos, archive):
    """Its control file is older than what lies in its pg_wal. Without the archive it does not know at its start that
    the timeline was left, and replays all that."""
    leader = chaos.leader()
    site = site_of(chaos, leader)
    nodes = [host for host in at(chaos, site) if host in chaos.nodes]
    (beside,) = set(nodes) - {leader}
    chaos.sql(leader, "create table if not exists written_by_either (n int, t text)")
    chaos.inv("chaos.partition", "--dc", site)
    for _ in range(2):
        chaos.sql(
            leader, "set synchronous_commit = local; insert into written_by_either select n, 'lost' "
            "from generate_series(1, 5000) n; select pg_switch_wal()",
        )  # fmt: skip
    received = chaos.sql(leader, "select pg_current_wal_flush_lsn()")
    until(lambda: chaos.sql(beside, f"select pg_last_wal_receive_lsn() >= '{received}'") == "t", f"{beside} has it")
    chaos.inv("chaos.kill", "--dc", site)
    new = until(lambda: chaos.leader() not in nodes and chaos.leader(), "another site leads", 60)
    chaos.sql(new, "insert into written_by_either select n, 'kept' from generate_series(1, 5000) n")
    if archive == "away":
        chaos.inv("chaos.stop", "--node", "pgbackrest")
        docker("start", *map(chaos.container, at(chaos, site)))
        until(lambda: "Postgres is stopped to be rewound" in chaos.logs(beside), f"{beside} is found out", 60)
    chaos.inv("chaos.heal")
    assert chaos.wait_well() == new
    rows = "select count(*) filter (where t = 'kept'), count(*) filter (where t = 'lost') from written_by_either"
    expected = chaos.sql(new, rows)
    written = chaos.sql(new, "select pg_current_wal_flush_lsn()")
    for node in nodes:
        until(lambda n=node: chaos.sql(n, f"select pg_last_wal_replay_lsn() >= '{written}'") == "t", f"{node} has it")
        assert chaos.sql(node, rows) == expected
    chaos.sql(new, "drop table written_by_either")


def test_etcd_is_not_led_from_the_data_center_of_the_leader(chaos):
    leader = chaos.leader()
    endpoints = {host: f"http://{host}:2379" for host in chaos.containers() if host.startswith("etcd")}

    def status():
        listed = chaos.run(leader, "etcdctl", f"--endpoints={','.join(endpoints.values())}", "endpoint", "status")
        fields = [line.split(", ") for line in listed.splitlines()]
        return {endpoint: (identity, leads == "true") for endpoint, identity, _, _, leads, *_ in fields}

    def leads():
        return next(host for host, endpoint in endpoints.items() if status()[endpoint][1])

    site = site_of(chaos, leader)
    here = next(host for host in endpoints if site_of(chaos, host) == site)
    if leads() != here:
        target = status()[endpoints[here]][0]
        chaos.run(leader, "etcdctl", f"--endpoints={endpoints[leads()]}", "move-leader", target)
    until(lambda: site_of(chaos, leads()) != site, "etcd is led from elsewhere", 30)
    assert f"Leadership transferred from {status()[endpoints[here]][0]}" in chaos.logs(leader)


def test_wiped_data_is_cloned_anew(chaos):
    host = chaos.replicas()[0]
    before = chaos.run(host, "stat", "-c", "%i", "/pgdata/17/PG_VERSION")
    chaos.sql(chaos.leader(), "create table written_before_the_wipe as select 1 n")
    chaos.inv("chaos.wipe", "--node", host)
    until(lambda: chaos.run(host, "stat", "-c", "%i", "/pgdata/17/PG_VERSION") != before, f"{host} is cloned")
    chaos.wait_well()
    assert chaos.sql(host, "select n from written_before_the_wipe") == "1"
    assert chaos.run(host, "ls", "/pgdata").split() == ["17"]


def test_a_disk_is_full_and_this_hosts_is_not(chaos):
    host = chaos.replicas()[0]
    # The connection to the repository is opened anew by a Postgres on the small disk, and has to let go of it.
    chaos.shell(host, "pkill -f '^ssh: /run/pgbackrest/' || true")
    chaos.inv("chaos.fill", "--node", host)
    assert chaos.shell(host, "df --output=avail /pgdata | tail -n 1").strip() == "0"
    answer = chaos.shell(host, "echo one more > /pgdata/more 2>&1 || true; cat /pgdata/more")
    assert answer.strip() in ("", "sh: 1: echo: echo: I/O error") or "No space" in answer
    chaos.sql(chaos.leader(), "create table written_while_a_disk_is_full as select generate_series(1, 200000) n")
    until(lambda: "No space left on device" in chaos.logs(host), f"{host} has no space")
    chaos.inv("chaos.heal")
    chaos.wait_well()
    assert chaos.shell(host, "stat -f -c %T /pgdata").strip() != "tmpfs"
    assert "ballast" not in chaos.run(host, "ls", "/pgdata")
    assert chaos.sql(host, "select count(*) from written_while_a_disk_is_full") == "200000"


def made_at(stack, host):
    """Tells a data directory from one that was made anew."""
    return stack.run(host, "stat", "-c", "%i", "/pgdata/17/global/pg_control")


def test_a_small_disk_that_was_never_made_takes_no_data_with_it(chaos):
    """The record is written first: what was interrupted after that leaves the volume as it was."""
    host = chaos.replicas()[0]
    before = made_at(chaos, host)
    record(chaos).write_text(f"- {{mechanism: fill, host: {host}, process: '', sites: [], milliseconds: 0}}\n")
    assert f"healed: the disk of {host} is full" in chaos.inv("chaos.heal").stdout
    assert made_at(chaos, host) == before
    assert chaos.shell(host, "stat -f -c %T /pgdata").strip() != "tmpfs"


@pytest.mark.parametrize("role", ["leader", "replica"])
def test_a_node_that_lost_its_small_disk_is_cloned_anew(chaos, role):
    """It ends with its container, and what the volume holds is older. The DCS may still call the node the leader."""
    host = chaos.leader() if role == "leader" else chaos.replicas()[0]
    before = made_at(chaos, host)
    chaos.inv("chaos.fill", "--node", host)
    docker("restart", chaos.container(host))
    assert "is not full" in chaos.refused(4, "chaos.fill", "--node", host)
    chaos.inv("chaos.heal")
    assert chaos.wait_well() != host
    assert made_at(chaos, host) != before
    assert "moved" not in chaos.run(host, "ls", "/pgdata")


def test_down_does_not_forget_that_data_is_not_the_newest(chaos):
    host = chaos.replicas()[0]
    before = made_at(chaos, host)
    chaos.inv("chaos.fill", "--node", host, "chaos.stop", "--node", host, "--process", "sshd", "down")
    assert f"The small disk of {host} ended with its container" in chaos.refused(3, "up")
    assert "not started: the data here is not the newest" in chaos.logs(host)
    assert not any("sshd" in problem for problem in chaos.status()["problems"])
    chaos.inv("chaos.heal")
    chaos.wait_well()
    assert made_at(chaos, host) != before


@pytest.mark.parametrize("task", ["up", "start"])
def test_a_task_ends_what_it_starts_again(chaos, task):
    """A container that is started again has a new network and new processes; what runs stays broken."""
    stopped, other = chaos.replicas()[:2]
    chaos.inv("chaos.stop", "--node", other, "--process", "sshd")
    chaos.inv("chaos.stop", "--node", stopped, "--process", "sshd", "chaos.kill", "--node", stopped)
    chaos.inv(task)
    left = chaos.status()["problems"]
    assert any(f"sshd on {other}" in problem for problem in left)
    assert not any(problem.startswith("broken by chaos") and stopped in problem for problem in left)
    assert chaos.openssh(stopped, "hostname").stdout.strip() == stopped


def test_what_cannot_be_broken_is_refused(chaos):
    assert "etcd1 runs no Postgres" in chaos.refused(2, "chaos.wipe", "--node", "etcd1")
    assert "etcd1 runs no patroni" in chaos.refused(2, "chaos.kill", "--node", "etcd1", "--process", "patroni")
    assert "dc9" in chaos.refused(2, "chaos.partition", "--dc", "dc9")
    assert "from itself" in chaos.refused(2, "chaos.partition", "--dc", "dc1", "--from", "dc1")
    assert "either a node or a data center" in chaos.refused(2, "chaos.stop")
    assert "0 ms" in chaos.refused(2, "chaos.delay", "--dc", "dc2", "--ms", "0")
    assert not record(chaos).exists()


def test_latency_is_made_where_the_kernel_can_and_refused_where_it_cannot(chaos):
    answer = chaos.try_inv("chaos.delay", "--dc", "dc2", "--ms", "40")
    if answer.returncode == 3:
        assert "sch_netem" in answer.stderr
        assert not record(chaos).exists()
        return
    assert answer.returncode == 0, answer.stderr
    took = chaos.shell("pg2-node1", "curl -s -o /dev/null -w '%{time_total}' http://pg1-node1:8008/liveness")
    assert float(took) >= 0.08  # the handshake and the answer
