"""Whether the machines reach each other, asked before anything is made; the two scripts are run here."""

import contextlib
import socket
import subprocess
import sys

import pytest

from pgha.console import Progress
from pgha.errors import Parted, PortTaken, ToolFailed
from pgha.project.ports import choose_ports
from pgha.remote.engines import Engine
from pgha.stack.probing import ports_of, require_reach
from pgha.tools import probe
from pgha.tools.command import Answer

MACHINES = {"dc1": "ssh://10.0.0.1", "dc2": "ssh://10.0.0.2", "dc3": "ssh://10.0.0.3", "backup": "ssh://10.0.0.1"}


@pytest.fixture
def several(make_project):
    return make_project(data_centers=3, nodes=1, machines=MACHINES)


@pytest.fixture
def played(monkeypatch, several):
    """Engines that answer so: the start of a listener, and what 10.0.0.2 hears."""

    def played(listening=(0, ""), silent="[]", there=()):
        ran = []

        def run(engine, command):
            words = str(command)
            ran.append((engine.machine.name, words.split()[1]))
            if "--detach" in words:
                return Answer(command, "", listening[1], listening[0])
            heard = silent if engine.machine.name == "10.0.0.2" else "[]"
            return Answer(command, heard if " run " in words else "", "", 0)

        monkeypatch.setattr(Engine, "run", lambda engine, command, **_: run(engine, command))
        ports = choose_ports(several.settings, several.topology, {}, lambda port: True)
        new = [host.name for host in several.topology.hosts if host.name not in there]
        require_reach(several, new, ports, Progress())
        return ran

    return played


def test_every_port_of_a_machine_is_tried_and_nothing_is_left(played):
    ran = played()
    assert [verb for machine, verb in ran if machine == "10.0.0.3"] == ["rm", "run", "run", "rm"]


def test_what_is_there_already_listens_itself(played):
    assert played(there=["etcd1"]) == []


def test_the_ports_of_a_machine_are_those_that_are_published(several):
    ports = choose_ports(several.settings, several.topology, {}, lambda port: True)
    assert ports_of(several, several.topology.machines[0], ports) == [2379, 2380, 5432, 8008, 8432, 8442, 50651, 50661]
    assert ports_of(several, several.topology.machines[1], ports) == [2379, 2380, 5432, 8008, 8432, 50651]


def test_a_firewall_between_two_machines_is_named(played):
    silent = '[["10.0.0.1", 2379, "no answer"], ["10.0.0.1", 2380, "no answer"], ["10.0.0.3", 22, "x"]]'
    with pytest.raises(Parted, match=r"10\.0\.0\.2 does not reach 10\.0\.0\.1 at .*, ports 2379, 2380: no answer"):
        played(silent=silent)


def test_a_port_that_is_taken_there_is_named(played):
    words = "listen tcp4 10.0.0.1:5432: bind: address already in use"
    with pytest.raises(PortTaken, match=r"Port 5432 of 10\.0\.0\.\d is taken"):
        played(listening=(125, words))


def test_an_address_that_is_not_the_machines_is_told_with_the_engines_words(played):
    words = "listen tcp4 10.0.0.1:5432: bind: cannot assign requested address"
    with pytest.raises(ToolFailed, match=r"Nothing can listen at 10\.0\.0\.\d.*\n.*cannot assign requested address"):
        played(listening=(125, words))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_what_listens_is_heard_and_what_does_not_is_told():
    port, closed = free_port(), free_port()
    listening = subprocess.Popen([sys.executable, "-c", probe.LISTEN, str(port)])
    try:
        asked = [sys.executable, "-c", probe.ASK.replace("+ 5,", "+ 2,"), f"127.0.0.1:{port}", f"127.0.0.1:{closed}"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=True)
    finally:
        listening.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            listening.wait(5)
    (silent,) = probe.parse_silent(answer.stdout)
    assert (silent.address, silent.port, silent.words) == ("127.0.0.1", closed, "Connection refused")


def test_an_answer_that_is_none_is_an_error():
    with pytest.raises(ToolFailed, match="could not be tried"):
        probe.parse_silent("no")
