"""Who works in a Postgres that is about to be restarted."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pgha.errors import ToolFailed


@dataclass(frozen=True)
class Session:
    """A session that a restart would break in the middle of something long."""

    pid: int
    user: str
    database: str
    seconds: int
    """how long its transaction has been open, or its backup has been running"""
    backup: bool = False
    """a backup of pgBackRest, which calls its sessions so"""

    def __str__(self) -> str:
        if self.backup:
            return f"a backup has been running for {self.seconds} s (pid {self.pid})"
        return f"a transaction of {self.user} in {self.database} has been open for {self.seconds} s (pid {self.pid})"


def long_sessions(seconds: int) -> str:
    """SQL for clients whose transaction is open for longer than that, in use or idle, and for backups of any age."""
    return (
        "select coalesce(json_agg(json_build_object('pid', pid, 'user', coalesce(usename, ''),"
        " 'database', coalesce(datname, ''), 'seconds', floor(extract(epoch from clock_timestamp() - since))::int,"
        " 'backup', backup) order by since), '[]') from (select pid, usename, datname,"
        " coalesce(xact_start, backend_start) since, xact_start, application_name like 'pgBackRest [backup%' backup"
        " from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) sessions"
        f" where backup or xact_start < clock_timestamp() - interval '{seconds} s'"
    )


def parse_sessions(text: str) -> tuple[Session, ...]:
    """The answer to `long_sessions`, the oldest first. Raises ToolFailed."""
    try:
        return tuple(Session(**entry) for entry in json.loads(text))
    except (ValueError, TypeError) as error:
        raise ToolFailed("psql did not answer the question about transactions", text) from error
