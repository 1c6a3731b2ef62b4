"""Keys and certificates that are to replace those in use.

They lie in a folder beside these while a rotation is half done: from before the first container has one of them until
no container has an old one. As long as the folder is there, the same command completes the rotation.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged
from pgha.project.files import write_file
from pgha.project.passwords import Stage, kept_passwords
from pgha.project.project import Project

PASSWORDS, KEYS, CERTIFICATES, PASSPHRASE = "passwords", "keys", "certificates", "passphrase"

MARKS = "marks.yaml"


def coming(project: Project, what: str) -> Path:
    """The folder of the keys, or of the certificates, that are to come."""
    return (project.keys_folder if what == KEYS else project.certificates_folder) / "coming"


def half_rotated(project: Project) -> str:
    """What is being replaced: PASSWORDS, KEYS, CERTIFICATES, PASSPHRASE or nothing. Raises Damaged."""
    kept = kept_passwords(project)
    if kept and kept.coming:
        return PASSWORDS
    if kept and kept.second and kept.second.stage != Stage.FORMER:
        return PASSPHRASE
    return next((what for what in (KEYS, CERTIFICATES) if coming(project, what).exists()), "")


def begin(project: Project, what: str, marks: Mapping[str, str], fill: Callable[[Path], None]) -> None:
    """Let `fill` make what is to come, and write down what the labels of the containers say at the moment. The folder
    is there with all in it, or not at all."""
    folder = coming(project, what)
    part = folder.with_name("coming.part")
    shutil.rmtree(part, ignore_errors=True)
    fill(part)
    write_file(part / MARKS, yaml.safe_dump(dict(marks)))
    part.rename(folder)


def forget(project: Project, what: str) -> None:
    """All has come, or was given up."""
    folder = coming(project, what)
    over = folder.with_name("coming.over")
    shutil.rmtree(over, ignore_errors=True)
    if folder.exists():
        folder.rename(over)
        shutil.rmtree(over)


def marks(project: Project) -> dict[str, str]:
    """Host -> what its container's label stands for, as it was when the rotation began; empty when none is half done.

    Raises Damaged.
    """
    for what in (KEYS, CERTIFICATES):
        path = coming(project, what) / MARKS
        if path.exists():
            try:
                return {str(host): str(mark) for host, mark in read_yaml(path.read_text()).items()}
            except (UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
                raise Damaged(
                    f"{project.relative(path)} is damaged ({type(error).__name__})", f"inv rotate --what {what}"
                ) from None
    return {}
