"""The clients of a drill: writers, readers, and a probe of each member. Threads with libpq connections (psycopg)."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pgha.drills.ledger import ACKNOWLEDGED, REFUSED, UNKNOWN, Read, Write
from pgha.errors import NotReady, ToolFailed
from pgha.waiting import wait_until

if TYPE_CHECKING:
    import psycopg

TABLE = "pgha_drill"

PATIENCE = 5.0
"""Seconds a client waits for the answer to a statement; then it hangs up and connects anew. Without such a limit,
which every driver has as a socket or statement timeout, a client of a frozen server would wait for good."""

WRITERS, READERS = 2, 2
WRITE_PAUSE, READ_PAUSE, PROBE_PAUSE, CONNECT_PAUSE = 0.01, 0.05, 0.25, 0.2
"""Seconds between two writes of a client, two reads, two probes of a member, two attempts to connect. Each attempt asks
every member and costs each a SCRAM handshake: a shorter pause slows the promotion it waits for."""

IN_DOUBT = {"57P01", "57P02", "40003"}
"""Errors that may come after the commit was written (PostgreSQL appendix A): admin_shutdown and crash_shutdown end a
session that waits for its standbys; statement_completion_unknown says so itself."""


def require_client() -> None:
    """Raises Missing when this Python has no psycopg."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise NotReady(f"Drills need a PostgreSQL client ({error})", "pip install -e '.[drill]'") from None


