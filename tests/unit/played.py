"""A cluster that is played by a few lines."""

import json
import re

import yaml

from pgha.errors import Unreachable
from pgha.remote import connections
from pgha.tools import databases, postgres
from pgha.tools.command import Answer
from pgha.tools.slots import LOGICAL


class Played(connections.Connections):
    """A cluster of a leader `pg1-node1` and streaming standbys: it answers patronictl, the REST API, etcdctl and psql.
    Tests spoil what they need."""

    def __init__(self, project):
        super().__init__(project)
        self.names = [node.name for node in project.topology.nodes]
        self.leader = self.names[0]
        self.streaming = set(self.names)
        self.away = set()
        self.location = dict.fromkeys(self.names, 1000)
        self.timeline = dict.fromkeys(self.names, 1)
        self.config = {"ttl": 20}
        self.deaf = False
        self.etcd = {member.name: True for member in project.topology.etcd}
        self.commands = []
        self.age, self.clock, self.blind, self.cut, self.silent = {}, {}, set(), set(), set()
        self.used, self.slots = {}, {}
        self.hung = set()
        """members that do not act by a pause"""
        self.states, self.pending = {}, {}
        self.stuck, self.forces, self.lacks = {}, {}, {}
        """members that keep a dynamic configuration, a value of a parameter, or lack a library"""
        self.log = "INFO: replica has been created using basebackup\n"
        self.makes = "INFO: replica has been created using pgbackrest\n"
        """what a reinit writes into the member's log"""
        self.databases = {"postgres": ["postgres", True]}
        self.roles = {"postgres": ["postgres"], "byhand": [], "strong": ["strong"], "member": ["pg_write_server_files"]}
        self.verifiers, self.run_in, self.fails = {}, [], ""

    def run(self, host, command, line=None):
        if host in self.away:
            raise Unreachable(f"{host} cannot be reached")
        if command.argv[0] == "postgres":
            return self._tried(command, *command.argv[-1].split("=", 1))
        stdout = self._answer(host, command.argv)
        return Answer(command, stdout, "", 0)

    def _tried(self, command, name, value):
        """A value that Postgres is asked for."""
        if value == "banana":
            return Answer(command, "", f'LOG:  x\n2026 FATAL:  invalid value for parameter "{name}"', 1)
        return Answer(command, {"8MB": "8192"}.get(value, value) + "\n", "", 0)

    def feed(self, host, command, text):
        """SQL of `inv database`, a statement a line."""
        if command.argv[0] == "sh":
            self.run_in.append(("log in", text))
            return Answer(command, "1\n", "", 0)
        for line in text.splitlines():
            if self.fails and self.fails in line:
                return Answer(command, "", f"ERROR:  cannot {self.fails}", 3)
            self.run_in.append((command.argv[-3], line.partition(" password")[0]))
            if found := re.match(r"(?:create|alter) role \"(\w+)\" login password '(SCRAM-SHA-256[^']+)'", line):
                self.roles.setdefault(found[1], [])
                self.verifiers[found[1]] = found[2]
            elif found := re.match(r'create database "(\w+)" owner "(\w+)"', line):
                self.databases[found[1]] = [found[2], True]
            elif found := re.match(r'revoke connect, temporary on database "(\w+)"', line):
                self.databases[found[1]][1] = False
        return Answer(command, "", "", 0)

    def _answer(self, host, argv):
        if argv[0] == "cat":
            return json.dumps(self.stuck.get(host, self.config))
        if argv[0] == "etcdctl" and "get" in argv:
            paused = {name: {"pause": True} if self.config.get("pause") and name not in self.hung else {}
                      for name in self.names}  # fmt: skip
            return "".join(f"/service/pgha_cluster/members/{name}\n{json.dumps(paused[name])}\n" for name in self.names)
        if argv[0] == "etcdctl":
            return json.dumps([{"endpoint": f"https://{n}:2379", "health": up} for n, up in self.etcd.items()])
        if argv[0] == "sh":
            now = 1_000_000 + self.clock.get(host, 0)
            cluster = {} if host in self.blind else self._cluster()
            told = {**self._node(host, "localhost"), "dcs_last_seen": now - self.age.get(host, 0)}
            healthy = {name for name, up in self.etcd.items() if up and host not in self.cut}
            seen = "\n".join(f"{200 if n in healthy else 503} https://{n}:2379/health" for n in self.etcd)
            if host in self.silent:
                return f"{now}\n\n\n{seen}\n"
            return f"{now}\n{json.dumps(told)}\n{json.dumps(cluster)}\n{seen}\n"
        if argv[0] == "curl":
            asked, what = re.fullmatch(r"https://(.+):8008/(\w+)", argv[-1]).groups()
            if what == "config":
                return json.dumps(self.config)
            return json.dumps(self._cluster() if what == "cluster" else self._node(host, asked))
        return self._sql(host, argv[-1]) if "psql" in argv else self._patronictl(argv)

    def _sql(self, host, query):
        if query == LOGICAL:
            return json.dumps(self.slots.get(host, []))
        if query == postgres.DATABASES:
            return "postgres\napp\n"
        if query == databases.THERE:
            return json.dumps({
                "databases": [{"name": n, "owner": o, "size": 7, "clients": 1, "open": p} for n, (o, p) in
                              self.databases.items()],
                "roles": [{"name": n, "login": n != "nologin", "powers": p} for n, p in self.roles.items()],
            })  # fmt: skip
        if "from pg_settings" in query:
            shown = [*self.forces.get(host, ["8192", "8MB"]), "user", "configuration file"]
            return json.dumps({"work_mem": shown, "max_connections": ["100", "100", "postmaster", "command line"]})
        if "PKGLIBDIR" in query:
            return self.lacks.get(host, "")
        return json.dumps(self.used.get(host, {}))

    def _patronictl(self, argv):
        verb = argv[3]
        if verb == "show-config":
            return yaml.safe_dump(self.config)
        self.commands.append(" ".join(argv[3:]))
        if self.deaf:
            return "Failed: status code=503\nFailover failed, details: 412, no good candidates\n"
        if verb in ("pause", "resume"):
            self.config["pause"] = verb == "pause"
            return "Success\n"
        if verb == "reinit":
            self.log += self.makes
            return f"Success: reinitialize for member {argv[5]}\n"
        if verb == "edit-config":
            for pair in argv:
                key, is_set, value = pair.removeprefix("--set=").partition("=")
                if is_set and pair.startswith("--set="):
                    self._set(key, yaml.safe_load(value))
            return ""
        self.leader = argv[argv.index("--candidate") + 1] if "--candidate" in argv else self._standbys()[0]
        return "Successfully handed over\n"

    def _set(self, key, value):
        *path, name = key.split(".")
        inner = self.config
        for step in path:
            inner = inner.setdefault(step, {})
        inner[name] = value

    def _cluster(self):
        return {"members": [self._member(name) for name in self.names], "pause": bool(self.config.get("pause"))}

    def _member(self, name):
        leads = name == self.leader
        state = "running" if leads else "streaming" if name in self.streaming else "starting"
        synchronous = self._standbys()[: self.config.get("synchronous_node_count", 0)]
        role = "leader" if leads else "sync_standby" if name in synchronous else "replica"
        return {"name": name, "role": role, "state": self.states.get(name, state), "timeline": 1}

    def _standbys(self):
        return [name for name in self.names if name != self.leader]

    def _node(self, host, asked):
        name = host if asked == "localhost" else asked
        standbys = [{"application_name": other, "state": "streaming"} for other in self.streaming - {name}]
        return {
            "state": self.states.get(name, "running"),
            "role": "primary" if name == self.leader else "replica",
            "timeline": self.timeline[name],
            "xlog": {"received_location": self.location[name]},
            "replication": standbys if name == self.leader else [],
            "patroni": {"name": name, "version": "4.0.7"},
            "pending_restart": name in self.pending,
            "pending_restart_reason": {key: {} for key in self.pending.get(name, ())},
        }
