"""A client that writes numbered rows, reconnects when it must, and remembers what was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time

import psycopg

PAUSE = 0.02
"""Seconds between two attempts to connect."""


class Writer:
    """Writes from `with` to its end, through the cluster's own connection string."""

    def __init__(self, dsn: str, table: str = "ledger") -> None:
        self._dsn, self._table = dsn, table
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: list[tuple[float, int]] = []

    def __enter__(self) -> Writer:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"drop table if exists {self._table}")
            connection.execute(f"create table {self._table} (n bigint primary key)")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def longest_gap(self) -> float:
        """Seconds between two acknowledged writes, at most."""
        times = [moment for moment, _ in self.acknowledged]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def lost(self) -> int:
        """Acknowledged rows that are not in the database."""
        with psycopg.connect(self._dsn) as connection:
            present = {row[0] for row in connection.execute(f"select n from {self._table}")}
        return sum(1 for _, n in self.acknowledged if n not in present)

    def _run(self) -> None:
        n, connection = 0, None
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = psycopg.connect(self._dsn, autocommit=True)
                n += 1
                connection.execute(f"insert into {self._table} values (%s)", (n,))
                self.acknowledged.append((time.monotonic(), n))
            except psycopg.Error:
                if connection is not None:
                    connection.close()
                connection = None
                self._stop.wait(PAUSE)
