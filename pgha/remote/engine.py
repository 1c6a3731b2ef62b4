"""The container engine of this host: is it there, what runs on it, and Compose in whichever version there is."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pgha.errors import Missing, PghaError, TimedOut, ToolFailed, Unreachable
from pgha.project.project import Project
from pgha.remote import shell
from pgha.tools import docker
from pgha.tools.command import Answer, Command
from pgha.waiting import wait_until

SOCKET = Path("/var/run/docker.sock")

PORT_TAKEN = "address already in use"

PORT_PATIENCE = 90
"""Seconds to wait for a port that another connection had: TIME-WAIT lasts 60 on Linux (tcp(7))."""


@dataclass(frozen=True)
class Volume:
    """A named volume of a project and what it was made for."""

    name: str
    shape: str
    passwords: str


def engine_problem() -> PghaError | None:
    """Why the engine cannot be used, or None. Asks the socket itself, not the words of an error message."""
    if shutil.which("docker") is None:
        return Missing("docker is not installed on this host", "inv setup")
    remote = os.environ.get("DOCKER_HOST", "")
    path = Path(remote.removeprefix("unix://")) if remote.startswith("unix://") else SOCKET
    if remote and not remote.startswith("unix://"):
        try:
            answers = shell.run(docker.docker("version", "--format", "{{.Server.Version}}", timeout=15)).ok
        except TimedOut:
            answers = False
        return None if answers else Unreachable(f"The engine at DOCKER_HOST={remote} does not answer")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except PermissionError:
            return Missing(
                f"This user may not talk to the container engine ({path})",
                "add the user to the group docker and log in again, or run as root",
            )
        except (FileNotFoundError, ConnectionRefusedError):
            return Missing(f"The container engine is not running ({path})", "inv setup")
        except OSError as error:
            return Missing(f"The container engine does not answer: {error}", "inv setup")
    return None


def require_engine() -> None:
    """Raises Missing when there is no engine this user can use."""
    problem = engine_problem()
    if problem:
        raise problem


@lru_cache(maxsize=1)
def find_compose() -> docker.Compose | None:
    """The Compose plugin (v2) if there is one, else the old program (v1)."""
    if shutil.which("docker") and shell.run(docker.docker("compose", "version")).ok:
        return docker.PLUGIN
    return docker.PROGRAM if shutil.which("docker-compose") else None


def require_compose() -> docker.Compose:
    compose = find_compose()
    if compose is None:
        raise Missing("Docker Compose is not installed on this host", "inv setup")
    return compose


def compose(
    project: Project,
    message: str,
    *arguments: str,
    timeout: float = 300,
    line: Callable[[str], None] | None = None,
) -> Answer:
    """Compose on the project's rendered file. Raises ToolFailed with `message` and Compose's words."""
    command = require_compose().command(project.compose_file, project.name, *arguments, timeout=timeout)
    # v2's default build and progress output moves the cursor; v1 knows no such variable.
    answer = shell.run(command, environment={"COMPOSE_PROGRESS": "plain", "COMPOSE_ANSI": "never"}, line=line)
    if not answer.ok:
        raise ToolFailed(message, answer.words)
    return answer


def revive(project: Project) -> None:
    """Resume paused containers: one that is paused answers no signal and would block Compose."""
    if any(container.state == "paused" for container in containers(project)):
        compose(project, "Compose could not resume paused containers", "unpause")


def start(names: Sequence[str], hint: str) -> None:
    """Start containers. While they did not run, a client's outgoing connection may have got one of their ports; when
    it ends, the kernel keeps that for another minute (TIME-WAIT).

    Raises TimedOut with `hint` when a port is not free after PORT_PATIENCE seconds, ToolFailed for what else is wrong.
    """
    command = docker.signal("start", names)
    answer = wait_until(
        lambda: shell.run(command),
        lambda answer: answer.ok or PORT_TAKEN not in answer.words,
        "The ports of the containers are free",
        timeout=PORT_PATIENCE,
        interval=2,
        explain=lambda answer: answer.last_words,
        hint=f"ss -tan tells who has them; {hint}",
    )
    if not answer.ok:
        raise ToolFailed(f"docker failed: {command}", answer.words)


def containers(project: Project) -> tuple[docker.Container, ...]:
    """The project's containers, running or not."""
    names = _listed(docker.containers(project.name))
    if not names:
        return ()
    return docker.parse_containers(must(docker.inspect("container", names)).stdout)


def volumes(project: Project) -> tuple[Volume, ...]:
    """The project's volumes."""
    names = _listed(docker.volumes(project.name))
    if not names:
        return ()
    return tuple(_volume(entry) for entry in docker.parse_inspect(must(docker.inspect("volume", names)).stdout))


def _volume(entry: dict[str, Any]) -> Volume:
    labels = entry.get("Labels") or {}
    return Volume(entry["Name"], labels.get("pgha.shape", ""), labels.get("pgha.passwords", ""))


def log_since(container: str, since: float) -> str:
    """What a container wrote since then (seconds since the epoch)."""
    answer = must(docker.logs_since(container, int(since)))
    return answer.stdout + answer.stderr


def has_image(name: str) -> bool:
    return shell.run(docker.image_exists(name)).ok


def _listed(command: Command) -> list[str]:
    return must(command).stdout.split()


def must(command: Command) -> Answer:
    return shell.must(command, f"docker failed: {command}")


def container_names(project: Project) -> dict[str, docker.Container]:
    """The project's containers by host name."""
    return {container.service: container for container in containers(project)}
