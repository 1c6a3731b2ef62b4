"""Patroni's wheel, from the Python package index into the folder its image is built from."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pgha.console import Progress
from pgha.errors import Unreachable
from pgha.remote import shell
from pgha.tools import pip


def fetch_wheels(folder: Path, progress: Progress) -> None:
    """Have the wheels of `requirements.txt`, and no others, in `wheels/` of an image's folder.

    Raises Unreachable when the index cannot be reached, or has another file than the one whose hash is pinned.
    """
    requirements, wheels = folder / "requirements.txt", folder / "wheels"
    wanted = pip.pinned(requirements.read_text())
    there = [path.name for path in wheels.glob("*.whl")]
    if len(there) == len(wanted) and all(any(name.startswith(pin) for name in there) for pin in wanted):
        return
    incoming = folder / "wheels.new"
    shutil.rmtree(incoming, ignore_errors=True)
    names = ", ".join(pin.rstrip("-").replace("-", " ") for pin in wanted)
    with progress.stage(f"fetch {names} from the Python package index") as step:
        answer = shell.run(pip.download(sys.executable, requirements, incoming))
        step.ending = "done" if answer.ok else "failed"
    if not answer.ok:
        shutil.rmtree(incoming, ignore_errors=True)
        raise Unreachable(
            f"{names} cannot be fetched: {pip.reason(answer.words)}",
            "check this host's network, proxy and pip's configuration (`pip config list`), then inv build",
        )
    # A checkout made under a strict umask: the image's user has to read it.
    for path in incoming.iterdir():
        path.chmod(0o644)
    shutil.rmtree(wheels, ignore_errors=True)
    incoming.replace(wheels)
