"""Which block of addresses a project gets."""

from ipaddress import IPv4Network

import pytest

from pgha.errors import Missing, SubnetTaken
from pgha.model.addresses import candidates, networks
from pgha.project.project import open_project
from pgha.project.record import Record
from pgha.project.subnets import Taken, choose_block, reserved_by_others

FIRST, SECOND, THIRD = list(candidates("pgha"))[:3]
ALL = IPv4Network("172.16.0.0/12")


def chosen(project, recorded="", reserved=(), **taken):
    taken = {**taken, "foreign": dict.fromkeys(taken.get("foreign", ()), "theirs")}
    return choose_block(project, recorded and str(recorded), frozenset(reserved), Taken(**taken))


def subnets(project, block):
    return [network.subnet for network in networks(project.topology, block).values()]


def test_the_first_block_that_is_free_is_taken(a_project):
    assert chosen(a_project) == FIRST
    assert chosen(a_project, foreign=[IPv4Network(f"{FIRST[4000]}/32")]) == SECOND
    assert chosen(a_project, routes=frozenset([FIRST.supernet(1)])) not in (FIRST, *FIRST.supernet(1).subnets(1))
    assert chosen(a_project, reserved=[FIRST], foreign=[SECOND]) == THIRD


def test_the_recorded_block_is_kept(a_project):
    assert chosen(a_project, SECOND) == SECOND
    assert chosen(a_project, SECOND, reserved=[SECOND]) == SECOND


def test_the_recorded_block_is_given_up_for_who_has_its_addresses(a_project):
    used, unused = subnets(a_project, SECOND)[0], list(SECOND.subnets(new_prefix=24))[-1]
    assert chosen(a_project, SECOND, foreign=[used]) == FIRST
    assert chosen(a_project, SECOND, routes=frozenset([used])) == FIRST
    assert chosen(a_project, SECOND, foreign=[unused]) == SECOND


def test_own_networks_and_their_routes_do_not_count(a_project):
    own = frozenset(subnets(a_project, SECOND))
    assert chosen(a_project, SECOND, own=own, routes=own) == SECOND
    # A route that came later, such as a VPN's, does not move what runs.
    assert chosen(a_project, SECOND, own=own, routes=own | {ALL}) == SECOND
    # Networks from before, with addresses of Docker's own choice.
    old = frozenset([FIRST.supernet(new_prefix=16)])
    assert chosen(a_project, own=old, routes=old) == FIRST


def test_a_recorded_block_that_is_too_small_now_is_given_up(make_project):
    assert chosen(make_project(data_centers=9, nodes=1), "172.30.248.0/21") == FIRST


def test_the_given_subnet_is_used_or_refused(make_project):
    project = make_project(subnet="172.22.0.0/16")
    assert str(chosen(project, FIRST, routes=frozenset([ALL]))) == "172.22.0.0/20"
    with pytest.raises(SubnetTaken, match=r"subnet: 172.22.0.0/16 has addresses of the network theirs \(172.22.1.0/24"):
        chosen(project, foreign=[IPv4Network("172.22.1.0/24")])
    assert chosen(project, foreign=[IPv4Network("172.22.128.0/24")])


def test_where_nothing_is_free_the_setting_is_named(a_project):
    with pytest.raises(SubnetTaken, match=r"No /20 network from 172.20.0.0 to 172.30.255.255 is free") as caught:
        chosen(a_project, routes=frozenset([ALL]))
    assert "subnet" in caught.value.hint and caught.value.exit_code == 3


def test_blocks_of_other_projects_are_reserved(make_project):
    one, other = make_project(project="one"), make_project(project="other")
    one.write_record(Record({}, {}, subnet=str(FIRST)))
    other.write_record(Record({}, {}))
    assert reserved_by_others(other) == {FIRST}
    assert reserved_by_others(one) == frozenset()
    assert one.record().subnet == str(FIRST)


def test_a_record_with_a_subnet_that_is_none_is_damaged(a_project, root):
    a_project.write_record(Record({}, {}, subnet="172.20"))
    with pytest.raises(Missing, match="is damaged"):
        open_project([{}], root=root)
