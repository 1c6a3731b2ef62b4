"""Waiting is one function."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from pgha.errors import TimedOut, ToolFailed, Unreachable

T = TypeVar("T")


def wait_until(
    look: Callable[[], T],
    holds: Callable[[T], bool],
    what: str,
    *,
    timeout: float,
    interval: float = 0.5,
    explain: Callable[[T], str] | None = None,
    hint: str = "",
) -> T:
    """Look every `interval` seconds until it holds, for at most `timeout` seconds; returns the last look.

    A look that finds a host away or a tool without an answer means 'not yet'. Raises TimedOut with what
    was waited for and, from `explain`, what was seen instead.
    """

    def once() -> T:
        try:
            return look()
        except (Unreachable, ToolFailed, TimedOut) as error:
            seen.clear()
            seen.append(error.message)
            raise tenacity.TryAgain from None

    def judge(result: T) -> bool:
        seen.clear()
        if holds(result):
            return False
        seen.append(explain(result) if explain else "not yet")
        return True

    seen: list[str] = []
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(judge) | tenacity.retry_if_exception_type(tenacity.TryAgain),
        stop=tenacity.stop_after_delay(timeout),
        wait=tenacity.wait_fixed(interval),
    )
    try:
        return retrying(once)
    except tenacity.RetryError:
        last = seen[0] if seen else "no answer"
        raise TimedOut(f"{what}: not within {timeout:g} s ({last})", hint) from None


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started
