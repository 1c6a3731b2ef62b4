import pytest

from pgha.errors import BadSettings
from pgha.model.settings import read_settings
from pgha.project.addresses import machine_addresses
from pgha.project.project import open_project

NAMES = {"db-a": "10.0.1.9", "db-b": "10.0.2.9", "db-a.example.com": "10.0.1.9", "here": "127.0.1.1"}
SMALL = {"data_centers": 1, "nodes": 1}


def look_up(name):
    try:
        return NAMES[name]
    except KeyError:
        raise OSError(f"{name} is not known") from None


def found(recorded=None, **machines):
    return machine_addresses(read_settings({**SMALL, "machines": machines}), recorded or {}, look_up)


def problem(**machines):
    with pytest.raises(BadSettings) as caught:
        found(**machines)
    (only,) = caught.value.problems
    return only


def test_a_name_is_looked_up_and_an_address_is_not():
    backup = {"engine": "ssh://x", "address": "10.9.9.9"}
    assert found(dc1="ssh://root@db-a", backup=backup) == {"ssh://root@db-a": "10.0.1.9", "ssh://x": "10.9.9.9"}


def test_what_was_looked_up_once_holds():
    recorded = {"ssh://db-a": "10.7.7.7"}
    assert found(recorded, dc1="ssh://db-a", backup="ssh://db-a") == recorded


def test_a_given_address_holds_whatever_was_looked_up():
    given = {"engine": "ssh://db-a", "address": "10.0.0.1"}
    assert found({"ssh://db-a": "10.7.7.7"}, dc1=given, backup="ssh://db-a") == {"ssh://db-a": "10.0.0.1"}


def test_a_name_nobody_knows_is_said():
    assert "no address of db-x is known here: give it, as in {engine: ssh://db-x" in problem(
        dc1="ssh://db-x", backup="ssh://db-a"
    )


def test_one_machine_under_two_names_is_said():
    assert "ssh://db-a and ssh://db-a.example.com have one address, 10.0.1.9" in problem(
        dc1="ssh://db-a", backup="ssh://db-a.example.com"
    )


def test_a_machine_is_not_at_an_address_of_this_host_alone():
    assert "ssh://here is at 127.0.1.1" in problem(dc1="ssh://db-a", backup="ssh://here")


def test_the_hosts_of_a_project_are_at_the_addresses_of_its_record(root):
    (root / "build" / "pgha").mkdir(parents=True)
    layers = [{**SMALL, "machines": {"dc1": "ssh://db-a", "backup": "ssh://db-a"}}]
    (root / "build" / "pgha" / "project.yaml").write_text(
        "{flags: {}, ports: {}, first: {}, addresses: {'ssh://db-a': 10.5.5.5}}"
    )
    assert {host.machine.address for host in open_project(layers, root=root).topology.hosts} == {"10.5.5.5"}
