"""One writer by itself, for the tests and the benchmarks: what it takes for acknowledged is what the drills do."""

from __future__ import annotations

import itertools
import time

from pgha.drills import ledger
from pgha.drills.clients import Writer, make_table, read_table
from pgha.drills.ledger import Verdict, Write
from pgha.errors import ToolFailed


class Recorder:
    """Writes numbers to a table of its own, from `with` to its end."""

    def __init__(self, conninfo: str, table: str, pause: float = 0.0, connect_pause: float = 0.02) -> None:
        self._conninfo, self._table = conninfo, table
        started = time.monotonic()
        self._writer = Writer(conninfo, lambda: time.monotonic() - started, itertools.count(1), {},
                              pause, connect_pause, table)  # fmt: skip

    def __enter__(self) -> Recorder:
        """Raises ToolFailed when the cluster takes no table."""
        make_table(self._conninfo, self._table)
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.end()
        self._writer.join(60)
        if self._writer.is_alive() or self._writer.failure is not None:
            raise ToolFailed(f"A client did not end well: {self._writer.failure!r}")

    @property
    def failures(self) -> int:
        """How often its connection broke or could not be made."""
        return self._writer.failures

    @property
    def writes(self) -> list[Write]:
        """Every write so far."""
        return list(self._writer.writes)

    @property
    def acknowledged(self) -> list[float]:
        """When each acknowledgement so far came, in seconds since it was made."""
        return ledger.acknowledged_at(self.writes)

    def longest_gap(self) -> float:
        """Seconds between two acknowledgements, at most."""
        moments = self.acknowledged
        return ledger.longest_gap(moments, moments[0], moments[-1]).seconds

    def verdict(self) -> Verdict:
        """Its writes against the rows that are there now. Raises ToolFailed when nobody answers."""
        return ledger.check(self.writes, read_table(self._conninfo, self._table))
