"""`inv rotate`: which kind is meant, and what is asked before a repository goes."""

from __future__ import annotations

from pgha import console
from pgha.backup import passphrase
from pgha.backup.passphrase import plan_passphrase, rotate_passphrase
from pgha.cli.show_passphrase import describe_former
from pgha.console import Progress
from pgha.errors import BadValue
from pgha.project.coming import PASSPHRASE, PASSWORDS
from pgha.project.project import Project
from pgha.stack.identities import plan_identities, rotate_identities
from pgha.stack.rotatable import KINDS
from pgha.stack.rotating import Rotated, RotationPlan
from pgha.stack.rotation import plan_passwords, rotate_passwords


def require_kind(what: str, *, plan: bool = False, remove_old: bool = False, abort: bool = False) -> None:
    """Raises BadValue for what cannot be rotated, and for flags that do not go together."""
    if remove_old + abort + plan > 1:
        raise BadValue("--plan, --remove-old and --abort ask for different things", "one of them")
    if (remove_old or abort) and what in ("", *KINDS) and what != PASSPHRASE:
        raise BadValue(
            f"Nothing of before is kept{f' of the {what}' if what else ''} but the repository of a former passphrase",
            "inv rotate --what passphrase with --remove-old or --abort",
        )
    if what not in KINDS:
        raise BadValue(f"--what {what}: there is nothing of that name to rotate", "inv rotate tells what there is")


def plan_rotation(project: Project, what: str) -> RotationPlan:
    """What a rotation would do; nothing is touched."""
    if what == PASSPHRASE:
        return plan_passphrase(project)
    return plan_passwords(project) if what == PASSWORDS else plan_identities(project, what)


def rotate_what(project: Project, what: str, progress: Progress) -> Rotated:
    """The caller holds the lock."""
    if what == PASSPHRASE:
        return rotate_passphrase(project, progress)
    return rotate_passwords(project, progress) if what == PASSWORDS else rotate_identities(project, what, progress)


def end_rotation(project: Project, progress: Progress, abort: bool, yes: bool) -> Rotated:
    """Remove the former repository, or go back to it and remove the new one. The caller holds the lock."""
    if abort:
        console.confirm(
            f"Go back to the former repository of project {project.name}, and remove the new one with its backups?", yes
        )
        return passphrase.give_up(project, progress)
    kept = passphrase.look(project)
    said = f" {describe_former(kept)}" if kept else ""
    console.confirm(f"Remove the former repository of project {project.name} with all its backups?{said}", yes)
    return passphrase.remove_old(project, progress)
