"""What is left, and when a loss is none: nothing is touched to find that out."""

import pytest

from pgha.errors import HasQuorum, NoLeader, NoQuorum, NotUp, SiteAnswers, Unhealthy
from pgha.project.maintenance import Stopped
from pgha.recover.account import document, take_account


def back(lost, *names, state="running"):
    lost.states.update(dict.fromkeys(names, state))


def test_what_is_left_and_who_leads_then(lost, a_project):
    lost.at["pg3-node2"] = ("0/6000000", 1)
    found = take_account(a_project)
    assert (found.left, list(found.lost), found.etcd, found.candidate) == (
        ("dc3",),
        ["dc1", "dc2"],
        "etcd3",
        "pg3-node2",
    )
    assert set(found.gone) == {name for name in lost.states if lost.site(name) in ("dc1", "dc2")}
    assert found.lost["dc1"] == {"etcd1": "exited", "etcd4": "exited", "pg1-node1": "exited", "pg1-node2": "exited"}
    assert document(found)["candidate"] == "pg3-node2" and not document(found)["lossless"]
    assert "pgbackrest" not in found.gone


def test_the_etcd_member_whose_log_goes_furthest_goes_on_and_the_other_ones_are_given_up(lost, a_project):
    back(lost, "etcd2", "etcd5", "pg2-node1", "pg2-node2")
    back(lost, "etcd3", "pg3-node1", "pg3-node2", state="exited")
    lost.index["etcd5"] = 101
    found = take_account(a_project)
    assert (found.etcd, list(found.lost)) == ("etcd5", ["dc1", "dc3"])
    assert "etcd2" in found.gone and "pg2-node1" not in found.gone


def test_a_survivor_that_cannot_be_asked_is_named(lost, a_project):
    lost.silent = {"pg3-node1"}
    found = take_account(a_project)
    assert (found.candidate, list(found.silent)) == ("pg3-node2", ["pg3-node1"])
    lost.silent = {"pg3-node1", "pg3-node2"}
    with pytest.raises(NoLeader, match="pg3-node1 cannot be reached; pg3-node2 cannot be reached"):
        take_account(a_project)


def test_an_etcd_that_can_commit_needs_nothing(lost, a_project):
    back(lost, "etcd1", "etcd4")
    lost.healthy = ("etcd1", "etcd3", "etcd4")
    with pytest.raises(HasQuorum, match="etcd1, etcd3, etcd4 of 5") as caught:
        take_account(a_project)
    assert "inv failover" in caught.value.hint and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("hosts", "state", "words"),
    [
        (["etcd1", "pg1-node1"], "running", "dc1: etcd1 (running), pg1-node1 (running)"),
        # One that is frozen may wake, and its Postgres with it.
        (["pg1-node2"], "paused", "etcd1 and etcd4 do not run. What answers: dc1: pg1-node2 (paused); dc3: etcd3"),
    ],
)
def test_a_site_that_answers_is_not_lost_and_is_named(lost, a_project, hosts, state, words):
    back(lost, *hosts, state=state)
    with pytest.raises(SiteAnswers) as caught:
        take_account(a_project)
    assert words in caught.value.message and "inv up" in caught.value.hint


def test_sites_that_do_not_reach_each_other_are_not_lost(lost, a_project):
    back(lost, *lost.states)
    with pytest.raises(SiteAnswers, match=r"do not reach each other\. What answers: dc1: etcd1"):
        take_account(a_project)


def test_a_site_that_somebody_stopped_on_purpose_is_not_lost(lost, a_project):
    lost.planned = (Stopped("pg2-node1", "", 1),)
    with pytest.raises(Unhealthy, match="pg2-node1 is not lost: it is stopped for maintenance") as caught:
        take_account(a_project)
    assert caught.value.hint == "inv start --dc dc2"


def test_a_stack_that_is_stopped_is_not_lost(lost, a_project):
    back(lost, *lost.states, state="exited")
    with pytest.raises(NotUp):
        take_account(a_project)


def test_without_an_etcd_member_or_a_node_there_is_nothing_to_go_on_with(lost, a_project):
    back(lost, "etcd3", state="exited")
    with pytest.raises(Unhealthy, match=r"etcd3 \(exited\)") as caught:
        take_account(a_project)
    assert caught.value.hint == "inv start --node etcd3"
    back(lost, "etcd3")
    back(lost, "pg3-node1", "pg3-node2", state="")
    with pytest.raises(NoLeader, match="No Postgres node that is left runs") as caught:
        take_account(a_project)
    assert caught.value.hint == "inv start --node pg3-node1"


def test_data_centers_without_an_etcd_member_cannot_go_on(lost, make_project):
    """Five data centers with one node each: etcd's three members are at the first three."""
    project = make_project(data_centers=5, nodes=1)
    lost.project = project
    lost.states = {host.name: "exited" if host.site.name in ("dc1", "dc2", "dc3") else "running"
                   for host in project.topology.hosts}  # fmt: skip
    with pytest.raises(NoQuorum, match="No etcd member is left at dc4 and dc5"):
        take_account(project)


def test_an_archive_that_cannot_be_asked_is_said_and_stops_nothing(lost, a_project, monkeypatch):
    from pgha.errors import Unreachable
    from pgha.recover import account

    def away(project):
        raise Unreachable("pgbackrest cannot be reached")

    monkeypatch.setattr(account, "read_stanza", away)
    assert "pgbackrest cannot be reached" in take_account(a_project).archived.words
