"""All clients of a drill together: writers, readers, and a probe of each member."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Mapping

from pgha.drills.clients import (
    PATIENCE,
    Client,
    Probe,
    Reader,
    Writer,
    make_table,
    read_table,
    remove_table,
    require_client,
)
from pgha.drills.ledger import ACKNOWLEDGED, Read, Write
from pgha.errors import ToolFailed
from pgha.waiting import wait_until

__all__ = ["Traffic", "remove_table", "require_client"]

WRITERS, READERS = 2, 2


class Traffic:
    """All clients of one drill, from `with` to its end. Its clock begins at 0 seconds."""

    def __init__(
        self, conninfo: str, standby_conninfo: str, members: Mapping[str, str], ports: Mapping[str, int]
    ) -> None:
        """`conninfo` and `standby_conninfo` find the cluster, `members` names each member's own; `ports` tells whose
        a published port is."""
        self._conninfo = conninfo
        self._started = time.monotonic()
        self.began_at = time.time()
        numbers = itertools.count(1)
        self._writers = [Writer(conninfo, self.clock, numbers, ports) for _ in range(WRITERS)]
        # A single node has no standby to read from.
        self._readers = [Reader(standby_conninfo, self.clock, ports) for _ in range(READERS if len(ports) > 1 else 0)]
        self._probes = [Probe(member, own, self.clock, numbers, ports) for member, own in members.items()]
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._hang_up, daemon=True)

    def clock(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._started

    @property
    def _clients(self) -> list[Client]:
        return [*self._writers, *self._readers, *self._probes]

    @property
    def writes(self) -> list[Write]:
        """Every write so far of the clients, in the order of their numbers."""
        return _in_order(self._writers)

    @property
    def probes(self) -> list[Write]:
        """Every write so far that was sent to one member, to see whether it accepts any."""
        return _in_order(self._probes)

    @property
    def reads(self) -> list[Read]:
        return sorted((r for reader in self._readers for r in list(reader.reads)), key=lambda r: r.ended)

    @property
    def roles(self) -> dict[str, list[tuple[float, str]]]:
        """Member -> (since when, role), each change."""
        return {probe.member: list(probe.roles) for probe in self._probes}

    def __enter__(self) -> Traffic:
        """Raises ToolFailed when the cluster takes no table."""
        make_table(self._conninfo)
        for client in self._clients:
            client.start()
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.end()
        for client in self._clients:
            client.join(4 * PATIENCE)
        self._over.set()
        self._watch.join()

    def _hang_up(self) -> None:
        while not self._over.wait(0.1):
            for client in self._clients:
                client.hang_up(PATIENCE)

    def go_on(self, seconds: float) -> None:
        """Let the clients work. Raises ToolFailed when one of them ended by a fault of its own."""
        self._over.wait(seconds)
        for client in self._clients:
            if client.failure is not None:
                raise ToolFailed(f"A client of the drill failed: {client.failure!r}")

    def wait_for_service(self, since: float, other_than: str, timeout: float) -> float:
        """Wait until writes that began after a moment are acknowledged, and not by this member; returns when.

        Raises TimedOut.
        """

        def served() -> list[Write]:
            recent = (
                itertools.takewhile(lambda w: w.ended > since, reversed(writer.writes)) for writer in self._writers
            )
            return [
                w
                for writes in recent
                for w in writes
                if w.outcome == ACKNOWLEDGED and w.began > since and w.server != other_than
            ]

        found = wait_until(served, lambda writes: len(writes) >= 20, "Writes are acknowledged", timeout=timeout,
                           interval=0.1, explain=lambda writes: f"{len(writes)} were")  # fmt: skip
        return min(write.ended for write in found)

    def rows(self, conninfo: str = "") -> list[int]:
        """What the database holds now, asked from the leader, with another string where that has changed. Raises
        ToolFailed when nobody answers."""
        return read_table(conninfo or self._conninfo)


def _in_order(writers: Iterable[Writer]) -> list[Write]:
    return sorted((write for writer in writers for write in list(writer.writes)), key=lambda write: write.number)
