"""Two data centers of three are gone for good: what is said before, what is lost, and the way back to three."""

import json
import re

import pytest
from tools import Writer, docker, inspect, interrupt, sentences, until

pytestmark = [pytest.mark.integration, pytest.mark.long]

LINE = ("recover", "--site-lost", "--accept-data-loss")


@pytest.fixture
def stack(bench, sites):
    """Three data centers with one node each; made again afterwards if it is not whole."""
    sites.wait_synchronous()
    until(lambda: sites.status()["healthy"], "nothing else is wrong")
    yield sites
    if sites.try_inv("status", "--json").returncode or not sites.status()["healthy"]:
        bench.make(sites, "3", "1")


def site_of(stack, host):
    return inspect(stack.container(host))[0]["Config"]["Labels"]["pgha.site"]


def lose(stack, *, leader_too=True):
    """SIGKILL for all of two data centers; the hosts that are gone, and the node that is left."""
    leader = stack.leader()
    left = stack.replicas()[0] if leader_too else leader
    site = site_of(stack, left)
    gone = [host for host in stack.containers() if site_of(stack, host) not in (site, "backup")]
    docker("kill", *(stack.container(host) for host in gone))
    until(lambda: "there is nothing to recover" not in stack.try_inv("recover", "--site-lost").stderr, "no quorum")
    return gone, left


def require_same_data(stack):
    """Every etcd member hashes to the same, at a revision that all of them have."""
    endpoints = f"--endpoints={','.join(f'{stack.scheme}://{etcd}:2379' for etcd in stack.etcds)}"

    def ask(*words):
        return json.loads(stack.run(stack.leader(), "etcdctl", endpoints, "--write-out=json", "endpoint", *words))

    revision = min(entry["Status"]["header"]["revision"] for entry in ask("status"))
    assert len({entry["HashKV"]["hash"] for entry in ask("hashkv", f"--rev={revision}")}) == 1


def bring_back(stack):
    document = json.loads(stack.inv("scale", "--yes", "--json", timeout=600).stdout)
    stack.wait_synchronous()
    assert stack.etcd_healthy() == 3
    until(lambda: stack.status()["healthy"], "it is whole")
    require_same_data(stack)
    return document


def problems(stack):
    return {problem["kind"] for problem in stack.status()["problems"]}


def test_what_is_lost_is_no_more_than_was_said_and_all_comes_back(stack):
    before, volumes, system, dsn = stack.containers(), stack.volumes(), stack.system_identifier(), stack.dsn()
    with Writer(dsn, "written_before_the_loss") as writer:
        gone, left = lose(stack)
        etcd = next(host for host in stack.etcds if host not in gone)
        said = stack.refused(2, *LINE[:2])
        assert "would be given up for ever" in said and "--accept-data-loss" in said
        account = json.loads(stack.try_inv(*LINE[:2], "--json").stdout)["account"]
        assert (account["candidate"], account["etcd"]["from"], set(account["gone"])) == (left, etcd, set(gone))
        assert stack.containers() == before and not (stack.folder / "recover.yaml").exists(), "nothing is touched"
        document = json.loads(stack.inv(*LINE, "--json", timeout=300).stdout)
        assert document["leader"] == left and document["timeline"] > account["survivors"][0]["timeline"]
        writer.wait_for_more()
    lost = writer.missing()
    assert not (lost and document["account"]["lossless"])
    assert len(lost) < 100, "the standby streamed until its leader was gone"
    # What is left says so, and starts nothing that was given up.
    assert set(stack.containers()) == {etcd, left, "pgbackrest"}
    assert stack.volumes() == volumes, "what they had is kept"
    assert problems(stack) == {"hosts_gone"}
    stack.inv("up")
    stack.inv("stop")
    stack.inv("start")
    assert set(stack.containers("running")) == {etcd, left, "pgbackrest"}
    assert (stack.leader(), stack.system_identifier()) == (left, system)
    assert "nothing to recover" in stack.refused(2, *LINE)
    stack.inv("backup", "--type", "incr")
    with Writer(stack.dsn(), "written_while_the_others_came_back") as writer:
        assert set(bring_back(stack)["anew"]) == set(gone)
        # Its string is of the one node that was left; that of all three is what it was.
        writer.wait_for_more()
    assert not writer.missing()
    assert (stack.dsn(), stack.leader()) == (dsn, left)
    assert stack.volumes() == volumes and stack.system_identifier() == system