class _Client(threading.Thread):
    """Connects, works in rounds, and connects again when the connection ends."""

    def __init__(self, conninfo: str, clock: Callable[[], float], pause: float) -> None:
        super().__init__(daemon=True)
        self._conninfo, self._clock, self._pause = conninfo, clock, pause
        self._ended = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._busy_since: float | None = None
        self.failure: BaseException | None = None

    def end(self) -> None:
        self._ended.set()

    def hang_up(self, patience: float) -> None:
        """Close the socket under a statement that has had no answer for so long."""
        since, connection = self._busy_since, self._connection
        if since is None or connection is None or self._clock() - since < patience:
            return
        with suppress(Exception), socket.socket(fileno=_duplicate(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        import psycopg

        try:
            while not self._ended.is_set():
                try:
                    if self._connection is None:
                        self._connection = psycopg.connect(self._conninfo, autocommit=True)
                        self._opened(self._connection)
                    self._busy_since = self._clock()
                    self._round(self._connection)
                    self._busy_since = None
                    self._ended.wait(self._pause)
                except psycopg.Error:
                    self._busy_since = None
                    self._close()
                    self._ended.wait(CONNECT_PAUSE)
        except BaseException as error:
            self.failure = error
        finally:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()
        self._lost()

    def _opened(self, connection: psycopg.Connection[Any]) -> None:
        """A connection is there."""

    def _lost(self) -> None:
        """The connection is gone, or there was none."""

    def _round(self, connection: psycopg.Connection[Any]) -> None:
        raise NotImplementedError


def _duplicate(descriptor: int) -> int:
    """A descriptor of our own for the same socket: closing it does not close libpq's."""
    import os

    return os.dup(descriptor)


class Writer(_Client):
    """Writes numbers no other client writes, and remembers what the server said to each."""

    def __init__(
        self, conninfo: str, clock: Callable[[], float], numbers: itertools.count[int], members: Mapping[int, str],
        pause: float = WRITE_PAUSE,
    ) -> None:  # fmt: skip
        super().__init__(conninfo, clock, pause)
        self._numbers, self._members = numbers, members
        self._warned = False
        self.writes: list[Write] = []

    def _opened(self, connection: psycopg.Connection[Any]) -> None:
        connection.add_notice_handler(self._notice)

    def _notice(self, _: object) -> None:
        # A commit that stopped waiting for its standbys succeeds with nothing but a warning.
        self._warned = True

    def _round(self, connection: psycopg.Connection[Any]) -> None:
        import psycopg

        number, began, self._warned = next(self._numbers), self._clock(), False
        server = self._members.get(connection.info.port, str(connection.info.port))
        try:
            cursor = connection.execute(
                f"insert into {TABLE} values (%s) returning pg_walfile_name(pg_current_wal_lsn())", (number,)
            )
            row = cursor.fetchone()
        except psycopg.Error as error:
            refused = error.sqlstate is not None and error.sqlstate not in IN_DOUBT
            outcome, reason = REFUSED if refused else UNKNOWN, str(error).strip().split("\n")[0]
            self.writes.append(Write(number, began, self._clock(), outcome, server, 0, reason))
            raise
        # A WAL file's name begins with its timeline (pg_walfile_name).
        timeline = int(row[0][:8], 16) if row else 0
        outcome = UNKNOWN if self._warned else ACKNOWLEDGED
        self.writes.append(Write(number, began, self._clock(), outcome, server, timeline))


class Reader(_Client):
    """Reads on a random standby."""

    def __init__(self, conninfo: str, clock: Callable[[], float], members: Mapping[int, str]) -> None:
        super().__init__(conninfo, clock, READ_PAUSE)
        self._members = members
        self.reads: list[Read] = []

    def _round(self, connection: psycopg.Connection[Any]) -> None:
        began = self._clock()
        row = connection.execute(f"select coalesce(max(n), 0) from {TABLE}").fetchone()
        server = self._members.get(connection.info.port, str(connection.info.port))
        self.reads.append(Read(began, self._clock(), server, row[0] if row else 0))


class Probe(Writer):
    """Asks one member, whatever it is, whether it leads, and writes there when it says so; remembers each change.

    The writers stay with the leader they found. A second one would accept writes unseen without these.
    """

    def __init__(
        self, member: str, conninfo: str, clock: Callable[[], float], numbers: itertools.count[int],
        members: Mapping[int, str],
    ) -> None:  # fmt: skip
        super().__init__(conninfo, clock, numbers, members, PROBE_PAUSE)
        self.member = member
        self.roles: list[tuple[float, str]] = []
        """(since when, `leader`: it accepted a write, `replica`, or nothing when it did not answer)"""

    def _round(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute("select pg_is_in_recovery()").fetchone()
        if row and row[0]:
            self._note("replica")
            return
        super()._round(connection)
        self._note("leader")

    def _lost(self) -> None:
        self._note("")

    def _note(self, role: str) -> None:
        if not self.roles or self.roles[-1][1] != role:
            self.roles.append((self._clock(), role))


class Traffic:
    """All clients of one drill, from `with` to its end. Its clock begins at 0 seconds."""

    def __init__(
        self, conninfo: str, standby_conninfo: str, members: Mapping[str, str], ports: Mapping[int, str]
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
    def _clients(self) -> list[_Client]:
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
        remove_table(self._conninfo)
        with _leader(self._conninfo) as connection:
            # No unique index: a row that is there twice has to be seen, not refused.
            connection.execute(f"create table {TABLE} (n bigint)")
            connection.execute(f"create index on {TABLE} (n)")
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

    def rows(self) -> list[int]:
        """What the database holds now, asked from the leader. Raises ToolFailed when nobody answers."""
        with _leader(self._conninfo) as connection:
            # A corrupt index must not hide a row.
            connection.execute(
                "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off"
            )
            return [row[0] for row in connection.execute(f"select n from {TABLE}")]


def _in_order(writers: Iterable[Writer]) -> list[Write]:
    return sorted((write for writer in writers for write in list(writer.writes)), key=lambda write: write.number)


@contextmanager
def _leader(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own. Raises ToolFailed for what the server or libpq says."""
    import psycopg

    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise ToolFailed("The leader did not do what the drill asked", str(error), "inv status") from None


def remove_table(conninfo: str) -> None:
    """Leave nothing behind. Raises ToolFailed."""
    with _leader(conninfo) as connection:
        connection.execute(f"drop table if exists {TABLE}")
