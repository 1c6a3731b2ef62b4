"""Containers made again one at a time, and files brought to those that run."""

import pytest

from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, IsLeader, LosesQuorum, LosesStandbys
from pgha.project.record import Record
from pgha.remote import engine
from pgha.stack import delivery, remaking, replacing
from pgha.stack.delivery import deliver
from pgha.stack.remaking import roll
from pgha.tools.command import Answer
from pgha.tools.etcd import EtcdView
from pgha.tools.patroni import ClusterView, Member

NODES = ("pg1-node1", "pg1-node2", "pg1-node3")


def view_of(leader, *names, streaming=NODES):
    return ClusterView(
        tuple(
            Member(name, "leader", "running", 1, 0)
            if name == leader
            else Member(name, "quorum_standby", "streaming" if name in streaming else "stopped", 1, 0)
            for name in names or NODES
        )
    )


@pytest.fixture
def rolled(monkeypatch):
    """A cluster of three; what was done to it, in its order."""
    done, leader = [], ["pg1-node2"]

    def lead_elsewhere(project, view, leaving, progress):
        if leader[0] in leaving:
            leader[0] = next(name for name in NODES if name not in leaving)
            done.append(f"{leader[0]} leads")

    monkeypatch.setattr(remaking, "read_view", lambda project: view_of(leader[0]))
    monkeypatch.setattr(remaking.leaving, "lead_elsewhere", lead_elsewhere)
    monkeypatch.setattr(remaking, "make", lambda project, name, progress: done.append(name))
    monkeypatch.setattr(remaking, "wait_until_well", lambda *_, names, **__: done.append(f"{names[0]} streams"))
    monkeypatch.setattr(remaking.leaving, "wait_for_synchronous", lambda *_: done.append("synchronous"))
    return done


def test_the_one_that_leads_comes_last_and_each_waits_for_the_one_before(a_project, rolled):
    roll(a_project, ["pg1-node2", "pg1-node1"], Progress())
    assert rolled == [
        "pg1-node1", "pg1-node1 streams", "synchronous", "pg1-node1 leads",
        "pg1-node2", "pg1-node2 streams", "synchronous",
    ]  # fmt: skip


def test_the_lead_does_not_go_to_one_that_is_about_to_go(a_project, rolled):
    roll(a_project, ["pg1-node2"], Progress(), ["pg1-node1"])
    assert rolled[0] == "pg1-node3 leads"


def test_but_to_that_one_when_there_is_no_other(a_project, rolled):
    roll(a_project, ["pg1-node2"], Progress(), ["pg1-node1", "pg1-node3"])
    assert rolled[0] == "pg1-node1 leads"


def test_files_of_all_hosts_take_their_places_and_pgbackrest_reads_its_own_again(make_project, monkeypatch):
    ran = []

    class Engine:
        def must(self, command, *_):
            ran.append(str(command))
            return Answer(command, "", "", 0)

    monkeypatch.setattr(delivery.engine, "engine_of", lambda project, host: Engine())
    deliver(make_project(data_centers=1), ["pg1-node1", "pgbackrest", "etcd1"])
    assert not [line for line in ran if "pg1-node2" in line or "etcd1" in line]
    copied = {line.split()[-1] for line in ran if line.startswith("docker cp")}
    places = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_config.d/pgha.conf", "/pgha/config/pgbackrest.conf")
    for host in ("pg1-node1", "pgbackrest"):
        assert {f"pgha-{host}:{place}.new" for place in places} <= copied
    assert "pgha-pg1-node1:/pgha/config/patroni.conf.new" in copied
    assert [line for line in ran if "s6-svc -h" in line] == [
        "docker exec --user root pgha-pgbackrest s6-svc -h /service/pgbackrest"
    ]


# Which host may be replaced ---------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch, make_project):
    """Three nodes and three etcd members, of which some are away."""

    def cluster(*away, replacing_now=""):
        project = make_project(data_centers=1, nodes=3)
        if replacing_now:
            project.write_record(Record({}, {}, replacing=replacing_now))
        etcds = [f"etcd{n}" for n in (1, 2, 3)]
        etcd = EtcdView(tuple(e for e in etcds if e not in away), tuple(e for e in etcds if e in away))
        view = view_of("pg1-node1", streaming=[node for node in NODES if node not in away])
        monkeypatch.setattr(engine, "require_engine", lambda: None)
        monkeypatch.setattr(replacing, "require_images", lambda project: None)
        monkeypatch.setattr(replacing, "read_view", lambda project: view)
        monkeypatch.setattr(replacing, "read_etcd", lambda project: etcd)
        return project

    return cluster


def check(project, node="", etcd="", **more):
    return replacing.check(project, replacing.target(project, node, etcd), **more)


def test_a_host_whose_data_others_have_may_be_replaced(cluster):
    assert check(cluster("pg1-node2"), "pg1-node2").half_done is False
    assert check(cluster(), "pg1-node3").host.name == "pg1-node3"
    assert check(cluster("etcd2"), etcd="etcd2").host.name == "etcd2"


def test_an_interrupted_one_goes_on_and_no_other_begins_before(cluster):
    assert check(cluster("pg1-node2", replacing_now="pg1-node2"), "pg1-node2").half_done is True
    with pytest.raises(HalfDone) as caught:
        check(cluster("etcd2", replacing_now="etcd2"), "pg1-node2")
    assert caught.value.hint == "inv replace --etcd etcd2"


def test_what_others_need_is_not_replaced(cluster):
    with pytest.raises(IsLeader, match="pg1-node1 leads"):
        check(cluster(), "pg1-node1")
    with pytest.raises(LosesQuorum):
        check(cluster("etcd2"), etcd="etcd3")
    with pytest.raises(LosesStandbys) as caught:
        check(cluster("pg1-node3"), "pg1-node2")
    assert caught.value.hint.startswith("inv replace --node pg1-node2 --degraded")
    assert check(cluster("pg1-node3"), "pg1-node2", degraded=True)


@pytest.mark.parametrize(
    "names", [("", ""), ("pg1-node1", "etcd1"), ("etcd1", ""), ("", "pg1-node1"), ("pgbackrest", "")]
)
def test_one_node_or_one_etcd_member_is_named(cluster, names):
    with pytest.raises(BadValue):
        replacing.target(cluster(), *names)
