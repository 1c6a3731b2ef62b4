"""YAML as it was typed: `017` stays 017, `yes` stays yes, 12:30 is no number of minutes and 2026-11-25 no date."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from pgha.documents import LOADER


class _Typed(LOADER):  # type: ignore[misc]
    """Scalars stay the text they were typed as; nothing (`~`, `null`) stays nothing. A key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} is given twice", node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _as_typed(loader: _Typed, node: yaml.ScalarNode) -> str:
    return str(node.value)


for _tag in ("int", "float", "bool", "timestamp"):
    _Typed.add_constructor(f"tag:yaml.org,2002:{_tag}", _as_typed)


def read_typed(text: str) -> Any:
    """Raises ValueError when it is not YAML, or a key is given twice."""
    try:
        return yaml.load(text, _Typed)
    except yaml.YAMLError as error:
        words = getattr(error, "problem", None) or str(error)
        raise ValueError(f"is not YAML: {words}") from None
