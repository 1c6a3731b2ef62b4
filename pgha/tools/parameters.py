"""Postgres parameters: is a value one, what is in force, and which libraries are there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.tools import postgres
from pgha.tools.command import Command

LIBRARIES = ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries")


def checked(data: str, name: str, value: str) -> Command:
    """What Postgres itself makes of a value, as `pg_settings.setting` would show it; fails with its reason for one that
    is none. It starts no server."""
    return Command(("postgres", "-D", data, "-C", name, "-c", f"{name}={value}"), timeout=15)


@dataclass(frozen=True)
class Parameter:
    """A parameter as a running server has it."""

    setting: str
    """in its unit"""
    shown: str
    context: str
    """who may set it: `postmaster` means a restart"""
    source: str
    """where the value is from"""


def in_force(names: Sequence[str]) -> Command:
    """These parameters as one Postgres has them; an extension's that is not loaded it does not know."""
    listed = ", ".join(_literal(name.lower()) for name in names)
    return postgres.query(
        "select coalesce(json_object_agg(lower(name), json_build_array(setting, current_setting(name), context, source)"
        f"), '{{}}') from pg_settings where lower(name) in ({listed})"
    )


def parse_in_force(text: str) -> dict[str, Parameter]:
    """The answer to `in_force`. Raises ToolFailed when it is something else."""
    try:
        return {name: Parameter(*(str(part) for part in parts)) for name, parts in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ToolFailed("psql did not tell the parameters", text) from error


def missing_libraries(names: Sequence[str]) -> Command:
    """Those of these libraries that this host has not, each on a line."""
    listed = ", ".join(_literal(name.strip().strip('"')) for name in names)
    where = "(select setting from pg_config where name = 'PKGLIBDIR')"
    file = f"regexp_replace(replace(case when name ~ '/' then name else {where} || '/' || name end, '$libdir', {where})"
    return postgres.query(
        f"select name from unnest(array[{listed}]) name"
        f" where (pg_stat_file({file}, '([.]so)?$', '.so'), true)).size is null"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
