"""What can be rotated, and how old it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pgha.errors import NotRendered
from pgha.model.words import time_of
from pgha.project.coming import CERTIFICATES, KEYS, PASSPHRASE, PASSWORDS
from pgha.project.keys import user_and_host_keys
from pgha.project.passwords import ROTATED, kept_passwords
from pgha.project.project import Project
from pgha.project.successors import Term, terms

KINDS = (PASSWORDS, KEYS, CERTIFICATES, PASSPHRASE)


@dataclass(frozen=True)
class Age:
    """Something that can be rotated."""

    what: str
    replaces: tuple[str, ...]
    made: datetime | None
    """the oldest of them; None when nobody wrote it down"""
    terms: tuple[Term, ...] = ()
    """of certificates, the first to end first"""


def ages(project: Project) -> list[Age]:
    """What there is in this project. Raises NotRendered, Damaged."""
    kept = kept_passwords(project)
    if kept is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    keys = [path for path in user_and_host_keys(project) if path.exists()]
    # A key's file is written once.
    written = [time_of(path.stat().st_mtime) for path in keys]
    found = [
        Age(PASSWORDS, ROTATED, _time(kept.since)),
        Age(KEYS, tuple(path.name for path in keys), min(written, default=None)),
    ]
    held = tuple(terms(project))
    if held:
        found.append(Age(CERTIFICATES, tuple(term.whose for term in held), min(term.made for term in held), held))
    if project.topology.repository:
        found.append(Age(PASSPHRASE, ("repository",), _time(kept.repository_since)))
    return found


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
