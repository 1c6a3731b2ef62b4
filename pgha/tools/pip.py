"""pip, for the one Python package that an image gets from the Python package index."""

from __future__ import annotations

from pathlib import Path

from pgha.tools.command import Command


def download(python: str, requirements: Path, folder: Path) -> Command:
    """Fetch the wheels of a requirements file that pins versions and hashes, without what they depend on.

    With the host's own pip, so that its index, proxy and certificates are those the operator has configured.
    """
    return Command(
        (python, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
         "--requirement", str(requirements), "--dest", str(folder)),
        timeout=300,
    )  # fmt: skip


def pinned(requirements: str) -> list[str]:
    """What the names of the wheels begin with: `patroni-4.1.5-`."""
    lines = (line.split()[0] for line in requirements.splitlines() if line.strip() and not line.startswith("#"))
    return [f"{name}-{version}-" for name, version in (line.split("==") for line in lines)]


def reason(text: str) -> str:
    """The last error of what pip said."""
    errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    return errors[-1].removeprefix("ERROR: ") if errors else (text.strip().splitlines() or ["it said nothing"])[-1]
