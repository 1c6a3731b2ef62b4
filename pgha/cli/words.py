"""Sizes, times and results in words."""

from __future__ import annotations

from pgha.model.words import size_text, time_of, time_text
from pgha.tools import cron, wal


def lags_text(lag: int | None, replay_lag: int | None) -> str:
    """Bytes not received; and not replayed, where that is a segment more; nothing for the leader."""
    if lag is None:
        return ""
    behind = (replay_lag or 0) - lag > wal.SEGMENT_SIZE
    return f"{size_text(lag)}, replay {size_text(replay_lag or 0)}" if behind else size_text(lag)


def result_text(result: cron.Result | None) -> str:
    """How a scheduled job ended."""
    if result is None:
        return "has not run yet"
    word = "ok" if result.exit_code == 0 else f"FAILED with exit code {result.exit_code}"
    return f"{word} at {time_text(time_of(result.ended))}, {result.ended - result.started} s"
