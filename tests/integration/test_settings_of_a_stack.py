"""Settings over a stack that is there: what is refused, what `up` changes, and what it says of it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from tools import CONFIG, ROOT, docker, inspect, told, until

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("key", "hint"),
    [("superuser_password", "leave that setting out"), ("repository_passphrase", "The passphrase of the repository")],
)
@pytest.mark.parametrize("verb", ["render", "up"])
def test_another_secret_over_data_is_refused_and_nothing_is_written(small, key, hint, verb):
    file = small.folder / "passwords.yaml"
    before = {path: path.read_bytes() for path in small.folder.rglob("*") if path.is_file()}
    containers = small.containers("running")
    said = small.refused(3, *(["render", "-d", "1", "-p", "2"] if verb == "render" else ["up"]), **{key: "another"})
    assert key in said and hint in said
    assert {path: path.read_bytes() for path in before} == before
    assert "another" not in file.read_text()
    assert small.containers("running") == containers


def test_up_where_nothing_changed_makes_nothing_again(small):
    before = small.containers("running")
    said = small.inv("up").stderr
    assert "see that every container runs" in said and "made again" not in said and "dynamic" not in said
    assert small.containers("running") == before
    assert small.stanza()["status"]["code"] == 0


def edit_config(stack, *pairs):
    flags = [word for pair in pairs for word in ("-s", pair)]
    line = ["patronictl", "-c", CONFIG, "edit-config", "pgha_cluster", "--quiet", "--force", *flags]
    stack.run(stack.leader(), *line, user="postgres")


def parameters(stack):
    return stack.dynamic_configuration()["postgresql"]["parameters"]


def test_up_takes_back_only_what_a_setting_governs(small):
    before = small.containers("running")
    held = parameters(small)
    edit_config(small, "postgresql.parameters.max_wal_size=2GB", "postgresql.parameters.work_mem=5MB", "ttl=25")
    edit_config(small, *(f"slots.kept{n}.type=physical" for n in range(4)))
    until(lambda: slots(small) >= 5, "the slots are there")
    try:
        given = "{work_mem: 6MB, max_replication_slots: 4, 'auto_explain.log_min_duration': 017}"
        said = small.inv("up", parameters=given).stderr
        assert small.dynamic_configuration()["ttl"] == 20
        assert parameters(small) == {
            **held, "max_wal_size": "2GB", "work_mem": "6MB", "auto_explain.log_min_duration": "017",
        }  # fmt: skip
        assert re.search(r"max_replication_slots stays: the setting is 4, and \d+ are in use on pg1-node", said)
        until(lambda: small.sql(small.leader(), "show work_mem") == "6MB", "Patroni applied it")
        assert "dynamic" not in small.inv("up").stderr
        assert parameters(small)["work_mem"] == "6MB"
    finally:
        gone = ("max_wal_size", "work_mem", "auto_explain.log_min_duration")
        patch = [f"postgresql.parameters.{name}=null" for name in gone[1:]]
        edit_config(small, f"postgresql.parameters.max_wal_size={held['max_wal_size']}", "slots=null", *patch)
    assert small.containers("running") == before
    until(lambda: slots(small) < 5, "the slots are gone")


def slots(stack):
    return max(int(stack.sql(node, "select count(*) from pg_replication_slots")) for node in stack.nodes)


def test_a_parallel_hash_join_has_the_shared_memory_it_needs(small):
    """Docker's own 64 MB end in `could not resize shared memory segment`."""
    leader = small.leader()
    small.sql(leader, "create table if not exists wide as select generate_series(1, 2000000) a; analyze wide")
    settings = {
        "work_mem": "'256MB'", "enable_mergejoin": "off", "enable_nestloop": "off", "parallel_setup_cost": "0",
        "parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0", "max_parallel_workers_per_gather": "2",
    }  # fmt: skip
    given = "; ".join(f"set {name} = {value}" for name, value in settings.items())
    join = "select count(*) from wide x join wide y using (a)"
    try:
        assert "Parallel Hash" in small.run(leader, "psql", "-qXAtc", f"{given}; explain {join}", user="postgres")
        assert small.run(leader, "psql", "-qXAtc", f"{given}; {join}", user="postgres").strip() == "2000000"
    finally:
        small.sql(leader, "drop table wide")


