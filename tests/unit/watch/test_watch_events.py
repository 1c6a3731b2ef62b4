"""What changed between two status documents, and how many writes were acknowledged in each second."""

import json

import pytest

from pgha.watch.events import changes
from pgha.watch.writes import SECONDS, History, sparkline

AT = 1_795_000_000.25


def member(name, role="quorum_standby", state="streaming", timeline=3, **more):
    return {"name": name, "role": role, "state": state, "timeline": timeline, "lag_bytes": 0, **more}


def document(leader="pg1-node1", members=None, problems=()):
    members = members or [member("pg1-node1", "leader", "running"), member("pg1-node2")]
    listed = [{"kind": kind, "host": host, "sentence": sentence} for kind, host, sentence in problems]
    return {"project": "p", "leader": leader, "paused": False, "members": members, "problems": listed}


WELL = document()
NOT_UP = {"error": "not_up", "message": "Project p is not up", "hint": "inv up"}
NO_LEADER = ("no_leader", None, "there is no leader: writes are not accepted")
ARCHIVING = ("archiving_fails", "pg1-node1", "archiving fails at 00000003000000000000000A")


def slot(name, size="2.0GB"):
    return "slot_retains_wal", "pg1-node1", f"pg1-node1: the unused physical slot {name} keeps {size} of WAL"


AWAY, EXITED = (
    ("container_away", "pg1-node2", f"pg1-node2: its container is {state}") for state in ("paused", "exited")
)

CASES = [
    (None, WELL, ["p: pg1-node1 leads, 2 members, healthy"]),
    (None, document(leader=None, problems=[NO_LEADER]), ["p: nobody leads, 2 members", NO_LEADER[2]]),
    (None, NOT_UP, ["Project p is not up"]),
    (NOT_UP, NOT_UP, []),
    (NOT_UP, {**NOT_UP, "error": "unreachable", "message": "gone\n  | more"}, ["gone"]),
    (NOT_UP, WELL, ["p: pg1-node1 leads, 2 members, healthy"]),
    (WELL, NOT_UP, ["Project p is not up"]),
    (WELL, WELL, []),
    (WELL, document(members=[{**m, "lag_bytes": 77} for m in WELL["members"]]), []),
    (WELL, document(leader=None), ["leader: pg1-node1 -> (none)"]),
    (document(leader=None), document(leader="pg1-node2"), ["leader: (none) -> pg1-node2"]),
    (
        WELL, document(members=[member("pg1-node1", "leader", "running", 4), member("pg1-node2", timeline=4)]),
        ["pg1-node1: timeline 3 -> 4", "pg1-node2: timeline 3 -> 4"],
    ),
    (
        WELL, document(members=[member("pg1-node1", "", "stopped", None), member("pg1-node2", "leader", "running", 4)]),
        ["pg1-node1: leader -> (none), running -> stopped",
         "pg1-node2: quorum_standby -> leader, streaming -> running, timeline 3 -> 4"],
    ),
    (
        document(members=[member("pg1-node1", "", "starting", None)]), document(members=[member("pg1-node1")]),
        ["pg1-node1: (none) -> quorum_standby, starting -> streaming, timeline 3"],
    ),
    (
        WELL, document(members=[WELL["members"][0], member("pg1-node3")]),
        ["pg1-node3 is a member now", "pg1-node2 is no member any more"],
    ),
    (WELL, document(problems=[ARCHIVING]), [ARCHIVING[2]]),
    (document(problems=[ARCHIVING]), WELL, [f"over: {ARCHIVING[2]}"]),
    (document(problems=[slot("a")]), document(problems=[slot("a", "2.1GB")]), []),
    (document(problems=[slot("a")]), document(problems=[slot("a"), slot("b")]), [slot("b")[2]]),
    (document(problems=[slot("a"), slot("b")]), document(problems=[slot("b")]), [f"over: {slot('a')[2]}"]),
    (document(problems=[AWAY]), document(problems=[EXITED]), [EXITED[2]]),
    (
        document(problems=[slot("a"), slot("b")]), document(problems=[slot("c")]),
        [slot("c")[2], f"over: {slot('a')[2]}"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "sentences"), CASES)
def test_each_change_is_told_once_in_words(before, after, sentences):
    events = changes(before, after, AT)
    assert [event.sentence for event in events] == sentences
    assert {event.at for event in events} <= {AT}


def test_an_event_is_a_document_for_programs():
    moved = document(leader="pg1-node2", problems=[ARCHIVING])
    leader, problem = [json.loads(json.dumps(event.as_document())) for event in changes(WELL, moved, AT)]
    assert leader == {
        "at": "2026-11-18T11:06:40.250000Z", "kind": "leader", "host": "pg1-node2", "before": "pg1-node1",
        "after": "pg1-node2", "sentence": "leader: pg1-node1 -> pg1-node2",
    }  # fmt: skip
    assert (problem["kind"], problem["after"], problem["host"]) == ("problem", "archiving_fails", "pg1-node1")


# Writes -----------------------------------------------------------------------------------------------------


def test_writes_are_counted_by_the_second_and_what_is_older_than_a_minute_is_forgotten():
    history = History(1000.0)
    assert history.add([1000.2, 1000.9, 1001.5, 1003.1], 1003.2) == []
    shown = history.shown(1003.2)
    assert shown.per_second[-4:] == (None, 2, 1, 0)
    assert (len(shown.per_second), shown.total, shown.stopped_for) == (SECONDS, 4, 0.0)
    assert shown.longest_gap == pytest.approx(1.6)
    assert history.add([1000.0 + n for n in range(4, 200)], 1199.0) == []
    assert len(history._counts) <= SECONDS + 3
    assert history.shown(1199.0).per_second == (1,) * SECONDS


def test_that_writes_stop_and_come_again_is_told_with_the_gap():
    history = History(1000.0)
    history.add([1000.5], 1001.0)
    assert history.add([], 1002.0) == []
    (stop,) = history.add([], 1003.0)
    assert (stop.kind, stop.at) == ("writes_stop", 1000.5)
    assert history.add([], 1004.0) == []
    assert history.shown(1004.0).stopped_for == pytest.approx(3.5)
    (again,) = history.add([1011.0, 1011.1], 1011.2)
    assert (again.kind, again.at, again.after) == ("writes_again", 1011.0, 10.5)
    assert again.sentence == "writes are acknowledged again, after 10.5 s"
    assert history.shown(1011.2).longest_gap == pytest.approx(10.5)


def test_a_gap_that_nobody_saw_while_it_lasted_is_told_too():
    history = History(1000.0)
    history.add([1000.5], 1000.6)
    assert [event.kind for event in history.add([1006.0, 1006.1], 1006.2)] == ["writes_stop", "writes_again"]
    assert history.add([1006.3], 1006.4) == []


def test_a_probe_that_never_wrote_has_stopped():
    history = History(1000.0)
    (stop,) = history.add([], 1002.5)
    assert stop.kind == "writes_stop"
    assert history.shown(1062.5).per_second == (0,) * SECONDS
    assert [event.kind for event in history.add([1063.0], 1063.1)] == ["writes_again"]


def test_the_sparkline_tells_none_from_unknown():
    assert sparkline((None, 0, 1, 4, 8)) == " ·▁▄█"
    assert sparkline((None,) * 3) == "   "
