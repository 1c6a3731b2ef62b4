"""Counts, sizes and times in words."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime


def counted(count: int, noun: str, one: str = "", many: str = "") -> str:
    """A count, its noun and the verb if there is one: 1 segment waits, 2 segments wait."""
    verb = one if count == 1 else many
    return f"{count} {noun}{'' if count == 1 else 's'}{verb and f' {verb}'}"


def named(names: Collection[str], one: str, many: str) -> str:
    """Names and their verb: etcd1 is, etcd1 and etcd2 are."""
    return f"{' and '.join(names)} {one if len(names) == 1 else many}"


def size_text(size: int) -> str:
    """Bytes with a binary unit, as pgBackRest writes them."""
    value = float(size)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}GB"


def time_of(seconds: float) -> datetime:
    """Seconds since 1970, as the tools and the engine count."""
    return datetime.fromtimestamp(seconds, UTC)


def json_time(when: datetime) -> str:
    """A time for programs, as RFC 3339 has it: 2026-11-23T08:30:00Z"""
    return time_text(when).replace(" ", "T")


def time_text(when: datetime, timespec: str = "") -> str:
    """A time for people, in UTC: whole seconds where they are whole, or as `datetime.isoformat` takes `timespec`."""
    spec = timespec or ("microseconds" if when.microsecond else "seconds")
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec=spec) + "Z"
