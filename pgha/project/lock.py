"""The lock that lets one changing command at a time work on a project."""

from __future__ import annotations

import fcntl
import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgha.errors import Busy
from pgha.model.words import time_of, time_text


@contextmanager
def held(path: Path, project: str, command: str) -> Iterator[None]:
    """Hold the lock. Raises Missing and says who holds it.

    The lock is the kernel's: it is gone with its process, however that ended.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another command"
            raise Busy(f"Project {project} is being changed by {holder}", "wait for it to end, or end it") from None
        file.truncate(0)
        file.write(f"`inv {command}` of {_user()}, process {os.getpid()}, since {time_text(time_of(int(time.time())))}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
