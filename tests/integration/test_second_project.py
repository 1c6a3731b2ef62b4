"""A second project beside the first."""

import json

import pytest
from tools import docker, inspect

pytestmark = pytest.mark.integration


@pytest.fixture
def second(bench, main):
    yield bench.second
    bench.second.clear()


def ports(stack):
    return {
        int(binding["HostPort"])
        for entry in inspect(*stack.containers().values())
        for bindings in entry["HostConfig"]["PortBindings"].values()
        for binding in bindings
    }


def test_a_second_project_shares_nothing_with_the_first(main, second):
    first_leader, first_containers = main.leader(), main.containers()
    second.inv("render", "-d", "1", "-p", "2", "up", "status")
    second.wait_well()
    assert len(ports(main)) == 13 and len(ports(second)) == 5
    assert ports(main).isdisjoint(ports(second))
    assert main.networks().isdisjoint(second.networks())
    assert main.volumes().isdisjoint(second.volumes())
    assert second.system_identifier() != main.system_identifier()
    assert second.passwords() != main.passwords()
    assert set(second.containers()) == {"etcd1", "etcd2", "etcd3", "pg1-node1", "pg1-node2", "pgbackrest"}

    second.inv("destroy", "--yes")
    assert (second.containers(), second.volumes(), second.networks()) == ({}, set(), set())
    assert not second.folder.exists()
    assert main.containers("running") == first_containers
    assert main.wait_well() == first_leader
    assert json.loads(main.inv("status", "--json").stdout)["healthy"] is True


def test_destroy_without_a_terminal_and_without_yes_takes_nothing(main):
    before = main.containers("running"), main.volumes()
    said = main.refused(2, "destroy")
    assert "--yes" in said
    assert "--yes" in main.refused(2, "keys", "--rotate")
    assert (main.containers("running"), main.volumes()) == before


def test_destroy_takes_everything_that_is_the_projects(bench, main):
    main.inv("destroy", "--yes")
    assert (main.containers(), main.volumes(), main.networks()) == ({}, set(), set())
    assert {path.name for path in main.folder.glob("*")} <= {"drills"}
    assert main.name not in docker("ps", "--all", "--format={{.Names}}")
    said = main.refused(3, "status")
    assert "inv up" in said
    main.inv("destroy", "--yes")
    bench.fresh = None
