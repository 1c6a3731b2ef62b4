"""What is said of each machine before anything is brought there."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pgha.errors import MachineUnreachable, ToolFailed
from pgha.remote.engines import HERE, Engine
from pgha.stack import machine_parts
from pgha.stack.machine_parts import check_machines
from pgha.tools import docker_client
from pgha.tools.command import Answer

MACHINES = {"dc1": "ssh://10.0.0.1", "backup": "ssh://10.0.0.2"}


@pytest.fixture
def found(make_project, monkeypatch):
    """What is said of the second machine, whose engine says this."""
    monkeypatch.setattr(machine_parts.readiness, "engine_problem", lambda: None)

    def found(version="26.1.5", architecture="x86_64", ahead=0.0, error=None):
        def must(engine, command):
            second = engine.machine is not None and engine.machine.name == "10.0.0.2"
            if second and error:
                raise error
            time = datetime.now(UTC) + timedelta(seconds=ahead if second else 0)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
            told = {"ServerVersion": version if second else "26.1.5", "NCPU": 4, "MemTotal": 8 << 30}
            told |= {"Architecture": architecture if second else "x86_64", "SystemTime": stamp}
            return Answer(command, json.dumps(told), "", 0)

        monkeypatch.setattr(Engine, "must", must)
        first, second = check_machines(make_project(data_centers=1, nodes=1, machines=MACHINES))
        assert first[2] == ""
        return second

    return found


def test_a_machine_that_is_well_is_told_with_what_it_has(found):
    assert found() == ("machine 10.0.0.2", "10.0.0.2, engine 26.1.5, 4 CPUs, 8.0GB of memory", "")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"version": "19.3.1"}, "its engine is 19.3.1; 20.10 is the oldest"),
        ({"architecture": "aarch64"}, "its CPUs are aarch64, and the images built here are for x86_64"),
        ({"ahead": 10}, "its clock is 10 s ahead"),
        ({"ahead": -10}, "its clock is 10 s behind"),
        ({"error": MachineUnreachable("Machine 10.0.0.2 is unreachable: x")}, "is unreachable: x"),
    ],
)
def test_what_is_wrong_with_a_machine_is_said(found, given, words):
    assert words in found(**given)[2]


def test_without_machines_there_is_nothing_to_say(a_project, monkeypatch):
    monkeypatch.setattr(HERE.__class__, "must", None)
    assert check_machines(a_project) == []


def test_an_answer_that_is_none_is_an_error():
    with pytest.raises(ToolFailed, match="says nothing of its machine"):
        docker_client.parse_info("null")
