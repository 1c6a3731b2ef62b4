"""WAL: positions, segment names and timeline histories, as PostgreSQL writes them.

The scripts of the Patroni image and pgha import this one file; pgha/tools/wal.py is a link to it. timelines.sh repeats
what the archive commands need of it: a shell asks before Python has started.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SEGMENT_SIZE = 16 << 20
"""Bytes; initdb's default, which this project's clusters are made with."""

PER_LOG = (1 << 32) // SEGMENT_SIZE

NAME = re.compile(r"[0-9A-F]{24}")


def parse_lsn(text: str) -> int:
    """`16/B374D848` as bytes. Raises ValueError."""
    found = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not an LSN")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def lsn_text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_name(timeline: int, number: int) -> str:
    return f"{timeline:08X}{number // PER_LOG:08X}{number % PER_LOG:08X}"


def parse_segment(name: str) -> tuple[int, int]:
    """Timeline and number of a segment's file name. Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name} is not the name of a WAL segment")
    return int(name[:8], 16), int(name[8:16], 16) * PER_LOG + int(name[16:], 16)


def name_some(segments: Sequence[str]) -> str:
    """The first of these segments, and how many more there are."""
    more = f" and {len(segments) - 1} more" if len(segments) > 1 else ""
    return f"{segments[0]}{more}"


def number_of(position: int) -> int:
    """The segment that holds this byte of WAL."""
    return position // SEGMENT_SIZE


@dataclass(frozen=True)
class History:
    """The timelines that lead to one, oldest first, each with the position where it was left; the last has none."""

    timeline: int
    parents: tuple[tuple[int, int], ...]

    def end_of(self, timeline: int) -> int | None:
        """Where this timeline was left for the next; None for the last one. Raises KeyError for a stranger."""
        if timeline == self.timeline:
            return None
        return dict(self.parents)[timeline]

    def holds(self, timeline: int, position: int) -> bool:
        """Whether this point of that timeline lies on this history."""
        try:
            end = self.end_of(timeline)
        except KeyError:
            return False
        return end is None or position <= end

    def timeline_at(self, position: int) -> int:
        """The timeline that holds this position on this history."""
        return next((timeline for timeline, end in self.parents if position <= end), self.timeline)


def parse_history(timeline: int, text: str) -> History:
    """A `0000000N.history` file. Raises ValueError when it is none."""
    parents = []
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            parent, position = line.split()[:2]
            parents.append((int(parent), parse_lsn(position)))
        except ValueError:
            raise ValueError(f"The history of timeline {timeline} cannot be read: {line}") from None
    return History(timeline, tuple(parents))


def names_on(history: History, first: int, stop: int) -> list[str]:
    """The segments from number `first` to before `stop` along this history, each of the newest timeline in it."""
    return [segment_name(_covering(history, number)[0], number) for number in range(first, stop)]


def segments_on(
    have: Mapping[int, Iterable[int]], history: History, first: int, last: int
) -> tuple[list[str], list[str]]:
    """The archive's segments from number `first` to `last` on this history, and the names of those it lacks.

    Where a timeline was left, its last segment may exist on the parent, on the child, or on both: the child's
    first segment repeats what the parent had. As the last one needed, either will do.
    """
    held = {timeline: set(numbers) for timeline, numbers in have.items()}
    names, lacking = [], []
    for number in range(first, last + 1):
        covering = _covering(history, number)
        # Whoever goes on beyond a fork needs the child's copy: the parent's ends otherwise.
        usable = covering if number == last else covering[:1]
        holder = next((timeline for timeline in usable if number in held.get(timeline, ())), None)
        if holder is None:
            lacking.append(segment_name(covering[0], number))
        else:
            names.append(segment_name(holder, number))
    return names, lacking


def _covering(history: History, number: int) -> list[int]:
    """The timelines whose segment of that number belongs to the history, the newest first."""
    found, begins = [], 0
    for timeline, end in history.parents:
        if begins <= number <= number_of(end):
            found.append(timeline)
        begins = number_of(end)
    if number >= begins:
        found.append(history.timeline)
    return found[::-1]
