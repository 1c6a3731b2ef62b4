"""The ledger's checker: what is removed, doubled or invented is reported as such."""

import random

import pytest

from pgha.drills import ledger
from pgha.drills.ledger import ACKNOWLEDGED, REFUSED, UNKNOWN, Gap, Read, Write


def write(number, outcome=ACKNOWLEDGED, at=None, server="pg1-node1", timeline=1, took=0.01):
    ended = number * 0.1 if at is None else at
    return Write(number, ended - took, ended, outcome, server, timeline)


@pytest.fixture
def writes():
    """A hundred acknowledged writes, ten refused, ten in doubt of which every other one is there."""
    return [write(n, REFUSED if 100 < n <= 110 else UNKNOWN if n > 110 else ACKNOWLEDGED) for n in range(1, 121)]


@pytest.fixture
def rows():
    return [*range(1, 101), *range(111, 121, 2)]


def test_an_honest_database_passes(writes, rows):
    verdict = ledger.check(writes, random.Random(4).sample(rows, len(rows)))
    assert (verdict.acknowledged, verdict.lost, verdict.phantom, verdict.duplicates) == (100, (), (), ())
    assert verdict.unknown == tuple(range(111, 121))
    assert verdict.unknown_present == 5
    assert verdict.two_leaders == ()


@pytest.mark.parametrize("gone", [1, 50, 100])
def test_an_acknowledged_write_that_is_gone_is_lost(writes, rows, gone):
    rows.remove(gone)
    assert ledger.check(writes, rows).lost == (gone,)


def test_everything_gone_is_everything_lost(writes):
    assert ledger.check(writes, []).lost == tuple(range(1, 101))


@pytest.mark.parametrize("twice", [1, 77, 113])
def test_a_row_that_is_there_twice_is_a_duplicate(writes, rows, twice):
    assert ledger.check(writes, [*rows, twice]).duplicates == (twice,)


def test_a_refused_write_that_is_there_is_a_phantom(writes, rows):
    assert ledger.check(writes, [*rows, 105]).phantom == (105,)


def test_a_row_no_client_wrote_is_a_phantom(writes, rows):
    assert ledger.check(writes, [*rows, 999]).phantom == (999,)


def test_a_write_struck_from_the_ledger_makes_its_row_a_phantom(writes, rows):
    kept = [w for w in writes if w.number != 42]
    assert ledger.check(kept, rows).phantom == (42,)


def test_a_write_added_to_the_ledger_is_lost(writes, rows):
    assert ledger.check([*writes, write(500)], rows).lost == (500,)


def test_a_write_in_doubt_may_be_there_or_not(writes, rows):
    for there in (rows, [*rows, 112], [n for n in rows if n != 111]):
        verdict = ledger.check(writes, there)
        assert (verdict.lost, verdict.phantom) == ((), ())


def test_a_handover_is_not_two_leaders():
    old = [write(n) for n in range(1, 10)]
    new = [write(n, at=2 + n * 0.1, server="pg2-node1", timeline=2) for n in range(10, 20)]
    back = [write(n, at=9 + n * 0.1, server="pg1-node1", timeline=3) for n in range(20, 30)]
    assert ledger.two_leaders([*back, *old, *new]) == ()


def test_an_old_timeline_that_still_accepts_is_two_leaders():
    new = [write(n, at=2 + n * 0.1, server="pg2-node1", timeline=2) for n in range(10, 20)]
    late = write(99, at=4.0, server="pg1-node1", timeline=1)
    assert ledger.two_leaders([write(1), *new, late]) == (99,)


def test_an_answer_that_was_on_its_way_is_not_two_leaders():
    """It began before the new leader's first acknowledgement, and the answer came after it."""
    slow = write(2, at=3.5, took=3.0)
    new = write(3, at=3.2, server="pg2-node1", timeline=2)
    assert ledger.two_leaders([write(1), slow, new]) == ()


def test_two_members_on_one_timeline_are_two_leaders():
    assert ledger.two_leaders([write(1), write(2), write(3, server="pg2-node1")]) == (3,)