def test_a_leader_that_is_left_loses_nothing_and_says_so(stack):
    with Writer(stack.dsn(), "written_by_the_leader_that_is_left") as writer:
        _, left = lose(stack, leader_too=False)
        account = json.loads(stack.try_inv(*LINE[:2], "--json").stdout)["account"]
        assert account["lossless"] and f"{left} led itself" in account["may_lose"]
        stack.inv(*LINE, timeout=300)
        writer.wait_for_more()
    assert stack.leader() == left and not writer.missing()
    bring_back(stack)


STEPS = ("remove the containers", "gives every other", "make pg", "takes the lead", "wait until every")


def test_a_recovery_that_was_killed_at_any_step_is_completed_by_the_same_command(stack):
    with Writer(stack.dsn(), "written_in_spite_of_kills") as writer:
        gone, left = lose(stack)
        for words in STEPS:
            running = stack.begin(*LINE)
            for said in running.stdout:
                if re.search(words, said):
                    break
            interrupt(running, 9)
            running.communicate()
            if (stack.folder / "recover.yaml").exists():
                assert "is half done" in stack.refused(3, "up")
                assert "given up already" in stack.refused(2, *LINE[:2])
        # The last one may have been quicker than the signal.
        if (stack.folder / "recover.yaml").exists():
            stack.inv(*LINE, timeout=300)
        writer.wait_for_more()
    assert stack.leader() == left and len(writer.missing()) < 100
    assert set(stack.containers()) & set(gone) == set()
    assert problems(stack) == {"hosts_gone"}
    bring_back(stack)


def test_what_is_no_loss_is_refused_and_named(stack):
    before = stack.containers()
    assert "etcd has its quorum" in stack.refused(2, *LINE)
    leader = stack.leader()
    others = [host for host in before if site_of(stack, host) not in (site_of(stack, leader), "backup")]
    docker("pause", *(stack.container(host) for host in others))
    try:
        until(lambda: "paused" in stack.try_inv(*LINE).stderr, "etcd has noticed")
        said = stack.refused(2, *LINE)
        assert all(f"{host} (paused)" in said for host in others)
    finally:
        docker("unpause", *(stack.container(host) for host in others))
    stack.wait_synchronous()
    # What a frozen member said of itself before is believed until it says something else.
    until(lambda: sentences(stack.status()) == [], "those that were frozen are as before")
    assert stack.containers() == before


def test_a_machine_that_comes_back_with_its_containers_does_no_harm(stack):
    """They were started by their engine, with the data they had: etcd has given them up, and `up` removes them."""
    gone, left = lose(stack)
    etcds = [host for host in gone if host.startswith("etcd")]
    made = {host: inspect(stack.container(host))[0] for host in etcds}
    stack.inv(*LINE, timeout=300)
    for host, seen in made.items():
        docker(
            "run", "--detach", "--name", stack.container(host), "--hostname", host,
            *(f"--label={key}={value}" for key, value in seen["Config"]["Labels"].items()),
            f"--network={stack.name}_wan", f"--ip={addresses(seen)[f'{stack.name}_wan']}", f"--network-alias={host}",
            f"--volume={stack.name}_{host}:/var/lib/etcd",
            *(f"--volume={m['Source']}:{m['Destination']}:ro" for m in seen["Mounts"] if m["Type"] == "bind"),
            seen["Config"]["Image"],
        )  # fmt: skip
    until(lambda: not set(etcds) & set(stack.containers("running")), "etcd turns them away")
    assert all("permanently removed" in stack.logs(host) for host in etcds)
    assert problems(stack) == {"hosts_gone", "gone_is_back"}
    assert stack.leader() == left
    stack.inv("up")
    assert set(stack.containers()) & set(gone) == set()
    bring_back(stack)


def addresses(seen):
    """Network -> the address a container was made with."""
    networks = seen["NetworkSettings"]["Networks"]
    return {name: network["IPAMConfig"]["IPv4Address"] for name, network in networks.items()}
