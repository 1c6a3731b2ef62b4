"""Looking again and again: what a look costs, and that nobody waits for a member that does not answer."""

import threading
from concurrent.futures import wait

import pytest

from pgha.errors import NotUp, PghaError, Unreachable
from pgha.watch import stream
from pgha.watch.looking import SILENT, WHOLE_EVERY, Looker
from pgha.watch.stream import snapshots

PATIENCE = 5.0
"""Seconds; every answer is there at once, but for those a test holds back."""


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def looker(project, played, clock):
    """It has had its first look; what that asked is forgotten."""
    made = Looker(lambda: project, clock)
    assert made.look(PATIENCE).seen.leader == "pg1-node1"
    played.asked.clear()
    return made


@pytest.fixture
def hold(played):
    """Let a member's answers wait until the end."""
    released, held, answers = threading.Event(), set(), played.run

    def run(host, command, line=None):
        if host in held:
            released.wait(30)
            raise Unreachable(f"{host} was held")
        return answers(host, command, line)

    played.run = run
    yield held.add
    released.set()


def whole(looker):
    """Let a whole look that has begun end."""
    if looker._coming:
        wait([looker._coming], 5)


def test_a_quick_look_costs_each_member_one_command(looker, played, clock):
    clock.now += 0.5
    seen = looker.look(PATIENCE).seen
    assert sorted(played.asked) == [(name, "sh") for name in ("pg1-node1", "pg2-node1", "pg3-node1")]
    assert (seen.leader, played.taken) == ("pg1-node1", 1)


def test_a_whole_look_is_taken_now_and_then_and_when_something_changes(looker, played, clock):
    clock.now += WHOLE_EVERY / 2
    looker.look(PATIENCE)
    assert played.taken == 1
    played.leader = "pg2-node1"
    seen = looker.look(PATIENCE).seen
    # What was known of the former leader's Postgres is not said of the new one's.
    assert (seen.leader, seen.facts) == ("pg2-node1", None)
    clock.now += 1
    looker.look(PATIENCE)
    whole(looker)
    assert played.taken == 2
    looker.look(PATIENCE)
    clock.now += WHOLE_EVERY
    looker.look(PATIENCE)
    whole(looker)
    assert played.taken == 3


def test_a_member_that_does_not_answer_stops_nobody_and_is_away_after_a_while(looker, played, clock, hold):
    hold("pg3-node1")
    played.location["pg2-node1"] = 600
    clock.now += 0.5
    shown = {member.name: member for member in looker.look(0.2).seen.members}
    assert (shown["pg2-node1"].lag, shown["pg3-node1"].state) == (400, "streaming")
    clock.now += SILENT + 0.1
    played.location["pg2-node1"] = 700
    shown = {member.name: member for member in looker.look(0.2).seen.members}
    assert (shown["pg2-node1"].lag, shown["pg3-node1"].state) == (300, "unreachable")


def test_a_leader_that_this_host_does_not_reach_still_leads_when_another_member_does(looker, played, clock):
    played.away = {"pg1-node1"}
    for _ in range(3):
        clock.now += 0.5
        assert looker.look(PATIENCE).seen.leader == "pg1-node1"
    assert ("pg2-node1", "curl") in played.asked or ("pg3-node1", "curl") in played.asked


def test_a_leader_that_nobody_reaches_does_not_lead_and_nobody_waits_for_the_answer(looker, played, clock, monkeypatch):
    asked, answered = threading.Event(), threading.Event()

    def hear(asking, leader):
        asked.set()
        answered.wait(30)
        return None

    monkeypatch.setattr(looker._hearing, "_hear", hear)
    played.away = {"pg1-node1"}
    clock.now += 0.5
    assert looker.look(PATIENCE).seen.leader == "pg1-node1", "nobody knows yet"
    assert asked.is_set()
    answered.set()
    wait([looker._hearing._asking[1]], 5)
    seen = looker.look(PATIENCE).seen
    assert seen.leader is None
    (lost,) = (member for member in seen.members if member.name == "pg1-node1")
    assert lost.role == ""


def test_a_project_that_is_not_up_is_waited_for(project, played, clock):
    played.error = NotUp("Project p is not up", "inv up")
    looker = Looker(lambda: project, clock)
    assert isinstance(looker.look(PATIENCE), NotUp)
    played.error = None
    clock.now += 1
    assert looker.look(PATIENCE).seen.leader == "pg1-node1"
    played.error = NotUp("Project p is not up", "inv up")
    clock.now += WHOLE_EVERY
    looker.look(PATIENCE)
    whole(looker)
    assert isinstance(looker.look(PATIENCE), NotUp)


def test_settings_that_cannot_be_read_are_an_error_and_no_end(project, played, clock):
    def reopen():
        raise PghaError("unreadable")

    assert str(Looker(reopen, clock).look(PATIENCE)) == "unreadable"


# Snapshots --------------------------------------------------------------------------------------------------


class Looks:
    """What is seen, one after another; it is over with the last one."""

    def __init__(self, project, over, *seen):
        self.project, self._over, self._seen = project, over, list(seen)

    def look(self, patience):
        if len(self._seen) == 1:
            self._over.set()
        return self._seen.pop(0)


@pytest.fixture
def play(project, monkeypatch):
    monkeypatch.setattr(stream, "EVERY", 0.01)

    def play(*seen):
        over = threading.Event()
        return list(snapshots(Looks(project, over, *seen), None, over))

    return play


def test_snapshots_hold_what_is_new_and_what_was(project, played, play, looker):
    one = looker.look(PATIENCE)
    played.leader = "pg2-node1"
    two = looker.look(PATIENCE)
    first, second = play(None, one, two)
    assert first.events == first.recent
    assert "leader: pg1-node1 -> pg2-node1" in [event.sentence for event in second.events]
    assert second.recent == (*first.events, *second.events)
    assert second.document["leader"] == "pg2-node1"
    assert [site.name for site in second.sites] == ["dc1", "dc2", "dc3"]


def test_what_is_not_up_is_a_snapshot_and_what_keeps_from_looking_ends_at_first_only(played, play, looker):
    seen = looker.look(PATIENCE)
    first, second, third = play(NotUp("not up"), seen, PghaError("this host refuses"))
    assert (first.document["error"], first.sites) == ("not_up", ())
    assert second.document["leader"] == "pg1-node1"
    assert [event.kind for event in third.events] == ["unseen"]
    with pytest.raises(PghaError, match="this host refuses"):
        play(PghaError("this host refuses"), seen)
