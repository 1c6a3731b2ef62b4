"""The records of what was begun and has not ended: a file in build/<project>/ each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged
from pgha.project.project import Project

Record = TypeVar("Record")


def read_half_done(project: Project, file: str, what: str, hint: str, parse: Callable[[Any], Record]) -> Record | None:
    """What `parse` makes of the file; nothing when it is not there. `{name}` in the hint stands for its path.

    Raises Damaged when it cannot be read, or `parse` takes it for no record.
    """
    path = project.folder / file
    if not path.exists():
        return None
    try:
        return parse(read_yaml(path.read_text()))
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, yaml.YAMLError) as error:
        name = project.relative(path)
        sentence = f"{name}, the record of {what}, is damaged ({type(error).__name__})"
        raise Damaged(sentence, hint.format(name=name)) from None


def require_texts(*values: Any) -> None:
    """Raises TypeError unless all are."""
    if not all(isinstance(value, str) for value in values):
        raise TypeError("not a text")
