"""The drills' writer for the benchmarks: what was acknowledged, for how long nothing was, and what is lost."""

from __future__ import annotations

from pgha.drills.recorder import Recorder


class Writer(Recorder):
    """Writes without a pause from `with` to its end, through the cluster's own connection string."""

    def __init__(self, dsn: str, table: str = "ledger") -> None:
        super().__init__(dsn, table)

    def lost(self) -> int:
        """Acknowledged rows that are not in the database."""
        return len(self.verdict().lost)
