"""Postgres' limits that are shared memory: how much of each is in use."""

from __future__ import annotations

import json

from pgha.errors import ToolFailed
from pgha.tools import postgres
from pgha.tools.command import Command

OWN = (
    "client backend", "walsender", "checkpointer", "background writer", "walwriter", "autovacuum launcher",
    "autovacuum worker", "archiver", "startup", "walreceiver", "walsummarizer", "slotsync worker", "io worker",
)  # fmt: skip
"""Processes that are no background workers."""

IN_USE = f"""
select json_build_object(
  'max_connections', (select count(*) from pg_stat_activity where backend_type = 'client backend'),
  'max_worker_processes',
    (select count(*) from pg_stat_activity where backend_type not in ({", ".join(f"'{name}'" for name in OWN)})),
  'max_wal_senders', (select count(*) from pg_stat_activity where backend_type = 'walsender'),
  'max_replication_slots', (select count(*) from pg_replication_slots),
  'logical_slots', (select count(*) from pg_replication_slots where slot_type = 'logical'),
  'max_prepared_transactions', (select count(*) from pg_prepared_xacts),
  'max_locks_per_transaction', (select ceil(count(*)::numeric
    / (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)) from pg_locks))
"""


def in_use() -> Command:
    """What one Postgres uses of each limit."""
    return postgres.query(" ".join(IN_USE.split()))


def parse_in_use(text: str) -> dict[str, int]:
    """The answer to `in_use`. Raises ToolFailed when it is something else."""
    try:
        return {str(name): int(count) for name, count in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ToolFailed("psql did not tell what is in use", text) from error
