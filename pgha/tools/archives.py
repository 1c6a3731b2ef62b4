"""Images and files on their way to an engine that is not this host's, as tar archives."""

from __future__ import annotations

from collections.abc import Sequence

from pgha.tools import docker
from pgha.tools.command import Command


def save(names: Sequence[str]) -> Command:
    """These images as one archive, on its output; what they share is in it once."""
    return docker.docker("save", *names, timeout=900)


def load() -> Command:
    """The images of the archive it is given."""
    return docker.docker("load", "--quiet", timeout=900)


def unpack_into(container: str) -> Command:
    """The files of the archive it is given, into a container that need not run; owners and modes are the archive's."""
    return docker.docker("cp", "-", f"{container}:/")
