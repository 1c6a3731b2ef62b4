"""A client that writes while somebody watches: the drills' writer, on a table of its own, dropped at the end."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import TYPE_CHECKING, Any

from pgha.cluster.clients import Login, connection_string
from pgha.drills.clients import PATIENCE, Writer, require_client
from pgha.drills.ledger import acknowledged_at
from pgha.errors import PghaError
from pgha.project.project import Project

if TYPE_CHECKING:
    import psycopg

PREFIX = "pgha_watch_"

PAUSE, CONNECT_PAUSE = 0.05, 0.5
"""Seconds between two writes, and between two attempts to connect."""

LEFT_BEHIND = f"""
select c.relname from pg_class c
where starts_with(c.relname::text, '{PREFIX}') and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
and not exists (select from pg_stat_activity a where a.application_name = c.relname)
"""
"""Tables of probes that were killed: a probe that lives has a session with its table's name."""

DROP_OPTIONS = "-c lock_timeout=3s -c statement_timeout=5s -c synchronous_commit=local"
"""No standby is waited for: there may be none, and a drop that is lost with the leader is done by the next probe."""


class _Writer(Writer):
    def _opened(self, connection: psycopg.Connection[Any]) -> None:
        super()._opened(connection)
        for (table,) in connection.execute(LEFT_BEHIND).fetchall():
            connection.execute(f"drop table if exists public.{table}")
        connection.execute(f"create table if not exists {self._table} (n bigint)")


class Probe:
    """Writes a number every PAUSE seconds to whoever leads, and tells when each was acknowledged."""

    def __init__(self) -> None:
        """Raises NotReady when this Python has no psycopg."""
        require_client("--probe needs")
        self.table = f"public.{PREFIX}{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._conninfo = ""
        self._writer: _Writer | None = None

    def follow(self, project: Project) -> None:
        """Write to this project from now on. Raises NotRendered."""
        conninfo = connection_string(project, Login(), standby=False)
        if conninfo == self._conninfo:
            return
        self._hang_up()
        named = f"{conninfo} application_name={self.table.removeprefix('public.')}"
        members = project.ports["postgres"]
        self._conninfo = conninfo
        self._writer = _Writer(named, time.time, self._numbers, members, PAUSE, CONNECT_PAUSE, self.table)
        self._writer.start()

    def acknowledged(self) -> list[float]:
        """When each write was acknowledged since this was asked last, in seconds since 1970."""
        if self._writer is None:
            return []
        self._writer.hang_up(PATIENCE)
        writes = self._writer.writes
        new = writes[:]
        del writes[: len(new)]
        return acknowledged_at(new)

    def end(self) -> str:
        """End the client and drop its table; why that was not possible, or nothing."""
        import psycopg

        if self._writer is None:
            return ""
        self._hang_up()
        try:
            with psycopg.connect(self._conninfo, autocommit=True, options=DROP_OPTIONS) as connection:
                connection.execute(f"drop table if exists {self.table}")
        except (psycopg.Error, PghaError) as error:
            return f"the table {self.table} is left ({str(error).splitlines()[0]}): the next --probe drops it"
        return ""

    def _hang_up(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.end()
        writer.join(1)
        writer.hang_up(0)
        writer.join(2 * PATIENCE)
