"""The passphrase of the repository: removing one of two repositories, and what is said of the former one."""

from __future__ import annotations

from typing import Any

from pgha import console
from pgha.backup import passphrase
from pgha.backup.passphrase import REMOVES, Kept
from pgha.console import Progress
from pgha.model.words import counted
from pgha.project.project import Project
from pgha.stack.rotating import Rotated


def end_rotation(project: Project, progress: Progress, abort: bool, yes: bool) -> Rotated:
    """Remove the former repository, or go back to it and remove the new one. The caller holds the lock."""
    if abort:
        console.confirm(
            f"Go back to the former repository of project {project.name}, and remove the new one with its backups?", yes
        )
        return passphrase.give_up(project, progress)
    kept = passphrase.look(project)
    said = f" {_said(kept)}" if kept else ""
    console.confirm(f"Remove the former repository of project {project.name} with all its backups?{said}", yes)
    return passphrase.remove_old(project, progress)


def show_former(project: Project, rotated: Rotated) -> None:
    """What was done, and what is kept."""
    if rotated.done:
        console.show(f"{', '.join(rotated.done)}: done in {rotated.seconds:.1f} s")
    elif rotated.given:
        console.show("nothing to do: the settings name the passphrase, and it holds")
    kept = passphrase.look(project)
    if kept:
        console.show(f"the former repository (repo{kept.number}) is kept, and gets all WAL: {kept.window or 'nothing'}")
        console.show(_said(kept))
        console.hint(f"{REMOVES} removes it{'' if kept.replaced else ', best when the new one has as many'}")


def former_document(project: Project) -> dict[str, Any]:
    """The former repository that is kept, for `--json`."""
    kept = passphrase.look(project)
    there = kept and {"repo": kept.number, "full_backups_of_the_new": kept.full, "retention_full": kept.wanted}
    return {"former": there}


def _said(kept: Kept) -> str:
    full = counted(kept.full, "full backup")
    return f"The new one has {full}; retention_full asks for {kept.wanted}."
