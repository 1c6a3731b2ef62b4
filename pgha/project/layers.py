"""The settings of configuration files, as they were typed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pgha.errors import BadSettings
from pgha.model.typed import read_typed

TABLE = "pgha"


def typed_layers(sources: Iterable[tuple[str | None, Any]]) -> list[dict[str, Any]]:
    """A layer for each file, the later ones over the earlier ones.

    A source is a file and what Invoke read from it. Invoke's YAML turns `017` into 15 and `12:30` into 750 before we
    see them, so our table is read from the file's own text; where a file is not YAML, Invoke's reading holds.
    Raises BadSettings when a table is none.
    """
    layers = []
    for path, read in sources:
        if path and Path(path).suffix in (".yaml", ".yml"):
            layers.append(_table(_typed(Path(path))))
        elif isinstance(read, dict):
            layers.append(_table(read))
    return layers


def _typed(path: Path) -> Any:
    try:
        return read_typed(path.read_text())
    except ValueError as error:
        raise BadSettings([f"{path.name}: {error}"]) from None


def _table(document: Any) -> dict[str, Any]:
    table = document.get(TABLE) if isinstance(document, dict) else None
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise BadSettings([f"{TABLE}: is not a table of settings"])
    return {str(key): value for key, value in table.items()}
