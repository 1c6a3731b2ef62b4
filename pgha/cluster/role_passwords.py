"""The passwords of the project's own roles, as the database has them."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from pgha.errors import ToolFailed
from pgha.project.passwords import Passwords, kept_passwords, passwords_file
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import databases, postgres, rotation, scram
from pgha.tools.rotation import ROLES


def password_of(passwords: Passwords, role: str) -> str:
    return str(getattr(passwords, ROLES[role]))


def differing(project: Project, host: str, passwords: Passwords) -> list[str]:
    """Roles that these passwords do not open, as this member's Postgres has it; nothing of their passwords is sent.

    Raises Unreachable, ToolFailed.
    """
    answer = connect(project).must(host, postgres.query(rotation.VERIFIERS), "psql failed")
    found = rotation.parse_verifiers(answer.stdout)
    return [role for role in ROLES if role in found and not scram.is_of(found[role], password_of(passwords, role))]


def verifiers(passwords: Passwords, roles: Collection[str]) -> dict[str, str]:
    """What the server gets instead of the passwords."""
    return {role: scram.verifier(password_of(passwords, role), secrets.token_bytes(16)) for role in roles}


def set_back_passwords(project: Project, leader: str) -> list[str]:
    """Give the project's roles its passwords again where they have others: set by hand, or as old as a restored backup.

    Without them no replica streams, and no client of this project logs in. Returns what was done.
    """
    passwords = kept_passwords(project)
    roles = differing(project, leader, passwords) if passwords else []
    if not passwords or not roles:
        return []
    script = rotation.LOCAL + rotation.set_verifiers(verifiers(passwords, roles))
    answer = connect(project).feed(leader, databases.script(), script)
    if not answer.ok:
        raise ToolFailed(f"The passwords of {' and '.join(roles)} could not be set (on {leader})", answer.words)
    where = project.relative(passwords_file(project))
    return [f"the password of {role} had been changed: it is again that of {where}" for role in roles]
