"""Who leads of those that are left, and what is said to be lost."""

import pytest

from pgha.recover.judging import Archived, Survivor, archived_beyond, choose, describe_archived, what_may_be_lost
from pgha.tools.etcd_alone import Known
from pgha.tools.position import Position
from pgha.tools.repository import Archive
from pgha.tools.wal import SEGMENT_SIZE, segment_name

AT = 5 * SEGMENT_SIZE + 96
GONE = ("pg1-node1", "etcd1", "pg2-node1", "etcd2")


def survivor(name="pg3-node1", at=AT, timeline=1, committed=1_795_600_000.25):
    return Survivor(name, f"dc{name[2]}", Position(True, timeline, at, at, committed))


def known(leader="pg1-node1", standbys=("pg2-node1", "pg3-node1"), waits=1, written=0):
    return Known(leader, leader, standbys, waits, written, (), {})


def judged(chosen=None, archived=None, gone=GONE, **what):
    return what_may_be_lost(chosen or survivor(), known(**what), archived or Archived((), 1), gone, "etcd3")


def test_the_newest_timeline_comes_before_the_most_wal_and_that_before_who_led():
    older, newer = survivor("pg3-node1", at=AT * 2), survivor("pg3-node2", timeline=2)
    assert choose([older, newer], known()) == newer
    assert choose([survivor("pg3-node1"), survivor("pg3-node2", at=AT + 1)], known()).name == "pg3-node2"
    assert choose([survivor("pg3-node1"), survivor("pg3-node2")], known(leader="pg3-node2")).name == "pg3-node2"
    assert choose([survivor("pg3-node1"), survivor("pg3-node2")], known()).name == "pg3-node1"


def test_with_the_leader_and_its_standby_gone_what_may_be_lost_is_said_in_lsn_and_time():
    lossless, words = judged()
    assert not lossless
    assert "after 0/5000060 (timeline 1, last commit 2026-11-25 09:46:40.250000Z)" in words
    assert "only pg1-node1 and pg2-node1 had" in words


def test_where_more_standbys_had_each_commit_than_are_lost_nothing_is():
    four = ("pg2-node1", "pg3-node1", "pg3-node2", "pg1-node2")
    lossless, words = judged(standbys=four, waits=3, gone=(*GONE, "pg1-node2"))
    assert lossless and "a commit waited for 3 of" in words and "as far as etcd3 has heard" in words
    assert not judged(standbys=four, waits=2, gone=(*GONE, "pg1-node2"))[0]
    # It was not among those a commit waited for.
    assert not judged(standbys=("pg2-node1", "pg3-node2", "pg3-node9"), waits=2)[0]


def test_a_leader_that_is_left_has_all_of_it_unless_somebody_led_since():
    assert judged(leader="pg3-node1", standbys=("pg1-node1", "pg2-node1"))[0]
    lossless, words = judged(leader="pg3-node1", archived=Archived(("00000002" + "0" * 16,), 2))
    assert not lossless and "somebody led on timeline 2 after that" in words


def test_what_the_leader_had_written_is_a_measure_where_it_is_known():
    assert "had written 2.0KB more" in judged(written=AT + 2048)[1]
    assert "more when" not in judged(written=AT)[1]


def test_async_promises_nothing():
    assert not judged(standbys=(), waits=0)[0]


@pytest.mark.parametrize(
    ("segments", "beyond"),
    [
        ({1: {3: 0, 4: 0}}, []),
        ({1: {4: 0, 5: 0, 6: 0}}, [(1, 5), (1, 6)]),
        ({1: {4: 0}, 2: {4: 0}}, [(2, 4)]),
    ],
)
def test_what_the_archive_has_beyond_the_survivor(segments, beyond):
    found = archived_beyond(Archive(segments, ()), survivor())
    assert found.beyond == tuple(segment_name(*one) for one in beyond)
    assert found.timeline == max(segments)


def test_a_segment_that_ends_where_the_survivor_is_has_no_more():
    assert archived_beyond(Archive({1: {4: 0}}, ()), survivor(at=5 * SEGMENT_SIZE)).beyond == ()


def test_what_is_said_of_the_archive():
    assert describe_archived(Archived(words="it cannot be asked: no answer")) == "it cannot be asked: no answer"
    assert "nothing that the survivor has not" in describe_archived(Archived())
    assert "has A and 1 more beyond it" in describe_archived(Archived(("A", "B"), 1))
