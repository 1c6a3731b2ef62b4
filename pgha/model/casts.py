"""Values of settings, typed or as text: each type's own reading, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pgha.model.machines import EXAMPLE, as_given
from pgha.model.typed import read_typed


def is_on(value: Any) -> bool:
    """Whether a switch is on; one that cannot be read is not."""
    try:
        return _switch(value)
    except ValueError:
        return False


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"-?(0|[1-9][0-9]*)", str(value).strip()):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def _switch(value: Any) -> bool:
    words = {
        "on": True,
        "true": True,
        "yes": True,
        "1": True,
        "off": False,
        "false": False,
        "no": False,
        "0": False,
    }
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither on nor off") from None


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"{value!r} is not a text")
    return "" if value is None else str(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", str(value).strip()):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _mapping(value: Any, example: str) -> Mapping[Any, Any]:
    """A table, or its text."""
    if isinstance(value, str):
        value = read_typed(value) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a table such as {example}")
    return value


def _table(value: Any, example: str = "{work_mem: 8MB}") -> dict[str, str]:
    """A table of texts, or its text: `{work_mem: 8MB}`."""
    table = {}
    for key, entry in _mapping(value, example).items():
        if entry is None or isinstance(entry, (dict, list)):
            raise ValueError(f"{key} has no value" if entry is None else f"{entry!r} of {key} is not a text")
        table[str(key)] = {True: "on", False: "off"}[entry] if isinstance(entry, bool) else str(entry)
    return table


SLOT_EXAMPLE = "{cdc: {database: app}}"


def _tables(value: Any) -> dict[str, dict[str, str]]:
    """A table of such tables, or its text."""
    return {str(name): _table(entry, SLOT_EXAMPLE) for name, entry in _mapping(value, SLOT_EXAMPLE).items()}


def _machines(value: Any) -> dict[str, dict[str, str]]:
    """A table of machines, or its text: site -> `{engine: ..., address: ...}`."""
    found = {}
    for site, entry in _mapping(value, f"{{dc1: {EXAMPLE}}}").items():
        try:
            found[str(site)] = as_given(entry)
        except ValueError as error:
            raise ValueError(f"{site}: {error}") from None
    return found


CASTS: dict[str, Callable[[Any], Any]] = {
    "int": _integer,
    "float": _number,
    "bool": _switch,
    "str": _text,
    "Mapping[str, str]": _table,
    "Mapping[str, Mapping[str, str]]": _tables,
    "Machines": _machines,
}
"""By the type that a setting is declared with."""
