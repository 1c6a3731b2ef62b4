"""The repositories of a project: one, and a second one while the passphrase is rotated.

pgBackRest cannot encrypt a repository anew, so another passphrase is another repository. The two stand on one volume,
in two places that take turns; what is where is kept beside the passphrases (passwords.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgha.model.words import time_text
from pgha.project.passwords import Passwords, Second, Stage, kept_passwords, new_secret, write_passwords
from pgha.project.project import Project

PLACES = {1: "/pgha/pgbackrest", 2: "/pgha/pgbackrest/2"}
"""pgBackRest's number of a repository -> its place on the repository's host."""


@dataclass(frozen=True)
class Repository:
    """One repository."""

    number: int
    passphrase: str

    @property
    def path(self) -> str:
        return PLACES[self.number]


def repositories(passwords: Passwords, *, on_nodes: bool = False) -> tuple[Repository, ...]:
    """What pgbackrest.conf names, by number. A node brings its WAL to each of these: to one only when that takes it."""
    found = [Repository(passwords.number, passwords.repository)]
    second = passwords.second
    if second and second.stage != Stage.GOING and not (on_nodes and second.stage == Stage.COMING):
        found.append(Repository(passwords.other, second.passphrase))
    return tuple(sorted(found, key=lambda repository: repository.number))


def in_use(project: Project) -> int:
    """The repository that takes the backups, for --repo; 0 when there is but one, the first. Raises Damaged."""
    kept = kept_passwords(project)
    alone = kept is None or (kept.number == 1 and len(repositories(kept)) == 1)
    return 0 if kept is None or alone else kept.number


def former(project: Project) -> int:
    """The repository of before, which is kept; 0 when there is none. Raises Damaged."""
    kept = kept_passwords(project)
    return kept.other if kept and kept.second and kept.second.stage == Stage.FORMER else 0


def begin_second(project: Project, kept: Passwords) -> Passwords:
    """Write down the passphrase of the repository to come: the setting's, where that names one, or a new one."""
    passphrase = project.settings.repository_passphrase or new_secret()
    return _write(project, replace(kept, second=Second(passphrase, Stage.COMING)))


def enter(project: Project, kept: Passwords, stage: Stage) -> Passwords:
    """Write down how far it is."""
    assert kept.second is not None
    return _write(project, replace(kept, second=replace(kept.second, stage=stage)))


def exchange(project: Project, kept: Passwords, stage: Stage) -> Passwords:
    """The other repository is the one in use from now on. The volume keeps the label it was made with."""
    assert kept.second is not None
    marks = {**kept.repository_marks, kept.repository_digest(kept.second.passphrase): kept.repository_id}
    now = time_text(datetime.now(UTC), "seconds")
    second = Second(kept.repository, stage)
    return _write(
        project,
        replace(
            kept, repository=kept.second.passphrase, number=kept.other, second=second, repository_marks=marks,
            repository_since=now,
        ),
    )  # fmt: skip


def forget_second(project: Project, kept: Passwords) -> Passwords:
    """There is but one from now on."""
    return _write(project, replace(kept, second=None))


def _write(project: Project, passwords: Passwords) -> Passwords:
    write_passwords(project, passwords)
    return passwords
