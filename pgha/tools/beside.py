"""Containers beside Compose's, which knows nothing of them: clones, and copies that go when a command ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pgha.model import privileges
from pgha.tools.command import Command
from pgha.tools.docker import docker


def run(name: str, image: str, arguments: Sequence[str], *, labels: Sequence[str], network: str, port: str,
        shm_size: str, files: dict[str, str], environment: dict[str, str],
        started: bool = True) -> Command:  # fmt: skip
    """A container of its own, beside Compose's; `files` are secrets: name inside -> path here. Its root can give files
    to other users, and nothing else."""
    begin = ("run", "--detach") if started else ("create",)
    argv = [*begin, "--init", "--name", name, "--hostname", name.rsplit("-", 1)[-1]]
    argv += ["--cap-drop", "ALL", *(w for right in privileges.FILES for w in ("--cap-add", right))]
    argv += ["--security-opt", "no-new-privileges:true"]
    for label in labels:
        argv += ["--label", label]
    argv += ["--network", network, "--publish", port, "--shm-size", shm_size]
    for key, value in environment.items():
        argv += ["--env", f"{key}={value}"]
    for inside, path in files.items():
        argv += ["--volume", f"{path}:/run/secrets/{inside}:ro"]
    return docker(*argv, image, *arguments)


def label(project: str) -> str:
    """What marks a throwaway clone, which Compose knows nothing of."""
    return f"pgha.clone={project}"


def listed(project: str) -> Command:
    return docker("ps", "--all", "--filter", f"label={label(project)}", "--format", "{{.ID}}")


def look(container: str) -> Command:
    """A line when there is a container of this name: its state, and what it publishes."""
    return docker("ps", "--all", "--filter", f"name=^{container}$", "--format", "{{.Names}} {{.State}} {{.Ports}}")


@dataclass(frozen=True)
class Beside:
    """A container beside the cluster, such as a clone."""

    name: str
    state: str
    port: int | None
    """where it is published, while it runs"""


def parse(text: str) -> Beside | None:
    """The answer to `look`; None when there is no such container."""
    if not text.strip():
        return None
    name, state, ports = [*text.split(maxsplit=2), ""][:3]
    port = re.search(r":(\d+)->", ports)
    return Beside(name, state, int(port[1]) if port else None)
