"""What the integration tests look through: `inv` as a program, the engine's own client, and libpq."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import yaml
from forks import Forks

from pgha.drills.recorder import Recorder
from pgha.errors import PghaError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "/pgha/config/patroni.conf"
STANZA = "pg_ha_db"
PROJECT_LABEL = "com.docker.compose.project"

PATIENCE = float(os.environ.get("PGHA_TEST_PATIENCE", "1"))
"""Every timeout is multiplied by it: for a machine that is slow or busy."""

CHECKOUT = hashlib.sha1(str(ROOT).encode()).hexdigest()
"""Tells this checkout's projects and ports from another one's."""

FORKS = Forks(ROOT)

STACKS = ("big", "second", "sites", "small", "daily", "restore", "stages", "shape", "machines")
FIRST_PORT, LAST_PORT, PORTS = 10240, 32768, 40
"""Published ports are below the kernel's ephemeral range, from which a client's connection gets its own; a stack has so
many."""


def project_of(stack):
    """The project's name of one of the STACKS, and what keeps it apart from other checkouts': ports and images."""
    room = len(STACKS) * PORTS
    first = FIRST_PORT + int(CHECKOUT, 16) % ((LAST_PORT - FIRST_PORT) // room) * room + STACKS.index(stack) * PORTS
    ports = {"postgres_port": first, "ssh_port": first + PORTS // 2, "monitoring_port": first + PORTS - 4}
    own = {**ports, "image_tag": CHECKOUT[:4]}
    return f"pghatest-{CHECKOUT[:4]}-{stack}", own


def load(text):
    """YAML, read by the quick loader."""
    return yaml.load(text, yaml.CSafeLoader)


def until(look, what, timeout=60.0, interval=0.2):
    """Look until the answer is true, and return it; a look that fails means not yet."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    last = None
    while time.monotonic() < deadline:
        try:
            last = look()
        except (AssertionError, LookupError, StopIteration, OSError, ValueError, psycopg.Error, PghaError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(interval)
    raise AssertionError(f"{what}: not within {timeout:g} s, last seen: {last!r}")


def read_until(terminal, words, timeout=30.0):
    """Read a terminal until it shows these words."""
    seen = b""
    deadline = time.monotonic() + timeout * PATIENCE
    while words not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
    assert words in seen, seen


def program(*arguments, check=True, timeout=120, **options):
    """A program of this host, its output captured."""
    answer = subprocess.run(
        arguments, capture_output=True, text=True, timeout=timeout * PATIENCE, check=False, **options
    )
    if check:
        assert answer.returncode == 0, f"{shlex.join(arguments)}: {answer.stdout}{answer.stderr}"
    return answer


def docker(*arguments, **options):
    return program("docker", *arguments, **options).stdout


def inspect(*names):
    return json.loads(docker("inspect", *names))


def sentences(status):
    """What `inv status --json` says is wrong, in words."""
    return [problem["sentence"] for problem in status["problems"]]


class Stack:
    """One project: changed through `inv`, looked at without it."""

    def __init__(self, stack, nodes=()):
        self.name, self.own = project_of(stack)
        self.nodes = tuple(nodes)
        self.settings = {}
        self._asked = ""
        """The node that answered last, which is asked first."""

    # inv ----------------------------------------------------------------------------------------------------

    @property
    def folder(self):
        return ROOT / "build" / self.name

    @property
    def keys_folder(self):
        return ROOT / "ssh" / self.name

    @property
    def certificates_folder(self):
        return ROOT / "tls" / self.name

    def environment(self, settings):
        given = {"project": self.name, **self.own, "up_timeout": round(180 * PATIENCE), **self.settings, **settings}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("INVOKE_")}
        return {**clean, **{f"INVOKE_PGHA_{key.upper()}": str(value) for key, value in given.items()}}

    def try_inv(self, *arguments, folder=".", timeout=400, stdin=None, **settings):
        """Run `inv` without a terminal, with nothing or this text as input; it may fail, but without a traceback."""
        where, environment, seconds = ROOT / folder, self.environment(settings), timeout * PATIENCE
        if stdin is None:
            answer = FORKS.run(arguments, where, environment, seconds)
        else:
            line = [sys.executable, "-m", "invoke", *arguments]
            answer = subprocess.run(
                line,
                cwd=where,
                env=environment,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=seconds,
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

    def addresses(self):
        """Host name -> network -> the container's address in it; those that run."""
        seen = inspect(*self.containers("running").values())
        return {
            entry["Config"]["Hostname"]: {
                name: network["IPAddress"] for name, network in entry["NetworkSettings"]["Networks"].items()
            }
            for entry in seen
        }

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

    def keep(self, folder):
        """What the containers said, and what each part thinks the cluster is, to look at later."""
        seen = {
            f"{self.name}.containers": docker("ps", "--all", f"--filter=label={PROJECT_LABEL}={self.name}", check=False)
        }
        hosts = self.containers()
        if not hosts:
            return False
        seen[f"{self.name}.status"] = told(self.try_inv("status", "--json"))
        for host in hosts:
            seen[f"{self.container(host)}.log"] = self.logs(host)
        for host in self.running_nodes():
            line = (
                f"curl -sm 5 {self.scheme}://localhost:8008/patroni; echo; "
                f"curl -sm 5 {self.scheme}://localhost:8008/cluster; echo; "
                f"patronictl -c {CONFIG} list; patronictl -c {CONFIG} history; ps axf; ls -l /pgdata/*/pg_wal; "
                "for bin in /usr/lib/postgresql/*/bin; do $bin/pg_controldata /pgdata/1?; done"
            )
            seen[f"{self.container(host)}.state"] = self.shell(host, f"exec 2>&1; {line}", check=False)
        for name in ("restore.yaml", "recover.yaml", "broken.yaml", "maintenance.yaml", "project.yaml"):
            if (self.folder / name).exists():
                seen[f"{self.name}.{name}"] = (self.folder / name).read_text()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in seen.items():
            (folder / name).write_text(text)
        return True

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

    def dcs(self, *keys):
        """Keys of the cluster in etcd -> values, as the majority of its members has them."""
        endpoints = ",".join(f"{self.scheme}://{host}:2379" for host in self.etcds)
        line = ["etcdctl", f"--endpoints={endpoints}", "--command-timeout=3s", "get", "--prefix", "/service/"]
        for node in sorted(self.nodes, key=lambda node: node != self._asked):
            lines = self.run(node, *line, check=False).splitlines()
            if lines:
                self._asked = node
                return {key.split("/", 3)[-1]: value for key, value in zip(lines[::2], lines[1::2], strict=True)}
        raise LookupError(f"no member of {self.name} can read etcd")

    @property
    def scheme(self):
        """How etcd and Patroni are asked."""
        return "https" if "PGHA_TLS" in (self.folder / "compose.yaml").read_text() else "http"

    @property
    def etcds(self):
        found = re.findall(r"^  (etcd\d+):$", (self.folder / "compose.yaml").read_text(), re.MULTILINE)
        return list(dict.fromkeys(found))

    def members(self):
        """Member -> what it last wrote into etcd."""
        keys = self.dcs()
        return {key.removeprefix("members/"): json.loads(keys[key]) for key in keys if key.startswith("members/")}

    def leader(self):
        """Who holds the lock and runs."""
        keys = self.dcs()
        leader = keys["leader"]
        if json.loads(keys[f"members/{leader}"])["state"] != "running":
            raise LookupError(f"{leader} does not run")
        return leader

    def replicas(self):
        leader = self.leader()
        return [node for node in self.nodes if node != leader]

    def sql(self, host, query, check=True):
        """What the node's own Postgres answers, as psql -At shows it."""
        try:
            with psycopg.connect(self.conninfo(host), autocommit=True) as connection:
                result = connection.pgconn.exec_(query.encode())
                if result.status not in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.COMMAND_OK):
                    raise psycopg.DatabaseError(result.error_message.decode())
        except psycopg.Error:
            if check:
                raise
            return ""
        rows = range(result.ntuples)
        fields = range(result.nfields)
        return "\n".join("|".join((result.get_value(r, f) or b"").decode() for f in fields) for r in rows)

    def leads(self, host):
        return self.leader() == host and self.sql(host, "select pg_is_in_recovery()") == "f"

    def streaming(self, leader):
        """Who the leader's Postgres itself says streams from it."""
        rows = self.sql(leader, "select application_name from pg_stat_replication where state = 'streaming'")
        return set(rows.split())

    def well(self):
        """The leader's name if every other node streams from it on its timeline."""
        keys = self.dcs()
        leader = keys["leader"]
        members = {node: json.loads(keys[f"members/{node}"]) for node in self.nodes}
        if members[leader]["state"] != "running" or len({m.get("timeline") for m in members.values()}) != 1:
            return None
        return leader if self.streaming(leader) == set(self.nodes) - {leader} else None

    def wait_well(self, timeout=90):
        return until(self.well, f"every member of {self.name} streams", timeout)

    def wait_synchronous(self):
        """Only when every standby may be waited for, Patroni can be sure that one of them has each acknowledged
        commit: before that nobody is promoted when the leader is lost."""
        leader = self.wait_well()

        def whole():
            names = self.sql(leader, "show synchronous_standby_names")
            return all(node in names for node in self.nodes if node != leader)

        until(whole, "every standby is synchronous")
        return leader

    def dynamic_configuration(self):
        return json.loads(self.dcs()["config"])

    def system_identifier(self):
        return self.sql(self.leader(), "select system_identifier from pg_control_system()")

    def etcd_healthy(self):
        """How many etcd members can commit, asked inside a node."""
        etcds = sorted(host for host in self.containers() if host.startswith("etcd"))
        endpoints = ",".join(f"{self.scheme}://{name}:2379" for name in etcds)
        answer = self.run(
            self.running_nodes()[0], "etcdctl", f"--endpoints={endpoints}", "-w", "json", "endpoint", "health",
            check=False,
        )  # fmt: skip
        return sum(entry["health"] for entry in json.loads(answer))

    # Backups ------------------------------------------------------------------------------------------------

    def stanza(self):
        """`pgbackrest info`, as the hand-built setup calls it."""
        line = "pgbackrest --stanza=${STANZA_NAME} --output=json info"
        (stanza,) = json.loads(self.run("pgbackrest", "su", "-c", line, "postgres"))
        return stanza

    def archived(self):
        """WAL segments in the repository, sorted by name; in every one, where there are two."""
        listed = self.run("pgbackrest", "find", "/pgha/pgbackrest", "-path", "*/archive/*", "-name", "0*-*")
        places = Counter(line.rsplit("/", 1)[-1].split("-")[0] for line in listed.split())
        return sorted(name for name, times in places.items() if times == max(places.values()))

    def backups(self):
        return [backup["label"] for backup in self.stanza().get("backup", [])]

    def pgbackrest_runs(self, command):
        """Processes of a pgBackRest command on the repository host."""
        return self.run("pgbackrest", "pgrep", "-f", f"pgbackrest --.* {command}", check=False).split()

    # Files --------------------------------------------------------------------------------------------------

    def passwords(self):
        return load((self.folder / "passwords.yaml").read_text())

    def conninfo(self, host, **parameters):
        """One node's published port."""
        port = load((self.folder / "project.yaml").read_text())["ports"]["postgres"][host]
        given = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": "postgres",
                 "password": self.passwords()["superuser"], "connect_timeout": 5}  # fmt: skip
        if "sslmode: verify-full" in (self.folder / host / "patroni.conf").read_text():
            given |= {"host": host, "hostaddr": "127.0.0.1", "sslmode": "verify-full",
                      "sslrootcert": str(self.certificates_folder / "ca.crt")}  # fmt: skip
        given |= parameters
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
        shutil.rmtree(self.certificates_folder, ignore_errors=True)
        (ROOT / "build" / f"{self.name}.lock").unlink(missing_ok=True)


