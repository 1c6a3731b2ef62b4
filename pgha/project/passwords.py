"""The project's passwords: generated once, kept in one file of mode 0600."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged, NotRendered
from pgha.model.words import time_text
from pgha.project.files import write_file
from pgha.project.project import Project

FILE = "passwords.yaml"


class Stage(StrEnum):
    """How far a rotation of the passphrase is, in this order; each is recorded when it begins."""

    COMING = "coming"
    """the second repository is being made"""
    BOTH = "both"
    """WAL comes into both, and the new one gets its first backup"""
    PASSED = "passed"
    """the new one takes the backups; the schedules are being told"""
    FORMER = "former"
    """done, and the former one is kept"""
    GOING = "going"
    """the second one is being removed"""


@dataclass(frozen=True)
class Second:
    """A second repository: the one that is to come, or the one of before."""

    passphrase: str = field(repr=False)
    stage: Stage


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
    number: int = 1
    """of the repository whose passphrase `repository` is: 1 or 2"""
    second: Second | None = None
    """the other repository, while its passphrase is rotated and the former one is kept"""
    repository_marks: Mapping[str, str] = field(default_factory=dict)
    """digest of a passphrase that was rotated in -> what the label of the repository's volume says"""
    repository_since: str = ""
    """when the passphrase was made, as `since`"""

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
        digest = self.repository_digest(self.repository)
        return self.repository_marks.get(digest, digest)

    def repository_digest(self, passphrase: str) -> str:
        return self.digest("repository", passphrase)

    @property
    def other(self) -> int:
        """The number of the other repository, whether there is one or not."""
        return 3 - self.number

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
            for key in ("roles", "coming", "repository_marks")
        }
        own: dict[str, Any] = {name: _secret(document[name]) for name in OWN}
        if not set(more["coming"]) <= set(ROTATED):
            raise ValueError("a password that is none of a rotation")
        texts: dict[str, Any] = {key: str(document.get(key) or "") for key in ("mark", "since", "repository_since")}
        for since in filter(None, (texts["since"], texts["repository_since"])):
            datetime.fromisoformat(since)
        number, second = int(document.get("number", 1)), document.get("second")
        if number not in (1, 2):
            raise ValueError("no number of a repository")
        if second:
            second = Second(_secret(second["passphrase"]), Stage(second["stage"]))
        return Passwords(**own, **more, **texts, number=number, second=second or None)
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(
            f"{project.relative(path)} is damaged ({type(error).__name__}); the database's passwords were in it",
            "restore the file from a copy; only `inv destroy` can do without it",
        ) from None


def settled_passwords(project: Project, kept: Passwords | None) -> Passwords:
    """Given ones over kept ones over new ones; nothing is written."""
    known = asdict(kept) if kept else {}
    given = _given(project, kept)
    own: dict[str, Any] = {name: given.get(name) or known.get(name) or new_secret() for name in OWN}
    if kept is None:
        return Passwords(**own, since=_now(), repository_since=_now())
    same = all(own[name] == known[name] for name in ROTATED)
    return replace(kept, **own, mark=kept.mark if same else "")


def replaced(project: Project, kept: Passwords | None) -> list[str]:
    """The settings that name another password than the file keeps."""
    if kept is None:
        return []
    given = _given(project, kept)
    return [GIVEN[name] for name, value in given.items() if value and value != getattr(kept, name)]


def _given(project: Project, kept: Passwords | None) -> dict[str, str]:
    """What the settings name. While there are two repositories either passphrase may stand there."""
    given = {name: getattr(project.settings, key) for name, key in GIVEN.items()}
    if kept and kept.second and given["repository"] == kept.second.passphrase:
        given["repository"] = ""
    return given


def write_passwords(project: Project, passwords: Passwords) -> None:
    document = {key: value for key, value in asdict(passwords).items() if key in OWN or value not in ("", {}, None)}
    if passwords.number == 1:
        document.pop("number")
    if passwords.second:
        document["second"]["stage"] = str(passwords.second.stage)
    write_file(passwords_file(project), yaml.safe_dump(document), 0o600)


def with_role(project: Project, name: str) -> Passwords:
    """The kept passwords with one for this role, a new one where there is none; it is written down before anything is
    made with it. Raises NotRendered when there are none, Damaged."""
    kept = kept_passwords(project)
    if kept is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    if name not in kept.roles:
        kept = replace(kept, roles={**kept.roles, name: new_secret()})
        write_passwords(project, kept)
    return kept


def coming_names(project: Project, kept: Passwords | None) -> list[str]:
    """Those of ROTATED that a rotation would replace: not one that a setting names, and that holds already."""
    given = {name: getattr(project.settings, GIVEN[name]) for name in ROTATED}
    return [name for name in ROTATED if kept is None or given[name] != getattr(kept, name)]


def begin_rotation(project: Project, kept: Passwords) -> Passwords:
    """Write down what each password is replaced by, beside what it is: the setting's, where that names another one, or
    a new one. One that a setting names, and that holds already, stays."""
    coming = {name: getattr(project.settings, GIVEN[name]) or new_secret() for name in coming_names(project, kept)}
    begun = replace(kept, coming=coming)
    if coming:
        write_passwords(project, begun)
    return begun


def rotated(begun: Passwords) -> Passwords:
    """The passwords when those to come have come. The volumes keep the mark they were made with."""
    come: dict[str, Any] = dict(begun.coming)
    return replace(begun, **come, coming={}, mark=begun.id, since=_now())


OWN = ("superuser", "replication", "rewind", "restapi", "repository", "digest_key")
"""The project's own."""

ROTATED = ("superuser", "replication", "rewind", "restapi")
"""Those that `inv rotate --what passwords` replaces. The passphrase is none: what is in the repository was encrypted
with it (repositories.py)."""

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


def new_secret() -> str:
    """A password nobody knows yet."""
    return secrets.token_urlsafe(24)


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret is a text that is not empty")
    return value
