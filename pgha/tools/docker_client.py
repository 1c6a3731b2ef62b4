"""The engine's client: where it finds the engine, and which versions go together."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime

from pgha.errors import ToolFailed
from pgha.tools import docker
from pgha.tools.command import Command
from pgha.tools.versions import major


@dataclass(frozen=True)
class Endpoint:
    """Where the client finds the engine."""

    address: str
    """`unix:///var/run/docker.sock`, `tcp://...`, `ssh://...`; nothing when the client cannot tell"""
    context: str
    """the Docker context, or DOCKER_HOST"""

    @property
    def socket(self) -> str:
        """The path of the socket; nothing when it is none."""
        return self.address.removeprefix("unix://") if self.address.startswith("unix://") else ""

    @property
    def is_own(self) -> bool:
        """Whether it is the engine that `inv setup` installs and starts, as far as the client's settings tell."""
        return self.context in ("default", "DOCKER_HOST")

    @property
    def hint(self) -> str:
        """What to do when it is not: starting another engine would be no help."""
        return "" if self.is_own else "start the engine of that Docker context, or: docker context use default"

    def __str__(self) -> str:
        if self.context == "default":
            return self.socket or self.address
        if self.context == "DOCKER_HOST":
            return f"DOCKER_HOST={self.address}"
        return f"Docker context {self.context}" + (f", {self.address}" if self.address else "")


def context() -> Command:
    """The context in use, as DOCKER_CONTEXT and the client's configuration say."""
    return docker.docker("context", "inspect", "--format", "{{.Name}} {{.Endpoints.docker.Host}}", timeout=15)


def parse_context(text: str) -> Endpoint:
    name, _, address = text.strip().partition(" ")
    return Endpoint(address, name)


def server_version() -> Command:
    return docker.docker("version", "--format", "{{.Server.Version}}", timeout=15)


@dataclass(frozen=True)
class Info:
    """What an engine says of the machine it runs on."""

    version: str
    architecture: str
    """`x86_64`"""
    cpus: int
    memory: int
    """bytes"""
    time: datetime


def info() -> Command:
    return docker.docker("info", "--format", "{{json .}}", timeout=15)


def parse_info(text: str) -> Info:
    """Raises ToolFailed when it is something else."""
    try:
        found = json.loads(text)
        # With nanoseconds, which datetime does not read.
        time = datetime.fromisoformat(re.sub(r"(\.\d{1,6})\d*", r"\1", found["SystemTime"]))
        return Info(found["ServerVersion"], found["Architecture"], int(found["NCPU"]), int(found["MemTotal"]), time)
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("docker info says nothing of its machine", text[:2000]) from error


def is_new_engine(version: str) -> bool:
    """From 25 on an engine's answers lack ContainerConfig, which Compose v1 reads when it makes a container again."""
    return major(version) >= 25


def fits_together(compose: str, engine: str) -> bool:
    """Whether this Compose can make containers again on this engine; an unknown version is believed to."""
    return not (is_new_engine(engine) and major(compose) == 1)
