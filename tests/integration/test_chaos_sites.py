"""Sites that are cut off, lost or far away, and healed, as the engine, Postgres and the network see it."""

import os
import re
import signal

import pytest
from tools import docker, finish, healed, inspect, record, sentences, taken_over, until

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
    answer = stack.shell(host, f"curl -s -m 2 -o /dev/null https://{other}:8008/liveness && echo yes || echo no")
    return answer.strip() == "yes"


@pytest.fixture
def chaos(main):
    """Three data centers, healed afterwards."""
    yield main
    healed(main)


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
    assert any(nodes[0] in problem and "cut off" in problem for problem in sentences(status))


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
    until(lambda: any(problem.startswith(silent) for problem in sentences(chaos.status())), "the lack is seen", 40)


@pytest.mark.long
def test_two_cuts_of_one_data_center_add_up(chaos):
    site, nodes, _ = elsewhere(chaos)
    others = [f"dc{n}" for n in (1, 2, 3) if f"dc{n}" != site]
    for other in others:
        chaos.inv("chaos.partition", "--dc", site, "--from", other)
    for other in others:
        assert not reaches(chaos, nodes[0], next(h for h in at(chaos, other) if h.startswith("pg")))


def test_what_a_killed_command_broke_is_healed(chaos):
    site, nodes, _ = elsewhere(chaos)
    hosts = set(at(chaos, site))
    process = chaos.begin("chaos.stop", "--dc", site)
    # etcd is the first to end; the nodes take seconds.
    until(lambda: hosts & set(chaos.containers("exited")), "the engine was asked", 60, 0.05)
    assert record(chaos).exists(), "it is written down before"
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    # The engine goes on with what it was asked.
    until(lambda: nodes[0] in chaos.containers("exited"), f"{nodes[0]} is stopped", 60)
    chaos.inv("chaos.heal")
    assert set(chaos.containers("running")) == set(chaos.containers())


@pytest.mark.parametrize("archive", [pytest.param("there", marks=pytest.mark.long), "away"])
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
    new = taken_over(chaos, *nodes)
    chaos.sql(new, "insert into written_by_either select n, 'kept' from generate_series(1, 5000) n")
    if archive == "away":
        chaos.inv("chaos.stop", "--node", "pgbackrest")
        docker("start", *map(chaos.container, at(chaos, site)))
        # Patroni rewinds it at its start if its control file already says so much; else `diverged` finds it out.
        assert chaos.wait_well() == new
    chaos.inv("chaos.heal")
    assert chaos.wait_well() == new
    rows = "select count(*) filter (where t = 'kept'), count(*) filter (where t = 'lost') from written_by_either"
    expected = chaos.sql(new, rows)
    written = chaos.sql(new, "select pg_current_wal_flush_lsn()")
    for node in nodes:
        until(lambda n=node: chaos.sql(n, f"select pg_last_wal_replay_lsn() >= '{written}'") == "t", f"{node} has it")
        assert chaos.sql(node, rows) == expected
    chaos.sql(new, "drop table written_by_either")


def endpoints(stack):
    return {host: f"https://{host}:2379" for host in stack.containers() if host.startswith("etcd")}


def etcd_status(stack, asked):
    """Endpoint -> id, and whether it leads etcd."""
    listed = stack.run(asked, "etcdctl", f"--endpoints={','.join(endpoints(stack).values())}", "endpoint", "status")
    fields = [line.split(", ") for line in listed.splitlines()]
    return {endpoint: (identity, leads == "true") for endpoint, identity, _, _, leads, *_ in fields}


def etcd_leader(stack, asked):
    status = etcd_status(stack, asked)
    return next(host for host, endpoint in endpoints(stack).items() if status[endpoint][1])


def test_etcd_is_not_led_from_the_data_center_of_the_leader(chaos):
    leader = chaos.leader()
    site = site_of(chaos, leader)
    here = next(host for host in endpoints(chaos) if site_of(chaos, host) == site)
    identity, leads = etcd_status(chaos, leader)[endpoints(chaos)[here]]
    if not leads:
        now = endpoints(chaos)[etcd_leader(chaos, leader)]
        chaos.run(leader, "etcdctl", f"--endpoints={now}", "move-leader", identity)
    until(lambda: site_of(chaos, etcd_leader(chaos, leader)) != site, "etcd is led from elsewhere", 30)
    assert f"Leadership transferred from {identity}" in chaos.logs(leader)
    assert chaos.wait_well() == leader


@pytest.mark.long
def test_a_leader_keeps_the_lead_while_etcd_changes_its_own(chaos):
    """Patroni 4.0 gave up the lead when etcd's leader changed at the moment in which it renewed its lock."""
    leader = chaos.wait_well()
    timeline, before = chaos.members()[leader]["timeline"], chaos.logs(leader)
    everyone = ",".join(endpoints(chaos).values())
    script = (
        "set -e; for i in $(seq 100); do etcdctl --endpoints=$0 endpoint status > /tmp/status; "
        "from=$(awk -F', ' '$5 == \"true\" { print $1 }' /tmp/status); "
        "to=$(awk -F', ' '$5 == \"false\" { print $2 }' /tmp/status | shuf -n 1); "
        'etcdctl "--endpoints=$from" move-leader "$to" || true; done; rm /tmp/status'
    )
    said = chaos.run(leader, "sh", "-c", script, everyone)
    assert said.count("Leadership transferred") > 80
    assert chaos.wait_well() == leader
    assert chaos.members()[leader]["timeline"] == timeline
    after = chaos.logs(leader).removeprefix(before)
    assert not re.findall(r"failed to update leader lock|demoted self|Demoting self", after)


@pytest.fixture
def delayed(chaos):
    """What `inv chaos.delay` said: not every kernel can."""
    return chaos.try_inv("chaos.delay", "--dc", "dc2", "--ms", "40")


def test_latency_is_made_where_the_kernel_can(chaos, delayed):
    if delayed.returncode == 3 and "sch_netem" in delayed.stderr:
        pytest.skip("this kernel lacks sch_netem")
    assert delayed.returncode == 0, delayed.stderr
    took = chaos.shell("pg2-node1", "curl -s -o /dev/null -w '%{time_total}' https://pg1-node1:8008/liveness")
    assert float(took) >= 0.08  # the handshake and the answer


def test_latency_is_refused_where_the_kernel_cannot(chaos, delayed):
    if delayed.returncode == 0:
        pytest.skip("this kernel has sch_netem")
    assert delayed.returncode == 3
    assert "sch_netem" in delayed.stderr
    assert not record(chaos).exists()