# Addresses --------------------------------------------------------------------------------------------------


def switch_over(stack, candidate):
    assert f"-> {candidate}" in stack.inv("switchover", "--candidate", candidate).stdout
    stack.wait_synchronous()


@pytest.mark.long
def test_containers_that_start_in_another_order_keep_their_addresses(small):
    """A Patroni remembers for ten minutes where it found a member."""
    leader = small.wait_synchronous()
    (standby,) = small.replicas()
    switch_over(small, standby)
    switch_over(small, leader)
    before = small.addresses()
    hosts = ["pgbackrest", standby, "etcd3"]
    docker("kill", *(small.container(host) for host in hosts))
    for host in sorted(hosts, key=lambda host: before[host][f"{small.name}_wan"], reverse=True):
        docker("start", small.container(host))
    assert small.addresses() == before
    assert small.wait_synchronous() == leader
    switch_over(small, standby)
    assert small.leader() == standby


def test_a_container_that_was_given_another_address_by_hand_gets_its_own_again(small):
    before, network = small.addresses(), f"{small.name}_dc1"
    (standby,) = small.replicas()
    docker("network", "disconnect", network, small.container(standby))
    docker("network", "connect", network, small.container(standby))
    assert small.addresses() != before
    said = small.inv("up").stderr
    assert f"{standby} was not on all its networks at its own addresses: it is again" in said
    assert small.wait_well()
    assert small.addresses() == before


@pytest.mark.long
def test_addresses_that_somebody_took_while_the_stack_was_down_are_changed_and_it_is_said(small):
    before, volumes = small.addresses(), small.volumes()
    (wan,) = json.loads(docker("network", "inspect", f"{small.name}_wan"))
    subnet = wan["IPAM"]["Config"][0]["Subnet"]
    small.inv("down")
    docker("network", "create", f"--subnet={subnet}", f"{small.name}-other")
    try:
        assert f"has addresses of the network {small.name}-other" in small.refused(3, "up", subnet=f"{subnet[:-2]}20")
        said = small.inv("up").stderr
    finally:
        docker("network", "rm", f"{small.name}-other")
    assert re.search(r"addresses taken, a block that is free is used: \S+ -> \S+", said)
    assert small.wait_well()
    after = small.addresses()
    assert after.keys() == before.keys() and not {*map(str, after.values())} & {*map(str, before.values())}
    assert small.volumes() == volumes


