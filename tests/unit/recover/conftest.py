"""Three data centers of which two are lost, played by a few lines."""

import json
from contextlib import contextmanager

import pytest

from pgha.errors import Unreachable
from pgha.recover import account
from pgha.tools.command import Answer
from pgha.tools.docker import Container
from pgha.tools.etcd import EtcdView
from pgha.tools.etcd_alone import Known
from pgha.tools.repository import Archive, StanzaView

SEEN = Known("pg1-node1", "pg1-node1", ("pg2-node1", "pg3-node1"), 1, 0, (), {})


class Lost:
    """dc1 and dc2 do not run; what is left of etcd and of Postgres says where it is."""

    def __init__(self, project):
        self.project = project
        names = [host.name for host in project.topology.hosts]
        self.states = {name: "exited" if self.site(name) in ("dc1", "dc2") else "running" for name in names}
        self.healthy = ()
        self.index = {name: 100 for name in names if name.startswith("etcd")}
        self.at = {node.name: ("0/5000060", 1) for node in project.topology.nodes}
        self.silent = set()
        self.known = SEEN
        self.planned = ()
        self.archive = Archive({1: {3: 0, 4: 0}}, ())
        self.touched = []

    def site(self, name):
        return self.project.topology.host(name).site.name

    def containers(self, project):
        found = {name: Container(name, name, "", state, "", "", ()) for name, state in self.states.items() if state}
        return {name: container for name, container in found.items() if name not in project.gone}

    @contextmanager
    def leaving_out(self, away):
        assert away == {name: state or "missing" for name, state in self.states.items() if state != "running"}
        yield

    def first(self, hosts, command, parse):
        member = command.argv[1].partition("://")[2].partition(":")[0]
        if self.states[member] != "running" or not any(self.states[host] == "running" for host in hosts):
            raise Unreachable(f"{member} does not answer")
        return (hosts[0], self.known) if "get" in command.argv else (hosts[0], self.index[member])

    def everywhere(self, commands):
        return {name: self._position(name, command) for name, command in commands.items()}

    def _position(self, name, command):
        if name in self.silent or self.states[name] != "running":
            return Unreachable(f"{name} cannot be reached")
        at, timeline = self.at[name]
        told = {"in_recovery": True, "received": at, "replayed": at, "committed": 1.0, "timeline": timeline,
                "receiving": None}  # fmt: skip
        return Answer(command, json.dumps(told), "", 0)

    @property
    def etcd(self):
        names = [member.name for member in self.project.topology.etcd]
        return EtcdView(self.healthy, tuple(name for name in names if name not in self.healthy))


@pytest.fixture
def lost(a_project, monkeypatch):
    """Three data centers with two nodes each: etcd1 and etcd4 were at dc1, etcd2 and etcd5 at dc2."""
    lost = Lost(a_project)
    monkeypatch.setattr(account, "connect", lambda project: lost)
    monkeypatch.setattr(account.engine, "require_any_engine", lambda project: None)
    monkeypatch.setattr(account.engine, "containers", lost.containers)
    monkeypatch.setattr(account, "read_etcd", lambda project: lost.etcd)
    monkeypatch.setattr(account, "stopped", lambda project, containers: lost.planned)
    monkeypatch.setattr(account, "read_stanza", lambda project: StanzaView(True, "", False, (), None, None, False,
                                                                         archive_id="17-1"))  # fmt: skip
    monkeypatch.setattr(account, "read_archive", lambda project, stanza: lost.archive)
    return lost
