"""The alerts of a drill: what is held against what Alertmanager says."""

import pytest

from pgha.drills import alerts
from pgha.drills.alerts import Fired, Watch, await_named, await_quiet, words_of
from pgha.drills.scenario_alerts import EXPECTED, Expected
from pgha.drills.scenarios import BY_NAME
from pgha.errors import Unreachable
from pgha.tools.prometheus import Alert


class Time:
    """A clock that goes on when somebody looks on, and what fires from when to when."""

    def __init__(self, **spans):
        self.now, self.spans, self.away = 0.0, spans, ()

    def clock(self):
        return self.now

    def read(self):
        if self.away and self.away[0] <= self.now < self.away[1]:
            raise Unreachable("alertmanager does not answer")
        return [Alert(n, "h", "warning", "") for n, (begin, end) in self.spans.items() if begin <= self.now < end]

    def watch(self):
        made = Watch(self.read, self.clock)
        made.look()
        self.made = made
        return made

    def go_on(self, seconds):
        self.now += seconds
        self.made.look()


@pytest.fixture
def named(monkeypatch):
    monkeypatch.setattr(alerts, "EXPECTED", {"drill": (Expected("a", 20),)})


def test_every_scenario_says_what_has_to_fire():
    assert set(EXPECTED) == set(BY_NAME)


def test_one_that_fires_in_time_and_is_over_is_as_promised(named):
    time = Time(a=(10, 50))
    watch = time.watch()
    assert await_named(watch, "drill", 2, time.go_on) == []
    assert time.now < 12
    assert await_quiet(watch, time.go_on) == []
    assert watch.fired == (Fired("a", ("h",), 10.0, 50.0),)


def test_one_that_was_over_before_anybody_waited_has_fired(named):
    time = Time(a=(3, 6))
    watch = time.watch()
    for _ in range(20):
        time.go_on(0.5)
    assert await_named(watch, "drill", 2, time.go_on) == []


@pytest.mark.parametrize(("spans", "words"), [({}, "did not fire within 20 s"), ({"a": (30, 40)}, "did not fire")])
def test_one_that_does_not_come_is_named_and_not_waited_for_longer(named, spans, words):
    time = Time(**spans)
    (sentence,) = await_named(time.watch(), "drill", 2, time.go_on)
    assert words in sentence
    assert time.now < 24


def test_one_that_does_not_end_is_named():
    time = Time(a=(1, 10_000))
    watch = time.watch()
    time.go_on(2)
    (sentence,) = await_quiet(watch, time.go_on)
    assert "a still fires" in sentence


def test_what_fired_before_is_none_of_the_drill_s():
    time = Time(a=(0, 10_000), b=(5, 8))
    watch = time.watch()
    for _ in range(20):
        time.go_on(0.5)
    assert [fired.name for fired in watch.fired] == ["b"]
    assert await_quiet(watch, time.go_on) == []


def test_while_alertmanager_does_not_answer_nothing_changes():
    time = Time(a=(1, 10))
    time.away = (3, 20)
    watch = time.watch()
    for _ in range(38):
        time.go_on(0.5)
    assert watch.fired[0].gone is None
    time.go_on(2)
    assert watch.fired[0].gone == 21.0


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "a NEVER"),
        ([(2.0, [Fired("a", (), 12.0, 20.0)])], "a 10"),
        ([(2.0, [Fired("a", (), 12.0, 20.0), Fired("b", (), 4.0, None)])], "a 10, +b 2"),
        ([(2.0, [Fired("a", (), 12.0, 20.0)]), (0.0, [])], "a 10 / 10 (1 of 2)"),
    ],
)
def test_the_column_tells_what_fired_and_when(named, runs, words):
    assert words_of("drill", runs) == words


def test_a_scenario_without_an_alert_says_none():
    assert words_of("switchover", [(1.0, [])]) == "none"
