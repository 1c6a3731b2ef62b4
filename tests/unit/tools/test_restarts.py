"""What a restart would break, and by what one sees that it happened."""

import json

import pytest

from pgha.errors import ToolFailed
from pgha.tools.activity import Session, long_sessions, parse_sessions
from pgha.tools.restarts import Standing, parse_standing


def test_since_when_a_postgres_runs(captured):
    leader = parse_standing(captured("patroni_leader.json"))
    assert leader == Standing("2026-11-23 05:35:44.009298+00:00")
    assert parse_standing('{"state": "stopped"}') == Standing("")


def answer(**reasons):
    given = {name: {"old_value": old, "new_value": new} for name, (old, new) in reasons.items()}
    return json.dumps({"postmaster_start_time": "t", "pending_restart": True, "pending_restart_reason": given})


def test_what_waits_for_it_and_which_of_that_becomes_smaller():
    seen = parse_standing(answer(max_connections=("200", "100"), max_wal_senders=("10", "12"), shared_buffers=(8, 4)))
    assert seen.pending == {
        "max_connections": ("200", "100"),
        "max_wal_senders": ("10", "12"),
        "shared_buffers": ("8", "4"),
    }
    assert seen.lowers == ("max_connections",)


def test_an_older_patroni_does_not_say_what_waits():
    assert parse_standing('{"pending_restart": true}').pending == {"some parameter": ("", "")}


@pytest.mark.parametrize("text", ["", "[]", "not JSON", '{"pending_restart_reason": {"a": 1}}'])
def test_something_else_is_an_error(text):
    with pytest.raises(ToolFailed, match="since when"):
        parse_standing(text)


def test_sessions_in_words():
    text = '[{"pid": 7, "user": "app", "database": "shop", "seconds": 90, "backup": false}]'
    (session,) = parse_sessions(text)
    assert session == Session(7, "app", "shop", 90)
    assert str(session) == "a transaction of app in shop has been open for 90 s (pid 7)"
    assert parse_sessions("[]") == ()
    assert "interval '60 s'" in long_sessions(60)


@pytest.mark.parametrize("text", ["", "{}x", '[{"pid": 7, "color": 1}]', "[1]"])
def test_no_answer_about_sessions_is_an_error(text):
    with pytest.raises(ToolFailed, match="about transactions"):
        parse_sessions(text)
