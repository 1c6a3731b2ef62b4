"""The statistics of a Postgres, as a bundle for a colleague has them."""

from __future__ import annotations

import json

VIEWS = """\
select format('select %L || e''\\t'' || coalesce(json_agg(to_json(t)), ''[]'')::text from pg_catalog.%I t',
viewname, viewname)
from pg_catalog.pg_views where schemaname = 'pg_catalog'
and (viewname ~ '^pg_stat_' and viewname !~ '_(all|sys|xact)_'
or viewname in ('pg_replication_slots', 'pg_prepared_xacts', 'pg_locks', 'pg_file_settings', 'pg_hba_file_rules'))
order by viewname \\gexec
select 'pg_settings' || e'\\t' || json_agg(json_build_object('name', name, 'setting', setting, 'unit', unit,
'source', source, 'pending_restart', pending_restart)) from pg_settings where source <> 'default';
"""
"""Statements for psql: every view that the server has, a name and its rows as JSON on a line each. No view of what
columns hold (`pg_stats`)."""


def parse_views(text: str) -> dict[str, str]:
    """View -> its rows as JSON, from the answer to `VIEWS`; a line that is none is left out."""
    found = {}
    for line in text.splitlines():
        name, tab, rows = line.partition("\t")
        try:
            found[name] = json.dumps(json.loads(rows), indent=1) if tab else ""
        except ValueError:
            continue
    return {name: rows for name, rows in found.items() if rows}
