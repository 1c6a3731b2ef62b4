import pytest

from pgha.errors import Missing, TimedOut, ToolFailed, Unreachable
from pgha.waiting import wait_until


def looks(*answers):
    """One answer after the other, the last one for ever; an error is raised."""
    left = list(answers)

    def look():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def wait(look, holds=bool, timeout=0.05, **more):
    return wait_until(look, holds, "The sun rises", timeout=timeout, interval=0.01, **more)


def test_the_look_that_holds_is_returned_at_once():
    assert wait_until(looks("up"), bool, "The sun rises", timeout=3600, interval=3600) == "up"


def test_it_looks_until_it_holds():
    assert wait(looks(0, 0, 0, 3), timeout=5) == 3


def test_the_error_says_what_was_waited_for_and_what_was_seen():
    with pytest.raises(TimedOut) as caught:
        wait(looks(7), lambda seen: seen > 9, explain=lambda seen: f"only {seen}", hint="inv status")
    assert caught.value.message == "The sun rises: not within 0.05 s (only 7)"
    assert caught.value.hint == "inv status"


@pytest.mark.parametrize("error", [Unreachable("host away"), ToolFailed("no sense"), TimedOut("no end")])
def test_a_look_without_an_answer_is_not_yet(error):
    assert wait(looks(error, error, "up"), timeout=5) == "up"


@pytest.mark.parametrize("seen", [(Unreachable("host away"),), ("down", Unreachable("host away"))])
def test_the_error_says_why_there_was_no_answer(seen):
    with pytest.raises(TimedOut, match="host away"):
        wait(looks(*seen), lambda seen: False, explain=str)


def test_an_older_failure_is_not_told_once_there_was_an_answer():
    with pytest.raises(TimedOut, match=r"\(still dark\)"):
        wait(looks(Unreachable("host away"), "dark"), lambda seen: False, explain=lambda seen: f"still {seen}")


def test_an_answer_that_does_not_hold_is_not_called_no_answer():
    with pytest.raises(TimedOut) as caught:
        wait(looks("dark"), lambda seen: False)
    assert "no answer" not in caught.value.message


def test_another_error_ends_the_wait():
    with pytest.raises(Missing):
        wait(looks(Missing("nothing there")), timeout=60)


def test_it_waits_no_longer_than_it_was_told():
    with pytest.raises(TimedOut):
        wait(looks(False), timeout=0.1)
