"""Targets against catalogues made by hand: what is refused, which backup is taken, and what is said about it."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pgha.backup.catalogue import Catalogue
from pgha.backup.points import find_end, resolve
from pgha.backup.targets import Request, Situation, Target, is_reached, parse_time
from pgha.errors import BadValue
from pgha.model.words import time_of
from pgha.tools.pgbackrest import WalRecord
from pgha.tools.repository import Archive, Backup, StanzaView
from pgha.tools.wal import SEGMENT_SIZE, History, lsn_text, parse_segment, segment_name

BEGIN = int(datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp())


def at(seconds):
    """That many seconds after the beginning, as an operator may type it."""
    return (time_of(BEGIN) + timedelta(seconds=seconds)).isoformat()


def position(number, offset=0x100):
    return number * SEGMENT_SIZE + offset


def lsn(number, offset=0x100):
    return lsn_text(position(number, offset))


def backup(label, timeline, number, stop, error=False):
    """A backup that begins at the start of a segment and is consistent a little later in it."""
    name = segment_name(timeline, number)
    return Backup(label, "full", BEGIN + stop - 2, BEGIN + stop, 7, 7, error, name, position(number))


def catalogue(backups, segments, histories=()):
    """Segments are timeline -> number -> seconds after the beginning."""
    stanza = StanzaView(True, "ok", False, tuple(backups), None, None, False, "17-1", "42", "none")
    times = {timeline: {n: BEGIN + t for n, t in files.items()} for timeline, files in segments.items()}
    known = {history.timeline: history for history in histories}
    return Catalogue(stanza, Archive(times, tuple(sorted(known))), known)


def without(made, *gone):
    """The same catalogue, without these segments, each as (timeline, number)."""
    segments = {
        timeline: {number: t for number, t in files.items() if (timeline, number) not in gone}
        for timeline, files in made.archive.segments.items()
    }
    segments = {timeline: files for timeline, files in segments.items() if files}
    return replace(made, archive=replace(made.archive, segments=segments))


def record(number, offset=0x200, committed=None, timeline=1):
    when = time_of(BEGIN + committed) if committed is not None else None
    return WalRecord(segment_name(timeline, number), position(number, offset), when)


LAST = SEGMENT_SIZE - 0x100
"""Where in its segment the last record is that a Finder finds by itself."""


class Finder:
    """Finds what it was told; remembers where it was asked to look.

    Unless it was told the `last` record, that is at the end of the newest segment it is given; with `committed`,
    a transaction ended then, a little before it.
    """

    def __init__(self, committed=None, **known):
        self.committed = committed
        self.known = known
        self.asked = {}

    def __call__(self, what, value, segments):
        names = list(map(parse_segment, segments))
        self.asked[what] = [f"{timeline}.{number}" for timeline, number in names]
        if what == "last" and what not in self.known:
            return self.at_the_end(*names[0]) if names else []
        return self.known.get(f"{what}_{value}" if value else what, [])

    def at_the_end(self, timeline, number):
        last = record(number, LAST, timeline=timeline)
        if self.committed is None:
            return [last]
        return [last, record(number, LAST - 0x100, self.committed, timeline)]


def numbers(target):
    return [f"{timeline}.{number}" for timeline, number in map(parse_segment, target.segments)]


# One timeline: a segment is archived each minute.
ONE = catalogue(
    [backup("first", 1, 2, 121), backup("second", 1, 6, 361), backup("broken", 1, 9, 541, error=True)],
    {1: {n: 60 * n for n in range(1, 11)}},
)
WINDOW = "2026-11-23 08:02:02Z to 2026-11-23 08:10:00Z (WAL 00000001000000000000000A)"
NOW = time_of(BEGIN + 3600)
LEADS = Situation(NOW, 1, position(11), 800)
NOBODY = Situation(NOW, None, None, None)

# A restore left timeline 1 in segment 5, when it had written 8 segments; timeline 2 began 1000 s after the beginning.
TWO = History(2, ((1, position(5, 0x500)),))
FORKED = catalogue(
    [backup("before", 1, 2, 121), backup("abandoned", 1, 7, 421), backup("after", 2, 7, 1421)],
    {1: {n: 60 * n for n in range(1, 9)}, 2: {n: 1000 + 60 * n for n in range(5, 10)}},
    [TWO],
)
LEADS_TWO = Situation(NOW, 2, position(10), 800)


def resolved(made=ONE, situation=LEADS, find=None, **request):
    return resolve(Request(**request), made, situation, find or Finder())


def refused(made=ONE, situation=LEADS, find=None, **request):
    with pytest.raises(BadValue) as caught:
        resolved(made, situation, find, **request)
    return caught.value


# What was asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(), "the end of the archive"),
        (Request(set="first"), "set first"),
        (Request(time="2026-11-23 08:30", timeline="2"), "time 2026-11-23 08:30, timeline 2"),
        (Request(name="before it"), "name before it"),
    ],
)
def test_a_request_in_words(request_, words):
    assert str(request_) == words


@pytest.mark.parametrize("kind", ["time", "lsn", "xid", "name"])
def test_a_request_names_one_point(kind):
    assert Request(**{kind: "x"}, set="first", timeline="1").point == (kind, "x")
    assert Request(set="first").point is None


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({"time": at(200), "lsn": "0/1"}, "--time and --lsn"),
        ({"xid": "7", "name": "x"}, "--xid and --name"),
        ({"time": "x", "lsn": "x", "xid": "x", "name": "x"}, "--time and --lsn and --xid and --name"),
    ],
)
def test_two_points_are_refused(given, flags):
    error = refused(**given)
    assert error.message == f"{flags} name two points"
    assert error.hint == "give one of --time, --lsn, --xid, --name"


# What cannot be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"time": at(121)}, "--time 2026-11-23 08:02:01Z is before the first backup was consistent"),
        ({"time": "2020-01-01 00:00:00+00:00"}, "is before the first backup"),
        ({"time": at(3601)}, "--time 2026-11-23 09:00:01Z is in the future"),
        ({"time": "9999-12-31T00:00:00+00:00"}, "is in the future"),
        ({"lsn": lsn(2, 0xFF)}, "--lsn 0/20000FF is before the first backup was consistent"),
        ({"lsn": "0/0"}, "is before the first backup"),
        ({"lsn": lsn(11, 0x101)}, "--lsn 0/B000101 is after the last archived position 0/B000100"),
        ({"lsn": "FFFFFFFF/FFFFFFFF"}, "is after the last archived position"),
        ({"xid": "700"}, "The archive of timeline 1 holds no transaction 700"),
        ({"name": "nosuch"}, "The archive of timeline 1 holds no restore point nosuch"),
        ({"time": at(300), "set": "second"}, "is before backup second was consistent"),
        ({"lsn": lsn(3), "set": "second"}, "is before backup second was consistent"),
    ],
)
def test_a_point_that_cannot_be_reached_is_refused_with_the_window(request_, words):
    error = refused(**request_)
    assert words in error.message
    assert error.hint == f"what can be restored: {WINDOW}; inv info"


@pytest.mark.parametrize(
    ("request_", "words", "hint"),
    [
        *[
            ({"time": text}, "is not a time in ISO 8601", "2026-11-23T08:30:00Z")
            for text in ("yesterday", "08:30", "2026-13-01", "2026-11-23 25:00", "2026-11-23 08:30 CET", " ", "1795422")
        ],
        ({"lsn": "latest"}, "'latest' is not an LSN", "0/5000060"),
        ({"lsn": "5000060"}, "is not an LSN", "0/5000060"),
        ({"xid": "abc"}, "--xid abc is not a transaction number", "pg_current_xact_id"),
        ({"xid": "-1"}, "is not a transaction number", "pg_current_xact_id"),
        ({"xid": "800"}, "--xid 800 has not been given out yet", "the next one is 800"),
        ({"xid": "99999999999"}, "has not been given out yet", "the next one is 800"),
        ({"set": "nosuch"}, "Backup nosuch is not in the repository", "one of first, second"),
        ({"set": "nosuch", "time": at(200)}, "Backup nosuch is not in the repository", "one of first, second"),
        ({"set": "broken"}, "Backup broken is not a good backup", "one of first, second"),
        ({"timeline": "2"}, "The archive has no timeline 2", "it has 1"),
        ({"timeline": "latest"}, "The archive has no timeline latest", "it has 1"),
        ({"timeline": "0", "time": at(200)}, "The archive has no timeline 0", "it has 1"),
    ],
)  # fmt: skip
def test_what_is_no_point_is_refused_with_what_would_be_one(request_, words, hint):
    error = refused(**request_)
    assert words in error.message
    assert hint in error.hint


@pytest.mark.parametrize("request_", [{"timeline": "²"}, {"xid": "²"}])
def test_a_digit_that_is_no_number_is_refused(request_):
    refused(**request_)


@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_a_time_at_the_end_of_days_is_refused(text):
    refused(time=text)


def test_without_a_backup_on_the_history_another_one_is_named():
    error = refused(replace(FORKED, stanza=replace(FORKED.stanza, backups=FORKED.stanza.backups[1:2])), LEADS_TWO)
    assert error.message == "No backup lies on the history of timeline 2"
    assert "--timeline" in error.hint and "--set" in error.hint


def test_bad_backups_alone_are_none():
    bad = replace(ONE, stanza=replace(ONE.stanza, backups=ONE.stanza.backups[2:]))
    assert "No backup lies on the history of timeline 1" in refused(bad).message


@pytest.mark.parametrize("situation", [LEADS, NOBODY], ids=["leader", "no-leader"])
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "The archive holds no WAL of timeline 1"),
        ({"time": at(200)}, "The archive holds no WAL of timeline 1"),
        ({"lsn": lsn(4)}, "The archive holds no WAL of timeline 1"),
        ({"xid": "700"}, "The archive holds no WAL of timeline 1"),
        ({"name": "it"}, "The archive holds no WAL of timeline 1"),
        ({"set": "first"}, "The archive lacks WAL that is needed after backup first: 000000010000000000000002"),
    ],
)
def test_an_archive_that_lost_everything_is_a_refusal(situation, request_, words):
    error = refused(catalogue(ONE.stanza.backups, {}), situation, **request_)
    assert error.message == words
    assert "inv info" in error.hint


# Which backup is taken --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(122, "first"), (361, "first"), (361.999999, "first"), (362, "second"), (599, "second"), (3600, "second")],
)
def test_the_newest_backup_before_a_time_is_taken(seconds, label):
    target = resolved(time=at(seconds))
    assert (target.kind, target.backup.label, target.notes) == ("time", label, ())


@pytest.mark.parametrize(
    ("number", "offset", "label"),
    [(2, 0x100, "first"), (6, 0xFF, "first"), (6, 0x100, "second"), (10, 0, "second"), (11, 0x100, "second")],
)
def test_the_newest_backup_before_a_position_is_taken(number, offset, label):
    target = resolved(lsn=lsn(number, offset))
    assert (target.kind, target.value, target.backup.label) == ("lsn", lsn(number, offset), label)


def test_a_backup_with_an_error_is_skipped():
    good = replace(ONE, stanza=replace(ONE.stanza, backups=tuple(replace(b, error=False) for b in ONE.stanza.backups)))
    assert resolved(good, time=at(590)).backup.label == "broken"
    assert resolved(time=at(590)).backup.label == "second"


@pytest.mark.parametrize("request_", [{"time": at(590)}, {"lsn": lsn(10)}, {"name": "it"}])
def test_an_older_backup_may_be_asked_for(request_):
    assert resolved(find=Finder(name_it=[record(10)]), set="first", **request_).backup.label == "first"


@pytest.mark.parametrize(
    ("request_", "kind", "label", "timeline"),
    [
        ({"time": at(200)}, "time", "before", 2),
        ({"time": at(1100)}, "time", "before", 2),
        ({"time": at(1422)}, "time", "after", 2),
        ({"lsn": lsn(4)}, "lsn", "before", 2),
        ({"lsn": lsn(7, 0x50)}, "lsn", "before", 2),
        ({"lsn": lsn(7, 0x100)}, "lsn", "after", 2),
        ({}, "end", "after", 2),
        # The timeline that was left behind.
        ({"time": at(450), "timeline": "1"}, "time", "abandoned", 1),
        ({"time": at(421), "timeline": "1"}, "time", "before", 1),
        ({"lsn": lsn(8), "timeline": "1"}, "lsn", "abandoned", 1),
        ({"timeline": "1"}, "end", "abandoned", 1),
        ({"set": "abandoned"}, "immediate", "abandoned", 1),
        ({"set": "before"}, "immediate", "before", 1),
        ({"set": "after"}, "immediate", "after", 2),
    ],
)
def test_the_backup_lies_on_the_history_that_is_followed(request_, kind, label, timeline):
    target = resolved(FORKED, LEADS_TWO, Finder(committed=470), **request_)
    assert (target.kind, target.backup.label, target.history.timeline) == (kind, label, timeline)
    assert target.notes == ()


@pytest.mark.parametrize(
    ("request_", "label", "own"),
    [
        ({"time": at(1450), "set": "abandoned"}, "abandoned", 1),
        ({"lsn": lsn(8), "set": "abandoned"}, "abandoned", 1),
        ({"time": at(1450), "set": "after", "timeline": "1"}, "after", 2),
    ],
)
def test_a_backup_off_the_history_is_refused_with_its_own_timeline(request_, label, own):
    error = refused(FORKED, LEADS_TWO, **request_)
    followed = request_.get("timeline", "2")
    assert error.message == f"Backup {label} does not lie on the history of timeline {followed}"
    assert error.hint == f"--timeline {own} is its own"


def test_a_backup_ends_on_one_timeline():
    error = refused(FORKED, LEADS_TWO, set="abandoned", timeline="2")
    assert error.message == "Backup abandoned ends on timeline 1"


def test_without_a_leader_the_newest_timeline_is_followed():
    assert resolved(FORKED, NOBODY, lsn=lsn(8)).history == TWO
    assert resolved(FORKED, replace(NOBODY, timeline=1), lsn=lsn(7)).history.timeline == 1


# Which WAL is needed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        ({"set": "first"}, "1.2"),
        ({"lsn": lsn(2)}, "1.2"),
        ({"lsn": lsn(4, 0)}, "1.2 1.3 1.4"),
        ({"lsn": lsn(11, 0)}, "1.6 1.7 1.8 1.9 1.10"),
        ({"time": at(130)}, "1.2 1.3"),
        ({"time": at(180)}, "1.2 1.3 1.4"),
        ({"time": at(3600)}, "1.6 1.7 1.8 1.9 1.10"),
        ({}, "1.6 1.7 1.8 1.9 1.10"),
    ],
)
def test_the_wal_up_to_the_point_is_needed(request_, needed):
    assert numbers(resolved(**request_)) == needed.split()


def test_the_wal_of_both_timelines_is_needed_across_a_fork():
    assert numbers(resolved(FORKED, LEADS_TWO, lsn=lsn(6))) == ["1.2", "1.3", "1.4", "2.5", "2.6"]
    assert numbers(resolved(FORKED, LEADS_TWO, timeline="1")) == ["1.7", "1.8"]


@pytest.mark.parametrize(
    ("request_", "gone", "words"),
    [
        ({"lsn": lsn(5)}, [4], "after backup first: 000000010000000000000004"),
        ({"time": at(299)}, [2], "after backup first: 000000010000000000000002"),
        ({"set": "first"}, [2], "after backup first: 000000010000000000000002"),
        ({}, [7, 9], "after backup second: 000000010000000000000007 and 1 more"),
        ({"time": at(3600)}, [7, 8, 9], "after backup second: 000000010000000000000007 and 2 more"),
        ({"name": "it"}, [8], "after backup second: 000000010000000000000008"),
    ],
)
def test_missing_wal_is_named(request_, gone, words):
    made = without(ONE, *((1, number) for number in gone))
    error = refused(made, find=Finder(name_it=[record(9)]), **request_)
    assert words in error.message
    assert error.message.startswith("The archive lacks WAL")
    assert "--set" in error.hint


@pytest.mark.parametrize("situation", [LEADS, NOBODY], ids=["leader", "no-leader"])
@pytest.mark.parametrize("request_", [{"lsn": lsn(4)}, {"time": at(250)}, {"set": "second"}])
def test_a_gap_after_the_point_is_no_matter(situation, request_):
    find = Finder(last=[record(10), record(10, committed=590)])
    assert resolved(without(ONE, (1, 8)), situation, find, **request_).backup.label in ("first", "second")


def test_a_newer_backup_helps_over_a_gap():
    assert resolved(without(ONE, (1, 4)), lsn=lsn(8)).backup.label == "second"


@pytest.mark.parametrize(
    ("situation", "request_"),
    [
        (LEADS_TWO, {"time": at(1100)}),
        (LEADS_TWO, {"time": at(241)}),
        (LEADS_TWO, {"lsn": lsn(6)}),
        (NOBODY, {"time": at(1100)}),
        (NOBODY, {"time": at(241)}),
    ],
)
def test_beyond_a_fork_the_parent_s_copy_of_its_segment_is_not_enough(situation, request_):
    error = refused(without(FORKED, (2, 5)), situation, **request_)
    assert error.message == "The archive lacks WAL that is needed after backup before: 000000020000000000000005"


def test_without_a_leader_a_fork_whose_segment_is_lost_is_the_end():
    error = refused(without(FORKED, (2, 5)), NOBODY, lsn=lsn(6))
    assert error.message == f"--lsn {lsn(6)} is after the last archived position {lsn(4, LAST)}"


def test_a_timeline_that_has_archived_nothing_yet_is_archived_by_its_leader():
    """Then, and only then, may its first segment be missing."""
    made = without(FORKED, *((2, number) for number in range(5, 10)), (1, 5))
    made = replace(made, stanza=replace(made.stanza, backups=FORKED.stanza.backups[:2]))
    for request_ in ({"time": at(1100)}, {"lsn": lsn(9)}):
        assert numbers(resolved(made, LEADS_TWO, **request_)) == ["1.2", "1.3", "1.4"]
    for request_ in ({"time": at(1100)}, {"lsn": lsn(5)}):
        assert "Timeline 2 has archived nothing yet" in refused(made, NOBODY, **request_).message


def test_a_segment_that_the_fork_lost_is_named():
    """It shows as soon as the leader has archived what comes after it."""
    lost = without(FORKED, *((2, number) for number in range(5, 9)), (1, 5))
    assert "lacks WAL" in refused(lost, LEADS_TWO, time=at(1100)).message


# Up to where one can go -------------------------------------------------------------------------------------


ABANDONED = {"made": FORKED, "situation": LEADS_TWO, "timeline": "1"}
"""What nobody goes on with, though a leader writes on another timeline."""


@pytest.mark.parametrize(
    ("given", "number", "looked_at"),
    [
        ({"situation": NOBODY}, 10, "1.10 1.9 1.8 1.7 1.6"),
        ({"situation": replace(NOBODY, timeline=1)}, 10, "1.10 1.9 1.8 1.7 1.6"),
        ({"made": FORKED, "situation": NOBODY}, 9, "2.9 2.8 2.7"),
        (ABANDONED, 8, "1.8 1.7"),
    ],
    ids=["no-leader", "leader-that-does-not-archive", "no-leader-newest-timeline", "abandoned"],
)
def test_where_nobody_goes_on_the_last_record_is_the_end(given, number, looked_at):
    find = Finder(last=[record(number, 0x700), record(number, 0x600, committed=100)])
    assert resolved(find=find, lsn=lsn(number, 0x700), **given).value == lsn(number, 0x700)
    assert find.asked == {"last": looked_at.split()}
    error = refused(find=find, lsn=lsn(number, 0x701), **given)
    beyond, end = lsn(number, 0x701), lsn(number, 0x700)
    assert error.message == f"--lsn {beyond} is after the last archived position {end}"
    assert error.hint.startswith("what can be restored: 2026-11-23 08:02:02Z to ")


@pytest.mark.parametrize("given", [{"situation": NOBODY}, ABANDONED], ids=["no-leader", "abandoned"])
@pytest.mark.parametrize(("kind", "value"), [("xid", "900"), ("name", "it")])
def test_where_nobody_goes_on_what_was_found_may_be_the_last_record(given, kind, value):
    find = Finder(**{f"{kind}_{value}": [record(8)], "last": [record(8)]})
    assert resolved(find=find, **{kind: value}, **given).value == lsn(8, 0x200)


def test_an_archive_without_a_record_reaches_no_position():
    assert "is after the last archived position" in refused(situation=NOBODY, find=Finder(last=[]), lsn=lsn(7)).message


@pytest.mark.parametrize("request_", [{"lsn": lsn(8)}, {"lsn": lsn(9, 0x200)}, {"name": "it"}, {"xid": "700"}])
def test_where_nobody_goes_on_a_gap_is_the_end(request_):
    made, find = without(ONE, (1, 8)), Finder(name_it=[record(9)], xid_700=[record(9)])
    error = refused(made, NOBODY, find, **request_)
    assert error.message.endswith(f"is after the last archived position {lsn(7, LAST)}")
    assert find.asked["last"] == ["1.7", "1.6"]
    assert numbers(resolved(made, NOBODY, find, lsn=lsn(7, LAST))) == ["1.6", "1.7"]


def test_a_backup_without_its_wal_reaches_no_position():
    find = Finder()
    assert "lacks WAL" in refused(without(ONE, (1, 6)), NOBODY, find, lsn=lsn(7)).message
    assert "last" not in find.asked


# Times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-23T08:05:00+00:00", "2026-11-23 08:05:00+00"),
        ("2026-11-23T08:05:00Z", "2026-11-23 08:05:00+00"),
        (" 2026-11-23 08:05:00.25+00:00 ", "2026-11-23 08:05:00.250000+00"),
        ("2026-11-23T09:05:00.000001+01:00", "2026-11-23 08:05:00.000001+00"),
        ("2026-11-22T22:35:00-09:30", "2026-11-23 08:05:00+00"),
    ],
)
def test_a_time_is_told_to_pgbackrest_in_utc(text, value):
    target = resolved(time=text)
    assert (target.value, target.notes) == (value, ())
    assert target.options == ("--type=time", f"--target={value}", "--target-action=pause", "--target-timeline=1")


@pytest.mark.usefixtures("two_hours_ahead")
def test_without_a_zone_the_host_s_is_assumed_and_said():
    target = resolved(time="2026-11-23 10:05:00")
    assert target.value == "2026-11-23 08:05:00+00"
    assert target.notes == ("--time has no zone; EAST was assumed: 2026-11-23 08:05:00Z",)


def test_another_zone_may_be_assumed():
    when, note = parse_time("2026-11-23 09:05:00", timezone(timedelta(hours=1)))
    assert when == time_of(BEGIN + 300)
    assert "UTC+01:00 was assumed" in note


def test_a_leader_archives_what_a_time_after_the_archive_needs():
    target = resolved(time=at(3600))
    assert (target.kind, target.value) == ("time", "2026-11-23 09:00:00+00")


def test_without_a_leader_a_time_after_the_archive_is_refused():
    error = refused(situation=NOBODY, time=at(601))
    assert error.message.endswith("is after the newest archived WAL, and no leader archives more")
    assert WINDOW in error.hint


@pytest.mark.parametrize(
    ("seconds", "committed", "kind"),
    [(400, 401, "time"), (400, 400.5, "time"), (400, 400, "end"), (400, 380, "end"), (600, 599, "end")],
)
def test_without_a_leader_a_time_after_the_last_commit_is_the_end(seconds, committed, kind):
    find = Finder(last=[record(10), record(10, committed=committed)])
    target = resolved(situation=NOBODY, find=find, time=at(seconds))
    assert target.kind == kind
    assert any("the end of the archive is the same" in note for note in target.notes) == (kind == "end")
    assert find.asked["last"] == ["1.10", "1.9", "1.8", "1.7", "1.6"]


@pytest.mark.usefixtures("two_hours_ahead")
def test_both_notes_are_said():
    find = Finder(last=[record(10, committed=100)])
    target = resolved(situation=NOBODY, find=find, time="2026-11-23 10:05:00")
    assert ["EAST" in note or "end of the archive" in note for note in target.notes] == [True, True]


LEFT_ONE = "at that time timeline 1 went on, which was left at 0/5000500; --timeline 1 reaches what it wrote after that"
LEFT_TWO = "at that time timeline 2 went on, which was left at 0/7000600; --timeline 2 reaches what it wrote after that"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(200, False), (298, False), (300, True), (450, True), (480, True), (481, False), (1450, False)],
)
def test_a_time_at_which_an_abandoned_timeline_went_on_is_said(seconds, said):
    assert resolved(FORKED, LEADS_TWO, time=at(seconds)).notes == ((LEFT_ONE,) if said else ())


@pytest.mark.parametrize(
    ("seconds", "notes"),
    [(200, ()), (450, (LEFT_ONE,)), (1350, ()), (1419, (LEFT_TWO,)), (1540, (LEFT_TWO,)), (1541, ()), (2450, ())],
)
def test_every_timeline_that_was_left_on_the_way_is_said(seconds, notes):
    three = History(3, (*TWO.parents, (2, position(7, 0x600))))
    segments = {**FORKED.archive.segments, 3: {n: BEGIN + 2000 + 60 * n for n in range(7, 10)}}
    archive = replace(FORKED.archive, segments=segments, histories=(2, 3))
    made = replace(FORKED, archive=archive, histories={2: TWO, 3: three})
    target = resolved(made, Situation(NOW, 3, position(10), 800), time=at(seconds))
    assert (target.history, target.notes) == (three, notes)


def test_once_the_followed_timeline_had_begun_an_older_one_is_not_said():
    segments = {**FORKED.archive.segments, 1: {**FORKED.archive.segments[1], 9: BEGIN + 1460}}
    made = replace(FORKED, archive=replace(FORKED.archive, segments=segments))
    assert resolved(made, LEADS_TWO, time=at(1299)).notes == (LEFT_ONE,)
    assert resolved(made, LEADS_TWO, time=at(1300)).notes == ()


def test_an_abandoned_timeline_is_said_before_the_next_one_has_archived_anything():
    """As after a failover: the newest timeline has no segment in the archive yet, and those between may have none."""
    three = History(3, (*TWO.parents, (2, position(7, 0x600))))
    only_one = {1: FORKED.archive.segments[1]}
    for segments in (FORKED.archive.segments, only_one):
        made = replace(FORKED, archive=replace(FORKED.archive, segments=segments, histories=(2, 3)),
                       histories={2: TWO, 3: three})  # fmt: skip
        target = resolved(made, Situation(NOW, 3, position(10), 800), time=at(450))
        assert target.notes == (LEFT_ONE,)


def test_the_abandoned_timeline_itself_has_no_such_note():
    assert resolved(FORKED, LEADS_TWO, Finder(committed=470), time=at(450), timeline="1").notes == ()


def test_nobody_archives_more_of_an_abandoned_timeline():
    error = refused(FORKED, LEADS_TWO, time=at(481), timeline="1")
    assert "is after the newest archived WAL" in error.message


@pytest.mark.parametrize(("committed", "kind"), [(430, "end"), (450, "end"), (450.5, "time"), (None, "end")])
def test_a_time_after_the_last_commit_of_an_abandoned_timeline_is_its_end(committed, kind):
    find = Finder(committed=committed)
    target = resolved(FORKED, LEADS_TWO, find, time=at(450), timeline="1")
    note = "no archived transaction ended after that time: the end of the archive is the same"
    assert (target.kind, target.notes) == ((kind, (note,)) if kind == "end" else (kind, ()))
    assert find.asked["last"] == ["1.8", "1.7"]


# Transactions and restore points ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "known"), [({"xid": "760"}, "xid_760"), ({"name": "alpha beta"}, "name_alpha beta")]
)
def test_a_transaction_or_restore_point_becomes_its_position(request_, known):
    find = Finder(**{known: [record(7)]})
    target = resolved(find=find, **request_)
    ((kind, value),) = request_.items()
    assert (target.kind, target.value, target.backup.label) == ("lsn", lsn(7, 0x200), "second")
    assert target.notes == (f"--{kind} {value} is at 0/7000200 in WAL 000000010000000000000007",)
    assert find.asked == {kind: [f"1.{number}" for number in range(10, 1, -1)]}


def test_a_restore_point_is_looked_for_on_the_whole_history():
    find = Finder(name_it=[record(6, timeline=2)])
    assert resolved(FORKED, LEADS_TWO, find, name="it").backup.label == "before"
    assert find.asked["name"] == ["2.9", "2.8", "2.7", "2.6", "2.5", "1.4", "1.3", "1.2"]
    refused(FORKED, LEADS_TWO, find, name="other", timeline="1")
    assert find.asked["name"] == ["1.8", "1.7", "1.6", "1.5", "1.4", "1.3", "1.2"]


def test_a_transaction_before_the_first_backup_is_refused():
    error = refused(find=Finder(xid_700=[record(1)]), xid="700")
    assert "--xid 700 is before the first backup was consistent" in error.message
    assert WINDOW in error.hint


def test_without_a_leader_any_transaction_is_looked_for():
    find = Finder(xid_900=[record(7)])
    assert resolved(situation=NOBODY, find=find, xid="900").value == lsn(7, 0x200)


def test_an_abandoned_timeline_may_have_given_out_more_transactions():
    find = Finder(xid_900=[record(8)])
    assert resolved(FORKED, LEADS_TWO, find, xid="900", timeline="1").value == lsn(8, 0x200)


# The end ----------------------------------------------------------------------------------------------------


def test_without_a_point_it_goes_to_the_end():
    target = resolved()
    assert (target.kind, target.value, target.backup.label, target.history) == ("end", "", "second", History(1, ()))


def test_a_backup_alone_is_restored_as_it_ended():
    target = resolved(set="first")
    assert (target.kind, target.value) == ("immediate", "")
    own = "--recovery-option=recovery_target_timeline=1"
    assert target.options == ("--type=immediate", "--target-action=pause", own)


def test_the_end_is_a_position_once_nobody_writes():
    find = Finder(last=[record(10, 0x700), record(10, 0x600, committed=590)])
    target = replace(resolved(), notes=("said",))
    ended = find_end(target, ONE, find)
    assert (ended.kind, ended.value, ended.backup, ended.notes) == ("lsn", lsn(10, 0x700), target.backup, ("said",))
    assert find.asked["last"] == ["1.10", "1.9", "1.8", "1.7", "1.6"]


def test_an_archive_without_a_record_has_no_end():
    with pytest.raises(BadValue, match="timeline 1 holds no record"):
        find_end(resolved(), ONE, Finder(last=[]))


# What was reached -------------------------------------------------------------------------------------------

FIRST = ONE.stanza.backups[0]


@pytest.mark.parametrize(
    ("kind", "value", "stopped", "last", "words"),
    [
        ("immediate", "", FIRST.stop_lsn, None, ""),
        ("immediate", "", FIRST.stop_lsn - 1, None, "before the backup is consistent"),
        ("lsn", lsn(4), position(4) + 1, 230, ""),
        ("lsn", lsn(4), position(9), None, ""),
        ("lsn", lsn(4), position(4), 230, "it stopped at 0/4000100, before 0/4000100"),
        ("lsn", lsn(4), position(3), 230, "it stopped at 0/3000100, before 0/4000100"),
        ("lsn", lsn(4), position(1), 230, "before the backup is consistent"),
        ("time", "2026-11-23 08:05:00+00", position(4), 300, ""),
        ("time", "2026-11-23 08:05:00+00", position(4), 290, ""),
        ("time", "2026-11-23 08:05:00+00", position(4), None, ""),
        ("time", "2026-11-23 08:05:00+00", position(4), 300.5, "it went on to 2026-11-23 08:05:00.500000Z"),
        ("time", "2026-11-23 08:05:00.500000+00", position(4), 300.5, ""),
        ("time", "2026-11-23 08:05:00+00", position(1), 290, "before the backup is consistent"),
    ],
)
def test_what_was_reached_is_checked(kind, value, stopped, last, words):
    target = Target(kind, value, FIRST, History(1, ()), ())
    problem = is_reached(target, stopped, time_of(BEGIN + last) if last is not None else None)
    assert words in problem
    assert bool(problem) == bool(words)


# What can be restored ---------------------------------------------------------------------------------------


def labels(made, history):
    return [b.label for b in made.usable(history)]


def test_usable_backups_lie_on_the_history():
    assert labels(ONE, History(1, ())) == ["first", "second"]
    assert labels(FORKED, TWO) == ["before", "after"]
    assert labels(FORKED, History(1, ())) == ["before", "abandoned"]
    assert labels(FORKED, History(3, ((1, FIRST.stop_lsn),))) == ["before"]
    assert labels(FORKED, History(3, ((1, FIRST.stop_lsn - 1),))) == []


@pytest.mark.parametrize(
    ("history", "last"),
    [
        (History(1, ()), (1, 8)),
        (TWO, (2, 9)),
        (History(3, ((1, position(6)),)), (1, 6)),
        (History(3, ((1, position(20)),)), (1, 8)),
        (History(4, ((1, position(5, 0x500)), (2, position(7)), (3, position(8)))), (2, 7)),
        (History(9, ()), None),
    ],
    ids=["own", "child", "cut", "beyond", "empty-parent", "stranger"],
)
def test_the_newest_segment_on_a_history(history, last):
    assert FORKED.last_segment(history) == last


def test_the_window_goes_from_the_first_consistent_second_to_the_newest_wal():
    assert str(ONE.window(History(1, ()))) == WINDOW
    window = FORKED.window(TWO)
    assert (window.begin, window.end) == (time_of(BEGIN + 122), time_of(BEGIN + 1540))
    assert window.segment == "000000020000000000000009"


def test_a_window_never_ends_before_it_begins():
    late = catalogue([backup("late", 1, 2, 500)], {1: {2: 120}})
    window = late.window(History(1, ()))
    assert window.begin == window.end == time_of(BEGIN + 501)


def test_without_backup_or_wal_there_is_no_window():
    assert ONE.window(History(2, ())) is None
    assert catalogue([], {1: {1: 60}}).window(History(1, ())) is None
    assert catalogue([FIRST], {}).window(History(1, ())) is None


def test_a_window_ends_with_a_segment_that_is_there():
    window = without(FORKED, (1, 6)).window(History(3, ((1, position(6)),)))
    assert (window.end, window.segment) == (time_of(BEGIN + 300), "000000010000000000000005")


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([], ""),
        ([(1, 1)], ""),  # before the first backup
        ([(1, 4)], "000000010000000000000004"),
        ([(1, 4), (1, 8), (1, 9)], "000000010000000000000004 and 2 more"),
    ],
)
def test_a_window_says_what_the_archive_lacks(gone, said):
    more = f"; the archive lacks {said}: no point from there to the next backup" if said else ""
    assert str(without(ONE, *gone).window(History(1, ()))) == WINDOW + more


def test_a_window_across_a_fork_needs_the_segment_of_the_younger_timeline():
    assert FORKED.window(TWO).lacking == ()
    assert without(FORKED, (2, 5)).window(TWO).lacking == ("000000020000000000000005",)


# Against brute force ----------------------------------------------------------------------------------------


@dataclass
class World:
    """A cluster that writes, takes backups and is restored, by chance; it knows what every timeline went through."""

    chance: random.Random
    clock: int = 10
    paths: dict = field(default_factory=lambda: {1: []})
    """timeline -> the parents with the position where each was left"""
    ends: dict = field(default_factory=lambda: {1: position(1, 0)})
    timeline: int = 1
    archived: dict = field(default_factory=lambda: {1: {}})
    backups: list = field(default_factory=list)

    def live(self, steps):
        for _ in range(steps):
            self.clock += self.chance.randint(2, 40)
            self.chance.choice([self.write, self.write, self.write, self.back_up, self.go_back])()
        self.close()
        return self

    def write(self):
        begin = self.ends[self.timeline]
        self.ends[self.timeline] = begin + self.chance.randint(1, 3 * SEGMENT_SIZE)
        for number in range(begin // SEGMENT_SIZE, self.ends[self.timeline] // SEGMENT_SIZE):
            self.archived[self.timeline][number] = self.clock

    def close(self):
        """The segment that is written goes into the archive, too."""
        self.ends[self.timeline] = (self.ends[self.timeline] // SEGMENT_SIZE + 1) * SEGMENT_SIZE
        self.archived[self.timeline][self.ends[self.timeline] // SEGMENT_SIZE - 1] = self.clock

    def back_up(self):
        self.close()
        first = self.ends[self.timeline] // SEGMENT_SIZE
        self.ends[self.timeline] += self.chance.randint(50, SEGMENT_SIZE)
        made = backup(f"b{len(self.backups)}", self.timeline, first, self.clock, self.chance.random() < 0.2)
        self.backups.append(replace(made, stop_lsn=self.ends[self.timeline]))
        self.close()

    def go_back(self):
        self.close()
        old = self.chance.choice(list(self.paths))
        begin = self.paths[old][-1][1] if self.paths[old] else position(1, 0)
        point = self.chance.randint(begin, self.ends[old])
        self.timeline = max(self.paths) + 1
        self.paths[self.timeline] = [*self.paths[old], (old, point)]
        self.ends[self.timeline] = point
        self.archived[self.timeline] = {}

    @property
    def catalogue(self):
        histories = [History(timeline, tuple(path)) for timeline, path in self.paths.items() if path]
        return catalogue(self.backups, self.archived, histories)

    def best(self, timeline, fits):
        """The newest good backup that fits, of those this timeline went through."""
        lived = [*self.paths[timeline], (timeline, self.ends[timeline])]
        good = [
            b
            for b in self.backups
            if not b.error and fits(b)
            and any(int(b.wal_start[:8], 16) == step and b.stop_lsn <= left for step, left in lived)
        ]  # fmt: skip
        return max(good, key=lambda b: b.stop, default=None)


@pytest.mark.parametrize("seed", range(60))
def test_the_set_is_the_one_that_trying_all_of_them_finds(seed):
    chance = random.Random(seed)
    world = World(chance).live(steps=25)
    made = world.catalogue
    for timeline in world.archived:
        last = made.last_segment(made.history(timeline))
        if last is None or not world.archived[timeline]:
            continue
        situation = Situation(time_of(BEGIN + world.clock + 10), timeline, world.ends[timeline], 800)
        for _ in range(6):
            seconds = chance.randint(0, world.clock)
            point = chance.randint(0, world.ends[timeline] - 1)
            for request, fits in (
                (Request(time=at(seconds), timeline=str(timeline)), lambda b, s=seconds: b.stop < BEGIN + s),
                (Request(lsn=lsn_text(point), timeline=str(timeline)), lambda b, p=point: b.stop_lsn <= p),
            ):
                expected = world.best(timeline, fits)
                try:
                    target = resolve(request, made, situation, Finder())
                except BadValue:
                    assert expected is None, request
                    continue
                assert target.backup == expected, request
                assert_wal_leads_to(world, timeline, target, point if request.lsn else None)


def assert_wal_leads_to(world, timeline, target, point):
    """The segments are there, without a gap from the backup on, and none was written after its timeline was left."""
    names = [parse_segment(name) for name in target.segments]
    first = parse_segment(target.backup.wal_start)[1]
    assert [number for _, number in names] == list(range(first, first + len(names)))
    if point is not None:
        assert names[-1][1] >= min(point // SEGMENT_SIZE, max(world.archived[timeline]))
    left = {**dict(world.paths[timeline]), timeline: world.ends[timeline]}
    for step, number in names:
        assert number in world.archived[step]
        assert number <= left[step] // SEGMENT_SIZE
    assert [step for step, _ in names] == sorted(step for step, _ in names)
