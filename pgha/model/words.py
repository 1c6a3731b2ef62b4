"""Sizes in words."""

from __future__ import annotations


def size_text(size: int) -> str:
    """Bytes with a binary unit, as pgBackRest writes them."""
    value = float(size)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}GB"
