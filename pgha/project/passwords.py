"""The project's passwords: generated once, kept in one file of mode 0600."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from pgha.errors import Damaged
from pgha.model.settings import Settings
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

    def digest(self, *texts: str) -> str:
        """A short fingerprint that does not help to guess what it was made of."""
        whole = "\0".join(texts).encode()
        return hmac.new(self.digest_key.encode(), whole, hashlib.sha256).hexdigest()[:16]

    @property
    def id(self) -> str:
        """Tells whether a volume's database was made with these passwords."""
        return self.digest(self.superuser, self.replication, self.rewind, self.restapi)

    def __repr__(self) -> str:
        return "Passwords(...)"


def passwords_file(project: Project) -> Path:
    return project.folder / FILE


def ensure_passwords(project: Project) -> Passwords:
    """The project's passwords, generated when there are none; given ones replace generated ones.

    Raises Missing when the file is damaged: generating others would lock everyone out of the database.
    """
    path = passwords_file(project)
    names = [f.name for f in fields(Passwords)]
    kept: dict[str, str] = {}
    if path.exists():
        try:
            document = yaml.safe_load(path.read_text())
            kept = {name: _secret(document[name]) for name in names}
        except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise Damaged(
                f"{project.relative(path)} is damaged ({type(error).__name__}); the database's passwords were in it",
                "restore the file from a copy; only `inv destroy` can do without it",
            ) from None
    given = _given(project.settings)
    values = {name: given.get(name) or kept.get(name) or secrets.token_urlsafe(24) for name in names}
    passwords = Passwords(**values)
    write_file(path, yaml.safe_dump(asdict(passwords)), 0o600)
    return passwords


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret is a text that is not empty")
    return value


def _given(settings: Settings) -> dict[str, str]:
    return {
        "superuser": settings.superuser_password,
        "replication": settings.replication_password,
        "rewind": settings.rewind_password,
        "restapi": settings.restapi_password,
        "repository": settings.repository_passphrase,
    }
