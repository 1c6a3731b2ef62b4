"""PostgreSQL: psql on a node, connection strings, and the few questions asked in SQL."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.tools.command import Command

PORT = 5432


def data_dir(major: int) -> str:
    """A directory of the volume, not its mount point: Patroni must be able to move and remove it."""
    return f"/pgdata/{major}"


def query(sql: str, timeout: float = 10) -> Command:
    """SQL on the node's own Postgres over its socket, as postgres, without a password."""
    return Command(("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql), timeout=timeout)


@dataclass(frozen=True)
class Archiver:
    """pg_stat_archiver and what is configured."""

    command: str
    last_archived: str | None
    failing: bool
    """The newest attempt failed."""
    last_failed: str | None


ARCHIVER = (
    "select json_build_object('command', current_setting('archive_command'),"
    " 'last_archived', last_archived_wal, 'last_failed', last_failed_wal,"
    " 'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false))"
    " from pg_stat_archiver"
)


def parse_archiver(text: str) -> Archiver:
    """The answer to `ARCHIVER`."""
    try:
        document: dict[str, Any] = json.loads(text)
        return Archiver(document["command"], document["last_archived"], document["failing"], document["last_failed"])
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("psql did not answer the question about archiving", text) from error


def conninfo(**parameters: str | int) -> str:
    """A libpq connection string, quoted as its documentation asks (34.1.1, Connection Strings)."""
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in parameters.items())


def _quoted(value: str) -> str:
    if value and not any(char.isspace() or char in "'\\" for char in value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def cluster_conninfo(targets: list[tuple[str, int]], standby: bool, passfile: str) -> str:
    """One string for the whole cluster: every node's address, and libpq finds the right one.

    A standby is chosen at random each time (`load_balance_hosts`, libpq 16 or newer); the leader's string
    stays readable for older clients. Two seconds bound the wait for a node that does not answer.
    """
    parameters: dict[str, str | int] = {
        "host": ",".join(host for host, _ in targets),
        "port": ",".join(str(port) for _, port in targets),
        "user": "postgres",
        "dbname": "postgres",
        "passfile": passfile,
        "connect_timeout": 2,
        "target_session_attrs": "standby" if standby else "primary",
    }
    if standby:
        parameters["load_balance_hosts"] = "random"
    return conninfo(**parameters)
