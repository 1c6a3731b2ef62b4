"""The project's passwords: generated once, kept in one file of mode 0600."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged, NotRendered
from pgha.model.words import time_text
from pgha.project.files import write_file
from pgha.project.project import Project

FILE = "passwords.yaml"


@dataclass(frozen=True)
class Passwords:
    """Of the Postgres roles and of Patroni's REST API, and the passphrase the repository is encrypted with.

    `digest_key` is no password: digests of rendered files are keyed with it, so that they tell nothing.
    """

    superuser: str
    replication: str
    rewind: str
    restapi: str
    repository: str
    digest_key: str
    roles: Mapping[str, str] = field(default_factory=dict)
    """of the roles that own the databases of `inv database`"""
    coming: Mapping[str, str] = field(default_factory=dict)
    """those of ROTATED that are replaced and by what, while a rotation is half done"""
    mark: str = ""
    """what the volumes' labels say since the first rotation: a label stays as it was made"""
    since: str = ""
    """when those of ROTATED were made, for people; nothing in a file that is older than this entry"""

    def digest(self, *texts: str) -> str:
        """A short fingerprint that does not help to guess what it was made of."""
        whole = "\0".join(texts).encode()
        return hmac.new(self.digest_key.encode(), whole, hashlib.sha256).hexdigest()[:16]

    @property
    def id(self) -> str:
        """Tells whether a volume's database was made with these passwords, or with those they replaced."""
        return self.mark or self.digest(self.superuser, self.replication, self.rewind, self.restapi)

    @property
    def repository_id(self) -> str:
        """Tells whether a volume's backups were encrypted with this passphrase."""
        return self.digest("repository", self.repository)

    def __repr__(self) -> str:
        return "Passwords(...)"


def passwords_file(project: Project) -> Path:
    return project.folder / FILE


def kept_passwords(project: Project) -> Passwords | None:
    """What the file holds; None when there is none.

    Raises Damaged for a file that is: generating others would lock everyone out of the database.
    """
    path = passwords_file(project)
    if not path.exists():
        return None
    try:
        document = read_yaml(path.read_text())
        more: dict[str, Any] = {
            key: {str(name): _secret(secret) for name, secret in (document.get(key) or {}).items()}
            for key in ("roles", "coming")
        }
        own: dict[str, Any] = {name: _secret(document[name]) for name in OWN}
        if not set(more["coming"]) <= set(ROTATED):
            raise ValueError("a password that is none of a rotation")
        texts: dict[str, Any] = {key: str(document.get(key) or "") for key in ("mark", "since")}
        if texts["since"]:
            datetime.fromisoformat(texts["since"])
        return Passwords(**own, **more, **texts)
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(
            f"{project.relative(path)} is damaged ({type(error).__name__}); the database's passwords were in it",
            "restore the file from a copy; only `inv destroy` can do without it",
        ) from None


def settled_passwords(project: Project, kept: Passwords | None) -> Passwords:
    """Given ones over kept ones over new ones; nothing is written."""
    known = asdict(kept) if kept else {}
    given = {name: getattr(project.settings, key) for name, key in GIVEN.items()}
    own: dict[str, Any] = {name: given.get(name) or known.get(name) or _new() for name in OWN}
    if kept is None:
        return Passwords(**own, since=_now())
    same = all(own[name] == known[name] for name in ROTATED)
    return replace(kept, **own, mark=kept.mark if same else "")


def replaced(project: Project, kept: Passwords | None) -> list[str]:
    """The settings that name another password than the file keeps."""
    if kept is None:
        return []
    given = {name: getattr(project.settings, key) for name, key in GIVEN.items()}
    return [GIVEN[name] for name, value in given.items() if value and value != getattr(kept, name)]


def write_passwords(project: Project, passwords: Passwords) -> None:
    document = {key: value for key, value in asdict(passwords).items() if key in OWN or value}
    write_file(passwords_file(project), yaml.safe_dump(document), 0o600)


def with_role(project: Project, name: str) -> Passwords:
    """The kept passwords with one for this role, a new one where there is none; it is written down before anything is
    made with it. Raises NotRendered when there are none, Damaged."""
    kept = kept_passwords(project)
    if kept is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    if name not in kept.roles:
        kept = replace(kept, roles={**kept.roles, name: _new()})
        write_passwords(project, kept)
    return kept


def coming_names(project: Project, kept: Passwords | None) -> list[str]:
    """Those of ROTATED that a rotation would replace: not one that a setting names, and that holds already."""
    given = {name: getattr(project.settings, GIVEN[name]) for name in ROTATED}
    return [name for name in ROTATED if kept is None or given[name] != getattr(kept, name)]


def begin_rotation(project: Project, kept: Passwords) -> Passwords:
    """Write down what each password is replaced by, beside what it is: the setting's, where that names another one, or
    a new one. One that a setting names, and that holds already, stays."""
    coming = {name: getattr(project.settings, GIVEN[name]) or _new() for name in coming_names(project, kept)}
    begun = replace(kept, coming=coming)
    if coming:
        write_passwords(project, begun)
    return begun


def rotated(begun: Passwords) -> Passwords:
    """The passwords when those to come have come. The volumes keep the mark they were made with."""
    come: dict[str, Any] = dict(begun.coming)
    return replace(begun, **come, coming={}, mark=begun.id, since=_now())


OWN = tuple(f.name for f in fields(Passwords) if f.name not in ("roles", "coming", "mark", "since"))
"""The project's own."""

ROTATED = ("superuser", "replication", "rewind", "restapi")
"""Those that `inv rotate` replaces. The passphrase is none: what is in the repository was encrypted with it."""

GIVEN = {
    "superuser": "superuser_password",
    "replication": "replication_password",
    "rewind": "rewind_password",
    "restapi": "restapi_password",
    "repository": "repository_passphrase",
}
"""A password -> the setting that gives it."""


def _now() -> str:
    return time_text(datetime.now(UTC), "seconds")


def _new() -> str:
    return secrets.token_urlsafe(24)


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret is a text that is not empty")
    return value
