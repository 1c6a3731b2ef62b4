"""What the integration tests look through: `inv` as a program, the engine's own client, and libpq."""

from __future__ import annotations

import itertools
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "/pgha/config/patroni.conf"
STANZA = "pg_ha_db"
PROJECT_LABEL = "com.docker.compose.project"


def until(look, what, timeout=60.0, interval=0.3):
    """Look until the answer is true, and return it; a look that fails counts as not yet."""
    deadline = time.monotonic() + timeout
    last = None
    while time.monotonic() < deadline:
        try:
            last = look()
        except (AssertionError, LookupError, StopIteration, OSError, ValueError, psycopg.Error) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(interval)
    raise AssertionError(f"{what}: not within {timeout:g} s, last seen: {last!r}")


def read_until(terminal, words, timeout=30.0):
    """Read a terminal until it shows these words."""
    seen = b""
    deadline = time.monotonic() + timeout
    while words not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
    assert words in seen, seen


def program(*arguments, check=True, timeout=120, **options):
    """A program of this host, its output captured."""
    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False, **options)
    if check:
        assert answer.returncode == 0, f"{shlex.join(arguments)}: {answer.stdout}{answer.stderr}"
    return answer


def docker(*arguments, **options):
    return program("docker", *arguments, **options).stdout


def inspect(*names):
    return json.loads(docker("inspect", *names))


