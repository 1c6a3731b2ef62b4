"""What is said of the former repository, which a rotation of the passphrase keeps."""

from __future__ import annotations

from typing import Any

from pgha import console
from pgha.backup import passphrase
from pgha.backup.passphrase import REMOVES, Kept
from pgha.model.words import counted
from pgha.project.project import Project
from pgha.stack.rotating import Rotated


def show_former(project: Project, rotated: Rotated) -> None:
    """What was done, and what is kept."""
    if rotated.done:
        console.show(f"{', '.join(rotated.done)}: done in {rotated.seconds:.1f} s")
    elif rotated.given:
        console.show("nothing to do: the settings name the passphrase, and it holds")
    kept = passphrase.look(project)
    if kept:
        console.show(f"the former repository (repo{kept.number}) is kept, and gets all WAL: {kept.window or 'nothing'}")
        console.show(describe_former(kept))
        console.hint(f"{REMOVES} removes it{'' if kept.replaced else ', best when the new one has as many'}")


def former_document(project: Project) -> dict[str, Any]:
    """The former repository that is kept, for `--json`."""
    kept = passphrase.look(project)
    there = kept and {"repo": kept.number, "full_backups_of_the_new": kept.full, "retention_full": kept.wanted}
    return {"former": there}


def describe_former(kept: Kept) -> str:
    """How far the new repository has taken its place."""
    full = counted(kept.full, "full backup")
    return f"The new one has {full}; retention_full asks for {kept.wanted}."