# Another checkout -------------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path, small):
    """`inv` of another checkout, with the same project's name."""
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("tasks.py", "invoke.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("pgha", "templates", "images"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def inv(*arguments, **environment):
        line = [sys.executable, "-m", "invoke", *arguments]
        env = {**small.environment({}), "PYTHONPATH": str(folder), **environment}
        return subprocess.run(line, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=400, check=False)  # fmt: skip

    inv.folder = folder
    return inv


LINES = ("up", "stop", "down", "destroy --yes", "switchover", "restore --yes", "chaos.kill --node pg1-node1", "render")


def test_another_checkout_is_refused_by_name(small, other):
    before = small.containers("running"), small.volumes()
    for line in LINES:
        answer = other(*line.split())
        assert answer.returncode == 3, f"{line}: {told(answer)}"
        assert f"Project {small.name} belongs to another checkout, {ROOT}," in answer.stderr, line
        assert "--take-over" in answer.stderr
    assert (small.containers("running"), small.volumes()) == before
    assert not (other.folder / "build" / small.name).exists()


@pytest.mark.long
def test_a_project_is_taken_over_by_a_flag_of_its_own_and_its_networks_are_made_again(small, other, tmp_path):
    """The other checkout's Docker client has a proxy configured, to which nothing listens."""
    identifier, backups = small.system_identifier(), small.backups()
    for place in ("build", "ssh", "tls"):
        shutil.copytree(ROOT / place / small.name, other.folder / place / small.name)
    proxies = {f"{kind}Proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": proxies}}))
    answer = other("up", "--take-over", DOCKER_CONFIG=str(tmp_path))
    assert answer.returncode == 0, told(answer)
    assert "made again, because they are taken over: " in answer.stderr
    for entry in inspect(*small.containers().values()):
        assert {"HTTPS_PROXY=http://127.0.0.1:9", "no_proxy=*"} <= set(entry["Config"]["Env"])
        assert {"timeout:1", "attempts:2"} <= set(entry["HostConfig"]["DnsOptions"])
    assert small.wait_well()
    until(lambda: set(small.healths().values()) == {"healthy"}, "every health check passes")
    assert small.etcd_healthy() == 3
    assert (small.system_identifier(), small.backups()) == (identifier, backups)
    assert "belongs to another checkout" in small.refused(3, "stop")

    assert other("stop").returncode == 0
    docker("network", "rm", *small.networks())
    start = other("start")
    assert start.returncode == 3 and "inv up makes it and them again" in start.stderr, told(start)
    said = small.inv("up", "--take-over").stderr
    assert "made again, because their network is gone: etcd1, etcd2, etcd3, pg1-node1, pg1-node2, pgbackrest" in said
    assert small.wait_well()
    assert (small.system_identifier(), small.backups()) == (identifier, backups)
    # The one that had taken it over does not own it any more.
    before = small.containers("running"), small.volumes()
    assert other("destroy", "--yes").returncode == 3
    assert (small.containers("running"), small.volumes()) == before


# The client -------------------------------------------------------------------------------------------------


class Forwarded:
    """A socket that leads to the engine's own, and counts who came through."""

    def __init__(self, path):
        self.path, self.came = path, 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(50)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.came += 1
            engine = socket.socket(socket.AF_UNIX)
            engine.connect("/var/run/docker.sock")
            for source, target in ((client, engine), (engine, client)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self._listening.close()


@pytest.fixture
def context(tmp_path, monkeypatch):
    """A Docker context `elsewhere` in a client's configuration of its own, and its socket."""
    if "DOCKER_HOST" in os.environ:
        pytest.skip("DOCKER_HOST is set: the client follows it instead of a context")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    path = tmp_path / "engine.sock"
    docker("context", "create", "elsewhere", "--docker", f"host=unix://{path}")
    docker("context", "use", "elsewhere")
    return path


def test_the_context_of_the_client_is_followed(small, context):
    said = small.refused(3, "status")
    assert "Docker context elsewhere" in said and "docker context use default" in said
    assert "Docker context elsewhere" in told(small.try_inv("setup", "--check"))
    forwarded = Forwarded(context)
    try:
        assert small.status()["healthy"] is True
        assert forwarded.came > 1
    finally:
        forwarded.close()


def test_the_modes_of_a_strict_umask_do_not_come_into_an_image(small, tmp_path):
    """The lines of the Dockerfiles that copy, over an image that is there; only the owner may read the files."""
    image = inspect(small.container("pg1-node1"))[0]["Config"]["Image"]
    for name in ("base", "patroni"):
        folder = shutil.copytree(ROOT / "images" / name, tmp_path / name)
        for path in folder.rglob("*"):
            path.chmod(0o700)
        lines = (folder / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
        kept = [line for line in lines if re.match(r"COPY |RUN chmod |ARG LOCALES", line)]
        (folder / "Dockerfile").write_text("\n".join([f"FROM {image}", *kept]))
        tag = f"{small.name}-umask"
        docker("build", "--quiet", "--tag", tag, str(folder))
        try:
            script = ". /usr/local/lib/pgha/timelines.sh; head -qn 1 /usr/local/bin/* /service/*/run /entrypoint.sh"
            said = docker("run", "--rm", "--user", "postgres", "--entrypoint", "sh", tag, "-ec", script)
            assert said.count("#!") > 10
        finally:
            docker("rmi", "--no-prune", tag)
