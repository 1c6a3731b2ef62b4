"""Databases and the roles that own them: what is there, and the statements that make one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.tools import postgres
from pgha.tools.command import Command

STRONG = (
    "p.rolsuper or p.rolreplication or p.rolcreaterole or p.rolbypassrls"
    " or p.rolname in ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')"
)
"""Roles whose members can make themselves superusers, or read what is not theirs."""

THERE = (
    "select json_build_object('databases', (select coalesce(json_agg(json_build_object("
    "'name', datname, 'owner', pg_get_userbyid(datdba), 'size', pg_database_size(d.oid),"
    " 'clients', (select count(*) from pg_stat_activity a where a.datid = d.oid and backend_type = 'client backend'),"
    " 'open', has_database_privilege('public', d.oid, 'connect')) order by datname), '[]')"
    " from pg_database d where datallowconn and not datistemplate),"
    " 'roles', (select coalesce(json_agg(json_build_object('name', rolname, 'login', rolcanlogin,"
    " 'powers', (select coalesce(json_agg(p.rolname order by p.rolname), '[]') from pg_roles p"
    f" where pg_has_role(r.oid, p.oid, 'member') and ({STRONG})))), '[]')"
    " from pg_roles r where rolname !~ '^pg_'))"
)


@dataclass(frozen=True)
class Database:
    """A database as its cluster has it."""

    name: str
    owner: str
    size: int
    """bytes"""
    clients: int
    open: bool
    """every role may connect to it"""


@dataclass(frozen=True)
class Role:
    """A role as its cluster has it."""

    name: str
    login: bool
    powers: tuple[str, ...]
    """itself, or roles it is a member of, that may more than use their own"""


@dataclass(frozen=True)
class There:
    """What a cluster has."""

    databases: tuple[Database, ...]
    roles: tuple[Role, ...]

    def database(self, name: str) -> Database | None:
        return next((database for database in self.databases if database.name == name), None)

    def role(self, name: str) -> Role | None:
        return next((role for role in self.roles if role.name == name), None)


def parse_there(text: str) -> There:
    """The answer to `THERE`. Raises ToolFailed when it is something else."""
    try:
        document = json.loads(text)
        return There(
            tuple(Database(**entry) for entry in document["databases"]),
            tuple(Role(e["name"], e["login"], tuple(e["powers"])) for e in document["roles"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("psql did not tell the databases", text) from error


UNLOGGED = "-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic"
"""No statement of this session goes into the server's log."""


def script(database: str = "postgres") -> Command:
    """psql that reads its statements, each a transaction of its own, from its input."""
    psql = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-")
    return Command(("env", f"{postgres.FREE} {UNLOGGED}", *psql), timeout=120)


def set_role(name: str, verifier: str, *, new: bool) -> str:
    """A role that may log in, and no more."""
    return f"{'create' if new else 'alter'} role {_quoted(name)} login password '{verifier}';\n"


def create_database(name: str, owner: str) -> str:
    return f"create database {_quoted(name)} owner {_quoted(owner)};\n"


def close_database(name: str) -> str:
    """Its owner, and whom that grants it, may connect."""
    return f"revoke connect, temporary on database {_quoted(name)} from public;\n"


CLOSE_SCHEMA = "alter schema public owner to pg_database_owner;\nrevoke create on schema public from public;\n"
"""As PostgreSQL 15 and newer make it."""


def log_in(conninfo: str) -> Command:
    """Log in from a node with the passfile it reads from its input."""
    line = (
        'umask 077; file=$(mktemp) && cat > "$file" && PGPASSFILE=$file psql "$0" -XAtqwc "select 1"; code=$?; '
        'rm -f "$file"; exit $code'
    )
    return Command(("sh", "-c", line, conninfo), timeout=15)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def described(statements: Sequence[str]) -> list[str]:
    """Statements for people: without the verifier."""
    return [statement.partition(" password '")[0].strip().rstrip(";") for statement in statements]
