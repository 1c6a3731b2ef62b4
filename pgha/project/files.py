"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write when it differs, whole or not at all; returns whether it was written.

    A file with secrets is never readable for others, not even for a moment.
    """
    return write_bytes(path, content.encode(), mode)


def write_bytes(path: Path, content: bytes, mode: int = 0o644) -> bool:
    """As `write_file`, for what is no text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
        return False
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(mode)
    temporary.replace(path)
    return True
