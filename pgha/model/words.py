"""Sizes and times in words."""

from __future__ import annotations

from datetime import UTC, datetime


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
