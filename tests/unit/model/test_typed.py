"""What was typed is what is read."""

import pytest

from pgha.model.typed import read_typed

TYPED = [
    "yes", "No", "on", "true", "017", "0o17", "0x1f", "1_000", "12:30", "1:30:00", "2026-11-25",
    "2026-11-25T08:30:00Z", "1e3", ".5", "+5", ".inf", "0123", "1.10", "plain text",
]  # fmt: skip


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_scalar_stays_as_it_was_typed(text, quote):
    assert read_typed(f"key: {quote}{text}{quote}  # why\n") == {"key": text}


@pytest.mark.parametrize("text", ["", "~", "null", "Null"])
def test_nothing_is_nothing_and_a_quoted_word_is_that_word(text):
    assert read_typed(f"key: {text}\n") == {"key": None}
    assert read_typed(f"key: '{text}'\n") == {"key": text}


def test_a_key_is_as_it_was_typed():
    assert read_typed("{on: 1, 017: 2}") == {"on": "1", "017": "2"}


def test_anchors_and_merged_tables_work():
    assert read_typed("a: &a {x: 1, y: 017}\nb: {<<: *a, x: 2}") == {
        "a": {"x": "1", "y": "017"},
        "b": {"x": "2", "y": "017"},
    }


@pytest.mark.parametrize(("text", "words"), [("a: [", "not YAML"), ("a: 1\na: 2", "a is given twice"), ("\0", "YAML")])
def test_what_cannot_be_read_is_said(text, words):
    with pytest.raises(ValueError, match=words):
        read_typed(text)
