"""Databases of applications: each with a role of its own, whose password nobody sees."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from pgha.cluster import reaching
from pgha.cluster.clients import Login, connection_string
from pgha.cluster.view import require_leader
from pgha.console import Progress
from pgha.errors import BadValue, ToolFailed
from pgha.project.files import write_file
from pgha.project.passwords import kept_passwords, with_role
from pgha.project.project import Project
from pgha.remote import postgres_client
from pgha.remote.connections import connect
from pgha.tools import databases, libpq, postgres, scram

TAKEN = ("postgres", "template0", "template1")
"""Databases of every cluster."""

OURS = ("postgres", "replicator", "rewind_user", "patroni", "public", "none", "current_user", "session_user", "user")
"""Roles of the project's own, and names that SQL takes for something else."""


@dataclass(frozen=True)
class Listed:
    """A database, and whether its owner's password is known here."""

    database: databases.Database
    known: bool


@dataclass(frozen=True)
class Made:
    """A database that is as it should be."""

    name: str
    owner: str
    done: tuple[str, ...]
    """statements that had to be run for it"""
    dsn: str


def list_databases(project: Project) -> tuple[Listed, ...]:
    """What there is, without templates. Raises NoLeader, ToolFailed."""
    there = _look(project, require_leader(project).name)
    known = _known(project)
    return tuple(Listed(database, database.owner in known) for database in there.databases)


def make_database(project: Project, name: str, owner: str, progress: Progress) -> Made:
    """A database, and the role that owns it, with a password that is made and kept here; what is there already stays.

    Its own role may connect to it and make what it likes there, others may not, and it is no superuser. Its password
    is written down first; the server gets, and may log, only a verifier. The caller holds the lock.
    Raises BadValue for a name that cannot be, and when what is there is somebody else's; NoLeader, ToolFailed.
    """
    owner = owner or name
    _check(name, owner)
    leader = require_leader(project).name
    there = _look(project, leader)
    known = _known(project)
    _require_free(there, known, name, owner)
    passwords = with_role(project, owner)
    write_file(project.role_pgpass, libpq.passfile(passwords.roles), 0o600)
    done = []
    refusal = None
    if there.role(owner):
        refusal = _log_in(project, leader, owner, name if there.database(name) else TAKEN[0])
    with progress.stage(f"make the database {name} of {owner}"):
        if there.role(owner) is None or (refusal and refusal.asked):
            verifier = scram.verifier(passwords.roles[owner], secrets.token_bytes(16))
            done.append(databases.set_role(owner, verifier, new=there.role(owner) is None))
            _run(project, leader, done[-1])
        database = there.database(name)
        if database is None:
            done.append(databases.create_database(name, owner))
            _run(project, leader, done[-1])
        # Last what tells an interrupted command's successor that all is done.
        if database is None or database.open:
            _run(project, leader, databases.CLOSE_SCHEMA, name)
            done.append(databases.close_database(name))
            _run(project, leader, done[-1])
    _require_made(project, leader, name, owner)
    login = Login(user=owner, dbname=name)
    return Made(name, owner, tuple(databases.described(done)), connection_string(project, login, standby=False))


def _check(name: str, owner: str) -> None:
    for what, given in (("a database", name), ("a role", owner)):
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", given):
            plain = re.sub(r"[^a-z0-9_]+", "_", given.lower())[:63].lstrip("0123456789") or "app"
            sentence = f"{given!r} is not the name of {what} here: a-z, 0-9 and _, at most 63 characters"
            raise BadValue(sentence, f"inv database --name {plain}")
    if name in TAKEN or name.startswith("pg_"):
        raise BadValue(f"{name} is a database of every cluster's own", "inv database --name app")
    if owner in OURS or owner.startswith("pg_"):
        raise BadValue(
            f"{owner} cannot own an application's database", f"inv database --name {name} --owner {name}_owner"
        )


def _require_free(there: databases.There, known: Mapping[str, str], name: str, owner: str) -> None:
    role, database = there.role(owner), there.database(name)
    if database and database.owner != owner:
        way = f"inv database --name {name} --owner {database.owner}, or another name"
        raise BadValue(f"The database {name} is there and belongs to {database.owner}, not to {owner}", way)
    if role is None:
        return
    if role.powers:
        powers = " and ".join("is a superuser, or nearly" if p == owner else f"is a member of {p}" for p in role.powers)
        raise BadValue(
            f"The role {owner} {powers}: no application gets that", f"inv database --name {name} --owner <role>"
        )
    if owner not in known:
        sentence = f"The role {owner} is there already, and its password is not known here"
        raise BadValue(sentence, f"inv database --name {name} --owner <another role>, or drop role {owner} first")
    if not role.login:
        raise BadValue(f"The role {owner} may not log in", f'inv psql --command "alter role {owner} login"')


def _known(project: Project) -> Mapping[str, str]:
    kept = kept_passwords(project)
    return kept.roles if kept else {}


def _look(project: Project, leader: str) -> databases.There:
    answer = connect(project).must(leader, postgres.query(databases.THERE), "psql failed")
    return databases.parse_there(answer.stdout)


def _run(project: Project, leader: str, text: str, database: str = "postgres") -> None:
    answer = connect(project).feed(leader, databases.script(database), text)
    if not answer.ok:
        raise ToolFailed(f"psql failed (on {leader}, exit code {answer.exit_code})", answer.words)


def _require_made(project: Project, leader: str, name: str, owner: str) -> None:
    """Raises ToolFailed unless it is there, and its role can log in to it as its application will."""
    database = _look(project, leader).database(name)
    if database is None or database.owner != owner or database.open:
        raise ToolFailed(f"The database {name} is not as it should be", hint="inv database")
    refusal = _log_in(project, leader, owner, name)
    if refusal:
        raise ToolFailed(f"{owner} cannot log in to the database {name}", refusal.words, f"inv logs --node {leader}")


def _log_in(project: Project, leader: str, user: str, dbname: str) -> postgres_client.Refusal | None:
    """Log in at the leader's published port with the passfile; without a libpq here, from the leader over its
    network."""
    try:
        return postgres_client.log_in(
            reaching.node_string(project, leader, user, dbname, passfile=str(project.role_pgpass))
        )
    except postgres_client.NoLibpq:
        string = reaching.inside_string(project, leader, user, dbname)
        answer = connect(project).feed(leader, databases.log_in(string), project.role_pgpass.read_text())
        return None if answer.ok else postgres_client.Refusal(answer.words, asked=True)
