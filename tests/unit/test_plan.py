"""The planner against a brute-force enumeration that shares no code with it."""

from itertools import combinations

import pytest

from pgha.plan import make_plan, outages
from pgha.settings import Settings
from pgha.topology import build_topology

SHAPES = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 4), (3, 1), (3, 2), (3, 3), (4, 2), (5, 1), (9, 1)]


def outcomes_of(d, p, durability="quorum", witness=None):
    settings = Settings(data_centers=d, nodes=p, durability=durability)
    topology = build_topology(settings, witness)
    return topology, make_plan(settings, topology)


def played_out(topology, copies, lost):
    """Play every leader and every set of standbys that may have acknowledged the newest commit."""
    nodes, members = [n.name for n in topology.nodes], [m.name for m in topology.etcd]
    quorum = 2 * sum(m not in lost for m in members) > len(members)
    kept, promoted = True, True
    for leader in nodes:
        standbys = [n for n in nodes if n != leader]
        alive = [n for n in standbys if n not in lost]
        if leader not in lost:
            continue  # a loss is judged for the leader that makes it worst
        for acknowledged in combinations(standbys, copies):
            if not any(n not in lost for n in acknowledged):
                kept = False
        # Patroni's vote: the candidate and the others it can ask must meet every possible set of `copies` standbys.
        provable = all(any(n in alive for n in acked) for acked in combinations(standbys, copies)) if copies else True
        promoted = promoted and bool(alive) and provable
    return quorum, quorum and promoted, kept


@pytest.mark.parametrize("durability", ["quorum", "async"])
@pytest.mark.parametrize(("d", "p"), SHAPES)
def test_the_plan_is_what_playing_every_case_shows(d, p, durability):
    topology, plan = outcomes_of(d, p, durability)
    copies = {"async": 0}.get(durability, 0 if d * p == 1 else 1 if d == 1 else p)
    by_name = {host.name: host for host in topology.hosts}
    sites = {site.name: {h.name for h in by_name.values() if h.site.name == site.name} for site in topology.sites}
    expected = {}
    for count in (1, 2):
        for chosen in combinations(sites, count):
            expected[" and ".join(chosen)] = set().union(*(sites[name] for name in chosen))
        for chosen in combinations([n.name for n in topology.nodes], count):
            expected[" and ".join(chosen)] = set(chosen)
    assert {outcome.loss for outcome in plan.outcomes} == set(expected)
    for outcome in plan.outcomes:
        lost = expected[outcome.loss]
        seen = (outcome.etcd_quorum, outcome.candidate, outcome.acknowledged_safe)
        assert seen == played_out(topology, copies, lost), (outcome.loss, seen)
        assert outcome.backups == ("pgbackrest" not in lost)


@pytest.mark.parametrize(
    ("d", "p", "sentence"),
    [
        (3, 2, "Survives the loss of any one data center, the backup site, any one node and any two nodes; "
               "not of any two data centers."),
        (2, 2, "Survives the loss of any one data center, the witness site, the backup site, any one node and any two "
               "nodes; not of any two data centers or a data center and the witness."),
        (1, 2, "Survives the loss of the backup site and any one node; not of dc1 or any two nodes."),
        (3, 3, "Survives the loss of any one data center, the backup site, any one node and any two nodes; "
               "not of any two data centers."),
    ],
)  # fmt: skip
def test_the_sentence_an_operator_wants(d, p, sentence):
    assert outcomes_of(d, p)[1].sentence == sentence


def test_two_data_centers_without_a_witness_are_named():
    _, plan = outcomes_of(2, 2, witness=False)
    assert any("dc1 holds 2 of 3 etcd members, a majority" in warning for warning in plan.warnings)
    assert "not of dc1" in plan.sentence


def test_async_is_named_and_keeps_no_write_for_certain():
    _, plan = outcomes_of(3, 2, "async")
    assert any("async" in warning for warning in plan.warnings)
    assert not any(o.acknowledged_safe for o in plan.outcomes if o.kind == "one node")
    assert all(o.candidate for o in plan.outcomes if o.kind == "one node")


def test_the_outage_of_a_lost_leader_is_bounded_by_ttl():
    short = {o.failure: o for o in outages(Settings(ttl=20))}
    long = {o.failure: o for o in outages(Settings(ttl=60))}
    lost = next(name for name in short if "cut off" in name)
    assert long[lost].longest - short[lost].longest == 40
    assert short[lost].shortest == 18
    assert short["switchover"] == long["switchover"]