class Writer(Recorder):
    """The drills' writer on a table of its own, and what the tests wait for."""

    def __init__(self, dsn, table):
        super().__init__(dsn, table, pause=0.02, connect_pause=0.1)

    def __enter__(self):
        super().__enter__()
        self.wait_for_more()
        return self

    def wait_for_more(self, timeout=60):
        """New rows are acknowledged from now on."""
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) > before + 20, "the client's writes are acknowledged", timeout, 0.05)

    def missing(self):
        """Acknowledged rows that are not there."""
        return set(until(lambda: [self.verdict()], "the rows can be read")[0].lost)


def told(answer):
    return f"{answer.stdout}{answer.stderr}"


def now():
    """This moment, after all that was committed and before all that will be: one host, one clock."""
    return datetime.now(UTC).isoformat()


def after(moment):
    """Wait until this second (since 1970) is over: pgBackRest's times have no fractions."""
    until(lambda: time.time() >= int(moment) + 1, "the next second", 5, 0.05)


def take_backup(stack, *flags):
    """A backup; later points in time are after it."""
    stack.inv("backup", *flags)
    after(stack.stanza()["backup"][-1]["timestamp"]["stop"])


def numbered_rows(stack):
    """A table with the rows 1 to 3, and a backup that has them."""
    stack.sql(stack.leader(), "drop table if exists numbered; create table numbered (n int)")
    write(stack, 1, 2, 3)
    take_backup(stack, "--type", "incr")
    return stack


