import pytest

from pgha.tools.wal import (
    SEGMENT_SIZE,
    History,
    lsn_text,
    names_on,
    number_of,
    parse_history,
    parse_lsn,
    parse_segment,
    segment_name,
    segments_on,
)

# Positions and names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0/0", 0),
        ("0/5000060", 0x5000060),
        ("0/FFFFFFFF", 0xFFFFFFFF),
        ("1/0", 1 << 32),
        ("16/B374D848", 0x16B374D848),
        ("FFFFFFFF/FFFFFFFF", (1 << 64) - 1),
    ],
)
def test_a_position_comes_back_as_it_was_written(text, position):
    assert parse_lsn(text) == position
    assert lsn_text(position) == text


@pytest.mark.parametrize("text", ["0/0A0771C0", " 0/A0771C0\n", "00000000/a0771c0"])
def test_zeros_blanks_and_small_letters_are_read(text):
    assert parse_lsn(text) == 0xA0771C0


@pytest.mark.parametrize(
    "text", ["", "0", "/", "0/", "/0", "0/G", "0/123456789", "123456789/0", "-1/0", "0/0/0", "0x1/0"]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="is not an LSN"):
        parse_lsn(text)


@pytest.mark.parametrize(
    ("name", "timeline", "number"),
    [
        ("000000010000000000000000", 1, 0),
        ("0000000100000000000000FF", 1, 255),
        ("000000010000000100000000", 1, 256),
        ("00000001000000010000000A", 1, 266),
        ("0000000A0000000200000001", 10, 513),
        ("FFFFFFFFFFFFFFFF000000FF", 0xFFFFFFFF, (1 << 40) - 1),
    ],
)
def test_a_log_has_256_segments(name, timeline, number):
    assert segment_name(timeline, number) == name
    assert parse_segment(name) == (timeline, number)


@pytest.mark.parametrize(
    "name",
    ["", "00000002.history", "00000001000000000000000", "00000001000000000000000a", "000000010000000000000008.00"],
)
def test_what_is_no_segment_s_name_is_refused(name):
    with pytest.raises(ValueError, match="not the name of a WAL segment"):
        parse_segment(name)


@pytest.mark.parametrize(
    ("position", "number"), [(0, 0), (SEGMENT_SIZE - 1, 0), (SEGMENT_SIZE, 1), (parse_lsn("1/0"), 256)]
)
def test_the_segment_that_holds_a_byte(position, number):
    assert number_of(position) == number
    assert lsn_text(position) == lsn_text(number * SEGMENT_SIZE + position % SEGMENT_SIZE)


# Histories --------------------------------------------------------------------------------------------------

TEXT = """\
1\t0/8000000\tno recovery target specified

# a comment
2\t0/A0771C0\tbefore transaction 760 at 2026-11-23 08:36:27.253816+00
  3 16/B374D848 at restore point "alpha beta"
"""
THREE = History(4, ((1, 0x8000000), (2, 0xA0771C0), (3, 0x16B374D848)))


def test_a_history_is_read_with_comments_and_blank_lines():
    assert parse_history(4, TEXT) == THREE
    assert parse_history(4, f"\n{TEXT}\n\n") == THREE


def test_the_first_timeline_has_no_parents():
    assert parse_history(1, "") == History(1, ())


@pytest.mark.parametrize("text", ["one\t0/8000000\n", "1\n", "1\t0-8000000\n", "1\t\tno target\n", "<html>\n"])
def test_what_is_no_history_is_refused(text):
    with pytest.raises(ValueError, match="history of timeline 2 cannot be read") as caught:
        parse_history(2, text)
    assert text.rstrip("\n") in str(caught.value)


def test_where_a_timeline_was_left():
    assert [THREE.end_of(timeline) for timeline in (1, 2, 3, 4)] == [0x8000000, 0xA0771C0, 0x16B374D848, None]
    with pytest.raises(KeyError):
        THREE.end_of(5)


@pytest.mark.parametrize(
    ("timeline", "position", "held"),
    [
        (1, 0, True),
        (1, 0x8000000, True),
        (1, 0x8000001, False),
        (2, 0xA0771C0, True),
        (2, 0xA0771C1, False),
        (4, 1 << 60, True),
        (5, 0, False),
    ],
)
def test_a_point_lies_on_a_history_up_to_where_its_timeline_was_left(timeline, position, held):
    assert THREE.holds(timeline, position) is held


@pytest.mark.parametrize(
    ("position", "timeline"), [(0, 1), (0x8000000, 1), (0x8000001, 2), (0xA0771C1, 3), (0x16B374D849, 4), (1 << 60, 4)]
)
def test_which_timeline_holds_a_position(position, timeline):
    assert THREE.timeline_at(position) == timeline


# Segments on a history --------------------------------------------------------------------------------------


def fork(number, offset=100):
    return number * SEGMENT_SIZE + offset


def found(have, history, first, last):
    """The segments that are there and those that lack, as `timeline.number`."""
    short = [
        ["{}.{}".format(*parse_segment(name)) for name in names] for names in segments_on(have, history, first, last)
    ]
    return " ".join(short[0]), " ".join(short[1])


ONE = History(1, ())
TWO = History(2, ((1, fork(3)),))


