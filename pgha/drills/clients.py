"""The clients of a drill, each a thread with a libpq connection (psycopg), and the table they write to."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pgha.drills.ledger import ACKNOWLEDGED, REFUSED, UNKNOWN, Read, Write
from pgha.errors import NotReady, ToolFailed

if TYPE_CHECKING:
    import psycopg

TABLE = "pgha_drill"

PATIENCE = 5.0
"""Seconds a client waits for the answer to a statement; then it hangs up and connects again. Without such a limit,
which every driver has as a socket or statement timeout, a client of a frozen server would wait for ever."""

WRITE_PAUSE, READ_PAUSE, PROBE_PAUSE, CONNECT_PAUSE = 0.01, 0.05, 0.25, 0.2
"""Seconds between two writes of a client, two reads, two probes of a member, two attempts to connect. Each attempt asks
every member and costs each a SCRAM handshake: a shorter pause slows the promotion it waits for."""

IN_DOUBT = {"57P01", "57P02", "40003"}
"""Errors that may come after the commit was written (PostgreSQL appendix A): admin_shutdown and crash_shutdown end a
session that waits for its standbys; statement_completion_unknown says so itself."""


def require_client(who: str = "Drills need") -> None:
    """Raises NotReady when this Python has no psycopg."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise NotReady(f"{who} a PostgreSQL client ({error})", "pip install -e '.[drill]'") from None


class Client(threading.Thread):
    """Connects, works in rounds, and connects again when the connection ends."""

    def __init__(
        self, conninfo: str, clock: Callable[[], float], pause: float, connect_pause: float = CONNECT_PAUSE
    ) -> None:
        super().__init__(daemon=True)
        self._conninfo, self._clock, self._pause, self._connect_pause = conninfo, clock, pause, connect_pause
        self._ended = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._busy_since: float | None = None
        self.failures = 0
        """How often a connection broke or could not be made."""
        self.failure: BaseException | None = None
        """A fault of its own, which ended it."""

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
                    self.failures += 1
                    self._close()
                    self._ended.wait(self._connect_pause)
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


def server_of(host: str, port: int, members: Mapping[str, int]) -> str:
    """Whose Postgres a connection leads to: with TLS the string has the member's name, else a published port tells."""
    if host in members:
        return host
    return next((name for name, published in members.items() if published == port), str(port))


class Writer(Client):
    """Writes numbers no other client writes, and remembers what the server said to each."""

    def __init__(
        self, conninfo: str, clock: Callable[[], float], numbers: itertools.count[int], members: Mapping[str, int],
        pause: float = WRITE_PAUSE, connect_pause: float = CONNECT_PAUSE, table: str = TABLE,
    ) -> None:  # fmt: skip
        super().__init__(conninfo, clock, pause, connect_pause)
        self._numbers, self._members, self._table = numbers, members, table
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
        server = server_of(connection.info.host, connection.info.port, self._members)
        try:
            cursor = connection.execute(
                f"insert into {self._table} values (%s) returning pg_walfile_name(pg_current_wal_lsn())", (number,)
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


class Reader(Client):
    """Reads on a random standby."""

    def __init__(self, conninfo: str, clock: Callable[[], float], members: Mapping[str, int]) -> None:
        super().__init__(conninfo, clock, READ_PAUSE)
        self._members = members
        self.reads: list[Read] = []

    def _round(self, connection: psycopg.Connection[Any]) -> None:
        began = self._clock()
        row = connection.execute(f"select coalesce(max(n), 0) from {TABLE}").fetchone()
        server = server_of(connection.info.host, connection.info.port, self._members)
        self.reads.append(Read(began, self._clock(), server, row[0] if row else 0))


class Probe(Writer):
    """Asks one member, whatever it is, whether it leads, and writes there when it says so; remembers each change.

    The writers stay with the leader they found. A second one would accept writes unseen without these.
    """

    def __init__(
        self, member: str, conninfo: str, clock: Callable[[], float], numbers: itertools.count[int],
        members: Mapping[str, int],
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


@contextmanager
def _leader(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own. Raises ToolFailed for what the server or libpq says."""
    import psycopg

    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise ToolFailed("The leader did not do what the drill asked", str(error), "inv status") from None


def make_table(conninfo: str, table: str = TABLE) -> None:
    """An empty table for the clients' numbers. Raises ToolFailed."""
    remove_table(conninfo, table)
    with _leader(conninfo) as connection:
        # No unique index: a row that is there twice has to be seen, not refused.
        connection.execute(f"create table {table} (n bigint)")
        connection.execute(f"create index on {table} (n)")


def read_table(conninfo: str, table: str = TABLE) -> list[int]:
    """The numbers that are there now, asked from the leader. Raises ToolFailed when nobody answers."""
    with _leader(conninfo) as connection:
        # A corrupt index must not hide a row.
        connection.execute("set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off")
        return [row[0] for row in connection.execute(f"select n from {table}")]


def remove_table(conninfo: str, table: str = TABLE) -> None:
    """Leave nothing behind. Raises ToolFailed."""
    with _leader(conninfo) as connection:
        connection.execute(f"drop table if exists {table}")