def rows(stack, table="numbered"):
    return [int(n) for n in stack.sql(stack.leader(), f"select n from {table} order by n").split()]


def write(stack, *numbers, table="numbered"):
    """Numbered rows, each a transaction; returns the last one's xid."""
    leader = stack.leader()
    return [stack.sql(leader, f"insert into {table} values ({n}) returning xmin") for n in numbers][-1]


def check_restored(stack):
    """One leader, all others streaming on its timeline, no slot left behind, archiving works, a backup can be taken."""
    leader = stack.wait_well()
    assert stack.sql(leader, "select count(*) from pg_replication_slots where not active") == "0"
    before = stack.backups()
    stack.run("pgbackrest", "pgbackrest", "--stanza=pg_ha_db", "check", user="postgres")
    stack.inv("backup", "--type", "incr")
    assert len(stack.backups()) == len(before) + 1
    assert stack.status()["healthy"] is True
    assert not (stack.folder / "restore.yaml").exists()


def record(stack):
    """What chaos broke and nobody healed yet."""
    return stack.folder / "broken.yaml"


def healed(stack):
    """Heal a stack, unless nothing is broken any more."""
    if record(stack).exists() or set(stack.containers()) != set(stack.containers("running")):
        stack.inv("chaos.heal")
    stack.wait_well()
    assert not record(stack).exists()