@pytest.mark.parametrize(
    ("have", "names", "lacking"),
    [
        ({1: range(1, 6)}, "1.1 1.2 1.3 1.4 1.5", ""),
        ({1: [5, 4, 2, 1]}, "1.1 1.2 1.4 1.5", "1.3"),
        ({1: [2, 3, 4]}, "1.2 1.3 1.4", "1.1 1.5"),
        ({}, "", "1.1 1.2 1.3 1.4 1.5"),
        ({2: range(1, 6)}, "", "1.1 1.2 1.3 1.4 1.5"),
    ],
)
def test_a_gap_is_named(have, names, lacking):
    assert found(have, ONE, 1, 5) == (names, lacking)


def test_a_gap_across_a_log_is_named():
    names, lacking = segments_on({1: [254, 257]}, ONE, 254, 257)
    assert names == ["0000000100000000000000FE", "000000010000000100000001"]
    assert lacking == ["0000000100000000000000FF", "000000010000000100000000"]


@pytest.mark.parametrize(
    ("have", "names", "lacking"),
    [
        # The child's first segment repeats what the parent had.
        ({1: [1, 2], 2: [3, 4, 5]}, "1.1 1.2 2.3 2.4 2.5", ""),
        ({1: [1, 2, 3], 2: [3, 4, 5]}, "1.1 1.2 2.3 2.4 2.5", ""),
        # The parent went on: what it wrote after the fork is not on this history.
        ({1: [1, 2, 3, 4, 5], 2: [3, 4]}, "1.1 1.2 2.3 2.4", "2.5"),
        ({1: [1, 2, 3, 4, 5], 2: [3, 5]}, "1.1 1.2 2.3 2.5", "2.4"),
        # A stranger's segments are no help.
        ({1: [1, 2], 2: [3, 5], 3: [3, 4, 5]}, "1.1 1.2 2.3 2.5", "2.4"),
        ({1: [1], 2: [2, 3, 4, 5]}, "1.1 2.3 2.4 2.5", "1.2"),
        ({1: [1, 2], 2: [4, 5]}, "1.1 1.2 2.4 2.5", "2.3"),
    ],
)
def test_a_fork_is_followed(have, names, lacking):
    assert found(have, TWO, 1, 5) == (names, lacking)


def test_up_to_the_fork_the_parent_s_copy_is_enough():
    assert found({1: [1, 2, 3, 4]}, TWO, 1, 3) == ("1.1 1.2 1.3", "")


def test_beyond_the_fork_the_parent_s_copy_is_not_enough():
    """It holds what the parent wrote after the fork: recovery would stop there."""
    assert found({1: [1, 2, 3, 4], 2: [4, 5]}, TWO, 1, 5) == ("1.1 1.2 2.4 2.5", "2.3")


@pytest.mark.parametrize(
    ("have", "names", "lacking"),
    [
        ({1: [1, 2], 2: [3, 4]}, "1.1 1.2 2.3 2.4", ""),
        ({1: [1, 2, 3, 4], 2: [3, 4]}, "1.1 1.2 2.3 2.4", ""),
        ({1: [1], 2: [2, 3, 4]}, "1.1 2.3 2.4", "1.2"),
    ],
)
def test_a_fork_between_two_segments_is_followed(have, names, lacking):
    assert found(have, History(2, ((1, fork(3, 0)),)), 1, 4) == (names, lacking)


NESTED = History(4, ((1, fork(3)), (2, fork(5)), (3, fork(5, 200))))


@pytest.mark.parametrize(
    ("have", "names", "lacking"),
    [
        ({1: [1, 2], 2: [3, 4], 4: [5, 6, 7]}, "1.1 1.2 2.3 2.4 4.5 4.6 4.7", ""),
        ({1: range(1, 9), 2: range(3, 9), 3: range(5, 9), 4: [5, 6, 7]}, "1.1 1.2 2.3 2.4 4.5 4.6 4.7", ""),
        ({1: [1, 2, 4], 2: [3], 4: [5, 6, 7]}, "1.1 1.2 2.3 4.5 4.6 4.7", "2.4"),
        ({1: [1, 2], 2: [3, 4], 3: [5, 6, 7], 4: [5, 7]}, "1.1 1.2 2.3 2.4 4.5 4.7", "4.6"),
    ],
)
def test_nested_forks_are_followed(have, names, lacking):
    assert found(have, NESTED, 1, 7) == (names, lacking)


def test_two_forks_in_one_segment_up_to_which_a_copy_of_either_is_enough():
    for holder in (2, 3, 4):
        have = {1: [1, 2], 2: [3, 4]}
        have[holder] = [*have.get(holder, []), 5]
        assert found(have, NESTED, 1, 5) == (f"1.1 1.2 2.3 2.4 {holder}.5", "")


@pytest.mark.parametrize(
    ("first", "last", "parents", "names"),
    [
        ("000000010000000000000008", "00000001000000000000000A", [], ["1 8", "1 9", "1 A"]),
        ("000000010000000000000008", "000000020000000000000009", [0x9000028], ["1 8", "2 9"]),
        ("000000010000000000000008", "000000030000000000000009", [0x8000050, 0x9000028], ["2 8", "3 9"]),
        # A timeline that was left in its first segment.
        ("000000010000000000000008", "000000030000000000000009", [0x9000028, 0x9000050], ["1 8", "3 9"]),
        ("0000000100000000000000FF", "000000010000000100000000", [], ["1 FF", "1 100"]),
    ],
)
def test_the_segments_that_lead_along_a_history(first, last, parents, names):
    history = History(len(parents) + 1, tuple(enumerate(parents, 1)))
    wanted = [(int(timeline, 16), int(number, 16)) for timeline, number in map(str.split, names)]
    found = names_on(history, parse_segment(first)[1], parse_segment(last)[1] + 1)
    assert [parse_segment(name) for name in found] == wanted
