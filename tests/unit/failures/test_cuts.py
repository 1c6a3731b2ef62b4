"""What a partition drops."""

from pgha.failures import networks
from pgha.failures.broken import Broken, Mechanism
from pgha.tools.docker import Container


def container(service, addresses, fixed):
    return Container(service, f"pgha-{service}", "image", "running", "", "", (), addresses, fixed)


def test_a_member_that_does_not_run_now_is_cut_off_when_it_comes_back(a_project):
    there = {
        "pg2-node1": container("pg2-node1", {"pgha_wan": "172.30.240.121", "pgha_dc2": "172.30.244.121"}, {}),
        "pg2-node2": container("pg2-node2", {}, {"pgha_wan": "172.30.240.122", "pgha_dc2": "172.30.244.122"}),
        "etcd2": container("etcd2", {}, {}),
        "pg3-node1": container("pg3-node1", {"pgha_wan": "172.30.240.131"}, {}),
    }
    host = a_project.topology.host("pg1-node1")
    known = [Broken(Mechanism.PARTITION, "pg1-node1", sites=("dc1", "dc2"))]
    command = networks._cut(a_project, there, host, known)
    assert "ip daddr { 172.30.240.121, 172.30.240.122 } drop" in str(command)
