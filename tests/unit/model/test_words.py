from datetime import UTC, datetime, timedelta, timezone

import pytest

from pgha.model.words import counted, named, time_of, time_text

MOMENT = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)


@pytest.mark.usefixtures("two_hours_ahead")
@pytest.mark.parametrize(
    ("when", "text"),
    [
        (MOMENT, "2026-11-23 08:30:00Z"),
        (MOMENT + timedelta(microseconds=250), "2026-11-23 08:30:00.000250Z"),
        (MOMENT.astimezone(timezone(timedelta(hours=-9))), "2026-11-23 08:30:00Z"),
        (time_of(MOMENT.timestamp()), "2026-11-23 08:30:00Z"),
        (time_of(MOMENT.timestamp() + 0.5), "2026-11-23 08:30:00.500000Z"),
    ],
)
def test_a_time_is_in_utc_and_says_so(when, text):
    assert time_text(when) == text
    assert datetime.fromisoformat(text) == when


def test_a_time_in_minutes():
    assert time_text(MOMENT, "minutes") == "2026-11-23 08:30Z"


@pytest.mark.parametrize(
    ("count", "alone", "with_verb"),
    [(0, "0 segments", "0 segments wait"), (1, "1 segment", "1 segment waits"), (2, "2 segments", "2 segments wait")],
)
def test_a_noun_and_its_verb_follow_the_count(count, alone, with_verb):
    assert counted(count, "segment") == alone
    assert counted(count, "segment", "waits", "wait") == with_verb


def test_a_verb_follows_the_names():
    assert named(["etcd1"], "is", "are") == "etcd1 is"
    assert named(["etcd1", "etcd2"], "is", "are") == "etcd1 and etcd2 are"