class Stack:
    """One project: changed through `inv`, looked at without it."""

    def __init__(self, name, nodes=(), **settings):
        self.name = name
        self.nodes = tuple(nodes)
        self.settings = settings

    # inv ----------------------------------------------------------------------------------------------------

    @property
    def folder(self):
        return ROOT / "build" / self.name

    @property
    def keys_folder(self):
        return ROOT / "ssh" / self.name

    def environment(self, settings):
        given = {"project": self.name, **self.settings, **settings}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("INVOKE_")}
        return {**clean, **{f"INVOKE_PGHA_{key.upper()}": str(value) for key, value in given.items()}}

    def try_inv(self, *arguments, folder=".", timeout=400, **settings):
        """Run `inv` with nobody at its terminal; it may fail, but never with a traceback."""
        answer = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=ROOT / folder,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in answer.stderr, answer.stderr
        return answer

    def inv(self, *arguments, **options):
        """Run `inv`; it has to end well."""
        answer = self.try_inv(*arguments, **options)
        assert answer.returncode == 0, f"inv {shlex.join(arguments)}: {answer.stdout}\n{answer.stderr}"
        return answer

    def refused(self, code, *arguments, hint=True, **options):
        """Run `inv`; it has to end with this exit code, a sentence and a hint. Returns what it said."""
        answer = self.try_inv(*arguments, **options)
        assert answer.returncode == code, f"exit code {answer.returncode}: {answer.stdout}\n{answer.stderr}"
        assert "ERROR: " in answer.stderr
        assert "HINT: " in answer.stderr or not hint
        return answer.stderr

    def begin(self, *arguments, **settings):
        """Start `inv` in a process group of its own, as a shell does."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=ROOT,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A test run in the background inherits an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def status(self):
        """`inv status --json`: one document and nothing else on stdout."""
        return json.loads(self.inv("status", "--json").stdout)

    def dsn(self, *flags):
        return self.inv("dsn", *flags).stdout.strip()

    # The engine ---------------------------------------------------------------------------------------------

    def container(self, host):
        return f"{self.name}-{host}"

    def containers(self, *states):
        """Host name -> container id, running or not."""
        filters = [f"--filter=status={state}" for state in states]
        listed = docker(
            "ps", "--all", "--no-trunc", f"--filter=label={PROJECT_LABEL}={self.name}", *filters,
            "--format={{.Names}} {{.ID}}",
        )  # fmt: skip
        pairs = (line.split() for line in listed.splitlines())
        return {name.removeprefix(f"{self.name}-"): identity for name, identity in pairs}

    def volumes(self):
        return set(docker("volume", "ls", "--quiet", f"--filter=label={PROJECT_LABEL}={self.name}").split())

    def networks(self):
        return set(docker("network", "ls", f"--filter=label={PROJECT_LABEL}={self.name}", "--format={{.Name}}").split())

    def run(self, host, *command, user="root", check=True, stdin=None):
        """`docker exec`."""
        return docker("exec", "-i", f"--user={user}", self.container(host), *command, check=check, input=stdin)

    def shell(self, host, line, **options):
        return self.run(host, "sh", "-c", line, **options)

    def logs(self, host):
        answer = program("docker", "logs", self.container(host))
        return answer.stdout + answer.stderr

    def keep_logs(self, folder):
        """Every container's log, and of a node what its Postgres has and what runs, to look at later."""
        for host in self.containers():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.container(host)}.log").write_text(self.logs(host))
        for host in self.running_nodes():
            seen = self.shell(
                host, f"patronictl -c {CONFIG} list; ps axf; ls -l /pgdata/*/pg_wal; "
                "for bin in /usr/lib/postgresql/*/bin; do $bin/pg_controldata /pgdata/1?; done",
                check=False,
            )  # fmt: skip
            (folder / f"{self.container(host)}.state").write_text(seen)

    def published(self, host, port):
        """Host port of a container's port, as the engine binds it."""
        (binding,) = inspect(self.container(host))[0]["NetworkSettings"]["Ports"][f"{port}/tcp"]
        return int(binding["HostPort"])

    def healths(self):
        found = inspect(*self.containers().values())
        return {entry["Name"].strip("/"): entry["State"]["Health"]["Status"] for entry in found}

    # Cluster ------------------------------------------------------------------------------------------------

    def running_nodes(self):
        running = self.containers("running")
        return [node for node in self.nodes if node in running]

    def members(self, host=None):
        """`patronictl list` inside a node."""
        node = host or self.running_nodes()[0]
        return json.loads(self.run(node, "patronictl", "-c", CONFIG, "list", "-f", "json"))

    def leader(self):
        return next(m["Member"] for m in self.members() if m["Role"] == "Leader" and m["State"] == "running")

    def replicas(self):
        leader = self.leader()
        return [node for node in self.nodes if node != leader]

    def sql(self, host, query, check=True):
        """SQL on the node's own Postgres, over its socket."""
        return self.run(
            host, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query, user="postgres", check=check
        ).strip()

    def leads(self, host):
        return self.leader() == host and self.sql(host, "select pg_is_in_recovery()") == "f"

    def streaming(self, leader):
        """Who the leader's Postgres itself says streams from it."""
        rows = self.sql(leader, "select application_name from pg_stat_replication where state = 'streaming'")
        return set(rows.split())

    def well(self):
        """The leader's name if every other node streams from it on its timeline."""
        leader = self.leader()
        if len({m.get("TL") for m in self.members()}) != 1 or self.streaming(leader) != set(self.nodes) - {leader}:
            return None
        return leader

    def wait_well(self, timeout=90):
        return until(self.well, f"every member of {self.name} streams", timeout)

    def dynamic_configuration(self):
        return yaml.safe_load(self.run(self.running_nodes()[0], "patronictl", "-c", CONFIG, "show-config"))

    def system_identifier(self):
        return self.sql(self.leader(), "select system_identifier from pg_control_system()")

    def etcd_healthy(self):
        """How many etcd members can commit, asked inside a node."""
        etcds = sorted(host for host in self.containers() if host.startswith("etcd"))
        endpoints = ",".join(f"http://{name}:2379" for name in etcds)
        answer = self.run(
            self.running_nodes()[0], "etcdctl", f"--endpoints={endpoints}", "-w", "json", "endpoint", "health",
            check=False,
        )  # fmt: skip
        return sum(entry["health"] for entry in json.loads(answer))

    # Backups ------------------------------------------------------------------------------------------------

    def stanza(self):
        """`pgbackrest info`, as the seed calls it."""
        line = "pgbackrest --stanza=${STANZA_NAME} --output=json info"
        (stanza,) = json.loads(self.run("pgbackrest", "su", "-c", line, "postgres"))
        return stanza

    def archived(self):
        """WAL segments in the repository, sorted by name."""
        listed = self.run("pgbackrest", "find", "/pgha/pgbackrest/archive", "-name", "0*-*", "-printf", "%f\n")
        return sorted(line.split("-")[0] for line in listed.split())

    def backups(self):
        return [backup["label"] for backup in self.stanza().get("backup", [])]

    def pgbackrest_runs(self, command):
        """Processes of a pgBackRest command on the repository host."""
        return self.run("pgbackrest", "pgrep", "-f", f"pgbackrest --.* {command}", check=False).split()

    # Files --------------------------------------------------------------------------------------------------

    def passwords(self):
        return yaml.safe_load((self.folder / "passwords.yaml").read_text())

    def conninfo(self, host, **parameters):
        """One node's published port."""
        given = {"host": "127.0.0.1", "port": self.published(host, 5432), "user": "postgres", "dbname": "postgres",
                 "password": self.passwords()["superuser"], "connect_timeout": 5, **parameters}  # fmt: skip
        return psycopg.conninfo.make_conninfo(**given)

    def openssh(self, host, command, *options):
        """Plain OpenSSH with the rendered ssh_config: this host's, else the one in an image."""
        line = ["ssh", "-F", str(self.folder / "ssh_config"), *options, host, command]
        if shutil.which("ssh") is None:
            image = inspect(self.container("pgbackrest"))[0]["Config"]["Image"]
            line = ["docker", "run", "--rm", "--network=host", f"--volume={ROOT}:{ROOT}:ro", image, *line]
        return program(*line, check=False, stdin=subprocess.DEVNULL)

    # The end ------------------------------------------------------------------------------------------------

    def clear(self):
        """Nothing of the project is left, whatever state it was in, also without its rendered files."""
        kill = list(self.containers().values())
        if kill:
            docker("rm", "--force", "--volumes", *kill)
        self.try_inv("destroy", "--yes")
        for kind, names in (("network", self.networks()), ("volume", self.volumes())):
            if names:
                docker(kind, "rm", *names)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.keys_folder, ignore_errors=True)
        (ROOT / "build" / f"{self.name}.lock").unlink(missing_ok=True)


