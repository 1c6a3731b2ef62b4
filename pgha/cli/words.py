"""Sizes, times and results in words."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from pgha.tools import cron


def lag_text(lag: int | None) -> str:
    """Bytes in words; nothing for the leader."""
    return "" if lag is None else size_text(lag)


def size_text(size: int) -> str:
    """Bytes with a binary unit, as pgBackRest writes them."""
    value = float(size)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}GB"


def time_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(seconds))


def result_text(result: cron.Result | None) -> str:
    """How a scheduled job ended."""
    if result is None:
        return "has not run yet"
    ended = f"{datetime.fromtimestamp(result.ended, UTC):%Y-%m-%d %H:%M:%S}"
    word = "ok" if result.exit_code == 0 else f"FAILED with exit code {result.exit_code}"
    return f"{word} at {ended}, {result.ended - result.started} s"
