"""Nested configurations: what one lacks of another, and both in one."""

from __future__ import annotations

from typing import Any


def merge_patch(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The part of `wanted` that `current` does not hold: what to patch the dynamic configuration with."""
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        held = current.get(key)
        if isinstance(value, dict):
            inner = merge_patch(held if isinstance(held, dict) else {}, value)
            if inner:
                patch[key] = inner
        elif held != value:
            patch[key] = value
    return patch


def merge(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`current` with what is wanted over it."""
    merged = dict(current)
    for key, value in wanted.items():
        held = merged.get(key)
        merged[key] = merge(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return merged


def flatten(patch: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested patch, for people."""
    flat: dict[str, Any] = {}
    for key, value in patch.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