class Writer:
    """A client that writes numbered rows through a connection string, and remembers which were acknowledged."""

    def __init__(self, dsn, table):
        self.dsn, self.table = dsn, table
        self.acknowledged = []
        self.times = []
        self.failures = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"create table {self.table} (n bigint primary key)")
        self._thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def wait_for_more(self, timeout=60):
        """New rows are acknowledged from now on."""
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) > before + 20, "the client's writes are acknowledged", timeout, 0.05)

    def _work(self):
        number = 0
        while not self._stop.is_set():
            try:
                with psycopg.connect(self.dsn, autocommit=True) as connection:
                    while not self._stop.is_set():
                        number += 1
                        connection.execute(f"insert into {self.table} values (%s)", (number,))
                        self.acknowledged.append(number)
                        self.times.append(time.monotonic())
            except psycopg.Error:
                self.failures += 1
                self._stop.wait(0.1)

    def longest_gap(self):
        """Seconds between two acknowledged writes."""
        return max((later - earlier for earlier, later in itertools.pairwise(self.times)), default=0.0)

    def missing(self, stack):
        """Acknowledged rows that are not there."""
        rows = stack.sql(stack.leader(), f"select n from {self.table}").split()
        return set(self.acknowledged) - {int(row) for row in rows}


def interrupt(process, number=signal.SIGINT):
    """What Ctrl-C does: a signal to the whole foreground group. Returns exit code and output."""
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=90)
    assert "Traceback" not in output, output
    return process.returncode, output


def finish(process, timeout=180):
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output