def taken_over(stack, *lost, timeout=60):
    """Wait until a member that is none of these leads and accepts writes; returns it."""

    def leads():
        leader = stack.leader()
        return leader not in lost and stack.sql(leader, "select pg_is_in_recovery()") == "f" and leader

    return until(leads, "another member leads", timeout)


def port_is_taken(stack, host):
    """Whether the engine could not start a container because somebody else had its port."""
    return "address already in use" in inspect(stack.container(host))[0]["State"]["Error"]


def reports(stack):
    folder = stack.folder / "drills"
    return sorted(folder.iterdir()) if folder.exists() else []


GENEROUS = {f"drill_gap_{kind}": 300 for kind in (
    "planned", "stopped", "process", "lost", "bystander", "link", "operator", "recovery"
)}  # fmt: skip
"""How long writes may stop is not a test's business: this machine may be busy with something else. What is lost is."""


def play(stack, name, **settings):
    """Play a scenario with `inv drill`; its report. The stack is whole before and after, and nothing is lost."""
    line = ("drill", "--name", name, "--json")
    document = json.loads(stack.inv(*line, timeout=600, **{**GENEROUS, **settings}).stdout)
    assert not (stack.folder / "broken.yaml").exists()
    assert stack.wait_well(), "a drill leaves the cluster whole"
    (run,) = document["runs"]
    assert run["acknowledged"] > 20
    assert run["probed"] > 0
    assert [run[kind] for kind in ("lost", "phantom", "duplicates", "two_leaders", "shared_timelines")] == [[]] * 5
    return document


def summary(document):
    (only,) = document["scenarios"]
    return only


def interrupt(process, number=signal.SIGINT):
    """What Ctrl-C does: a signal to the whole foreground group. Returns exit code and output."""
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=90 * PATIENCE)
    assert "Traceback" not in output, output
    return process.returncode, output


def finish(process, timeout=180):
    output, _ = process.communicate(timeout=timeout * PATIENCE)
    return process.returncode, output