def test_a_member_that_accepts_writes_unseen_by_the_clients_is_a_second_leader(writes, rows):
    """Every client found the new leader; only the probe of the old one sees that it still accepts."""
    moved = [write(n, server="pg2-node1", timeline=2) for n in range(201, 210)]
    late = write(300, at=21.5, server="pg1-node1", timeline=1)
    there = [*rows, *range(201, 210), 300]
    assert ledger.check([*writes, *moved], there).two_leaders == ()
    assert ledger.check([*writes, *moved], there, [late]).two_leaders == (300,)


def test_a_probes_write_counts_when_it_is_lost_and_not_when_it_is_in_doubt(writes, rows):
    probes = [write(301), write(302, UNKNOWN), write(303)]
    verdict = ledger.check(writes, [*rows, 303], probes)
    assert (verdict.lost, verdict.phantom, verdict.acknowledged, verdict.probed) == ((301,), (), 100, 2)
    assert verdict.unknown == tuple(range(111, 121))


def test_the_longest_gap_is_found_wherever_it_is():
    assert ledger.longest_gap([1.0, 2.0, 7.0, 7.5], 0.5, 8.0) == Gap(2.0, 7.0)
    assert ledger.longest_gap([5.0, 6.0], 0.0, 7.0) == Gap(0.0, 5.0)
    assert ledger.longest_gap([1.0, 2.0], 0.0, 9.0) == Gap(2.0, 9.0)
    assert ledger.longest_gap([], 1.0, 9.0) == Gap(1.0, 9.0)
    assert ledger.longest_gap([0.5, 20.0], 1.0, 9.0).seconds == 8.0


def test_the_new_leader_is_the_first_on_a_newer_timeline():
    writes = [write(n) for n in range(1, 30)] + [write(40, at=5.0, server="pg2-node1", timeline=2)]
    assert ledger.new_leader_after(writes, 2.0) == 3.0
    assert ledger.new_leader_after(writes[:-1], 2.0) is None


def test_staleness_counts_from_the_first_write_not_seen():
    writes = [write(1, at=1.0), write(2, at=2.0), write(3, at=3.0), write(4, UNKNOWN, at=3.5)]
    assert ledger.staleness([Read(2.5, 2.6, "pg2-node1", 2)], writes) == 0.0
    assert ledger.staleness([Read(5.0, 5.1, "pg2-node1", 1)], writes) == 3.0
    assert ledger.staleness([Read(5.0, 5.1, "pg2-node1", 3)], writes) == 0.0
    assert ledger.staleness([], writes) == 0.0


# Timelines --------------------------------------------------------------------------------------------------


def test_two_promotions_with_one_number_are_seen():
    writes = [write(1, server="a", timeline=1), write(2, server="b", timeline=2), write(3, server="b", timeline=2)]
    assert ledger.shared_timelines(writes) == ()
    # What was refused or is in doubt says nothing of who led.
    assert ledger.shared_timelines([*writes, write(4, REFUSED, server="c", timeline=2)]) == ()
    clash = write(4, server="c", timeline=2)
    assert ledger.shared_timelines([*writes, clash]) == (2,)
    assert ledger.check(writes, [1, 2, 3, 4], [clash]).shared_timelines == (2,)


def test_a_database_that_begins_anew_is_no_second_leader():
    """pg_upgrade's has timeline 1 again; nothing that was acknowledged afterwards on the old one is forgiven."""
    old = [Write(n, n, n + 0.1, ACKNOWLEDGED, "a", 3) for n in range(5)]
    new = [Write(n, n, n + 0.1, ACKNOWLEDGED, "a", 1) for n in range(40, 45)]
    probes = [Write(100, 39.5, 39.6, ACKNOWLEDGED, "a", 1), Write(101, 20.0, 20.1, REFUSED, "b")]
    assert ledger.two_leaders([*old, *new])
    writes, probed = ledger.numbered_on([*old, *new], probes, 2.0)
    assert [write.timeline for write in (*writes, *probed)] == [3] * 5 + [4] * 5 + [4, 0]
    assert not ledger.two_leaders([*writes, *probed]) and not ledger.shared_timelines([*writes, *probed])
    late = Write(200, 42.2, 42.3, ACKNOWLEDGED, "b", 3)
    assert ledger.two_leaders(ledger.numbered_on([*old, *new, late], probes, 2.0)[0])
    assert ledger.numbered_on(old, (), 9.0) == (tuple(old), ())
