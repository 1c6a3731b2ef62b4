"""Containers made again one at a time, files brought to those that run, and which host may be replaced."""

from types import SimpleNamespace

import pytest

from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, IsLeader, LosesQuorum, LosesStandbys, ToolFailed, Unreachable
from pgha.project.keys import ensure_keys, host_key
from pgha.project.record import Record
from pgha.remote import engine
from pgha.stack import delivery, replacing, reshaping
from pgha.stack.delivery import deliver
from pgha.stack.remaking import make_again
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
def compose(monkeypatch):
    """What is asked of the engine, in its order; Compose may fail, and leave a container that does not run."""
    asked = SimpleNamespace(happened=[], fails=None, state="running")

    def run(project, message, *arguments, **options):
        asked.happened.append(" ".join(arguments))
        if asked.fails:
            raise asked.fails

    def note(verb):
        return lambda project, hosts, hint="": asked.happened.append(f"{verb} {' '.join(hosts)}")

    monkeypatch.setattr(engine, "compose", run)
    monkeypatch.setattr(engine, "signal", lambda project, verb, hosts: note(verb)(project, hosts))
    monkeypatch.setattr(engine, "remove", note("remove"))
    monkeypatch.setattr(engine, "start", note("start"))
    seen = {"pg1-node1": SimpleNamespace(state="running"), "pg1-node2": asked}
    monkeypatch.setattr(engine, "containers", lambda project: seen)
    return asked


MADE = ["stop pg1-node2", "remove pg1-node2", "up --detach --no-deps pg1-node2"]


def test_one_container_is_stopped_removed_and_made_and_no_other_is_touched(a_project, compose):
    make_again(a_project, ["pg1-node2"], ["pg1-node2"], Progress())
    assert compose.happened == MADE


def test_a_port_that_a_client_got_meanwhile_is_waited_for(a_project, compose):
    compose.fails, compose.state = ToolFailed("no", "bind: address already in use"), "created"
    make_again(a_project, ["pg1-node2"], ["pg1-node2"], Progress())
    assert compose.happened == [*MADE, "start pg1-node2"]
    compose.fails = ToolFailed("no", "no space left on device")
    with pytest.raises(ToolFailed, match="no space left"):
        make_again(a_project, ["pg1-node2"], ["pg1-node2"], Progress())


@pytest.fixture
def ran(monkeypatch):
    """What the engine is asked for."""
    ran = []

    class Engine:
        def must(self, command, *_):
            ran.append(str(command))
            return Answer(command, "", "", 0)

    monkeypatch.setattr(delivery.engine, "engine_of", lambda project, host: Engine())
    return ran


def test_files_of_all_hosts_take_their_places_and_pgbackrest_reads_its_own_again(make_project, ran):
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


def test_a_new_host_key_is_told_to_those_that_know_an_older_one(make_project, ran, monkeypatch):
    """One that was made again has it; one that does not answer takes it at its start."""
    project = make_project(data_centers=1, nodes=3)
    ensure_keys(project)
    known = project.known_hosts.read_text()
    host_key(project, "pg1-node1").unlink()
    ensure_keys(project)
    new = project.known_hosts.read_text()
    texts = {"pg1-node1": new, "pg1-node2": known, "pgbackrest": known}

    def everywhere(commands):
        return {host: Answer(command, texts[host], "", 0) if host in texts else Unreachable(f"{host} is away")
                for host, command in commands.items()}  # fmt: skip

    monkeypatch.setattr(delivery, "connect", lambda project: SimpleNamespace(everywhere=everywhere))
    assert delivery.deliver_keys(project) == ("pg1-node2", "pgbackrest")
    copied = [line for line in ran if "ssh_known_hosts.new" in line and line.startswith("docker cp")]
    # All at once: the order is chance.
    assert sorted(line.split(":")[0].split()[-1] for line in copied) == ["pgha-pg1-node2", "pgha-pgbackrest"]
    texts |= {"pg1-node2": new, "pgbackrest": new}
    ran.clear()
    assert (delivery.deliver_keys(project), ran) == ((), [])


def test_the_monitoring_is_told_by_itself_where_it_runs(make_project, monkeypatch):
    project = make_project(data_centers=1, monitoring=True)
    states = {"pg1-node1": "running", "pg1-node2": "exited", "monitoring": "running"}
    told = []
    there = {name: SimpleNamespace(state=state) for name, state in states.items()}
    monkeypatch.setattr(reshaping.engine, "containers", lambda project: there)
    monkeypatch.setattr(reshaping, "deliver", lambda project, hosts: told.append(hosts))
    reshaping._tell(project, Progress())
    reshaping._tell_monitoring(project)
    there["monitoring"].state = "exited"
    reshaping._tell_monitoring(project)
    assert told == [["pg1-node1"], ["monitoring"]]


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
        monkeypatch.setattr(engine, "require_engine", lambda project: None)
        monkeypatch.setattr(replacing, "require_images", lambda project: None)
        monkeypatch.setattr(replacing, "read_view", lambda project: view)
        monkeypatch.setattr(replacing, "weigh_etcd", lambda project, leaving: etcd)
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


@pytest.mark.parametrize(
    ("leader", "known", "others", "handed"),
    [
        # One node alone had to hand over to a new one.
        ("pg1-node2", ["pg1-node1"], ["pg1-node2", "pg1-node3"], [["pg1-node2", "pg1-node3"]]),
        ("pg1-node1", ["pg1-node1"], ["pg1-node2"], []),
        # None of those that clients know stays.
        ("pg1-node2", ["pg1-node1"], ["pg1-node1", "pg1-node2"], []),
    ],
)
def test_at_the_end_the_lead_is_where_clients_look(a_project, monkeypatch, leader, known, others, handed):
    asked = []
    monkeypatch.setattr(reshaping, "read_view", lambda project: view_of(leader))
    monkeypatch.setattr(reshaping.leaving, "lead_elsewhere", lambda project, view, names, progress: asked.append(names))
    reshaping._lead_where_clients_look(a_project, known, others, Progress())
    assert asked == handed
