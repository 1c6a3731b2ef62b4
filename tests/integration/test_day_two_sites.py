"""A data center stopped for maintenance."""

import pytest
from tools import Writer, healed, inspect

pytestmark = pytest.mark.integration


@pytest.fixture
def stack(sites):
    sites.wait_synchronous()
    yield sites
    sites.inv("up")
    healed(sites)


def site_of(stack, host):
    return inspect(stack.container(host))[0]["Config"]["Labels"]["pgha.site"]


@pytest.mark.long
def test_the_leaders_data_center_is_stopped_and_started(stack):
    old = stack.leader()
    site = site_of(stack, old)
    hosts = {host for host in stack.containers() if site_of(stack, host) == site}
    with Writer(stack.dsn(), "written_without_a_data_center") as writer:
        stack.inv("stop", "--dc", site)
        assert set(stack.containers("exited")) == hosts
        assert site_of(stack, stack.leader()) != site
        assert {problem["host"] for problem in stack.status()["problems"]} == hosts
        other = site_of(stack, stack.leader())
        said = stack.refused(2, "stop", "--dc", other)
        assert "etcd would lose its quorum" in said or "standby" in said
        assert set(stack.containers("exited")) == hosts
        writer.wait_for_more()
        stack.inv("start", "--dc", site)
        writer.wait_for_more()
    stack.wait_well()
    assert not writer.missing()
    assert stack.status()["healthy"]
