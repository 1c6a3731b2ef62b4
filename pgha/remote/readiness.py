"""Whether this host's engine answers, and whether there is a Compose that goes with it."""

from __future__ import annotations

import os
import shutil
import socket
from functools import lru_cache

from pgha.errors import NotReady, PghaError, TimedOut, Unreachable
from pgha.remote import shell
from pgha.tools import docker, docker_client


@lru_cache(maxsize=8)
def _endpoint(host: str, context: str) -> docker_client.Endpoint:
    """Where the client finds the engine: DOCKER_HOST, else its context (rootless, Desktop, another machine).

    An old client that knows no contexts, or one whose context is broken, shows itself by its answer to `version`.
    """
    if host:
        return docker_client.Endpoint(host, "DOCKER_HOST")
    answer = shell.run(docker_client.context())
    return docker_client.parse_context(answer.stdout) if answer.ok else docker_client.Endpoint("", context)


def endpoint() -> docker_client.Endpoint:
    """Where this host's client finds its engine."""
    return _endpoint(os.environ.get("DOCKER_HOST", ""), os.environ.get("DOCKER_CONTEXT", ""))


def engine_problem() -> PghaError | None:
    """Why the engine cannot be used, or None. Asks the socket itself, not the words of an error message."""
    if shutil.which("docker") is None:
        return NotReady("docker is not installed on this host", "inv setup")
    where = endpoint()
    if not where.socket:
        return None if server_version() else Unreachable(f"The engine at {where} does not answer", where.hint)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(where.socket)
        except PermissionError:
            return NotReady(
                f"This user may not talk to the container engine ({where.socket})",
                "add the user to the group docker and log in again, or run as root",
            )
        except (FileNotFoundError, ConnectionRefusedError):
            return NotReady(f"The container engine is not running ({where})", where.hint or "inv setup")
        except OSError as error:
            return NotReady(f"The container engine does not answer: {error}", where.hint or "inv setup")
    return None


def server_version() -> str:
    """The engine's version; nothing when it does not answer."""
    try:
        answer = shell.run(docker_client.server_version())
    except TimedOut:
        return ""
    return answer.stdout.strip() if answer.ok else ""


def require_engine() -> None:
    """Raises Missing when there is no engine this user can use."""
    problem = engine_problem()
    if problem:
        raise problem


@lru_cache(maxsize=1)
def find_compose() -> docker.Compose | None:
    """The Compose plugin (v2) if there is one, else the program, which may be either."""
    if shutil.which("docker") and shell.run(docker.docker("compose", "version")).ok:
        return docker.PLUGIN
    return docker.PROGRAM if shutil.which("docker-compose") else None


@lru_cache(maxsize=1)
def compose_version() -> str:
    """Which Compose there is; v1 takes half a second to tell."""
    found = find_compose()
    answer = shell.run(found.version()) if found else None
    return answer.stdout.strip() if answer and answer.ok else ""


def compose_problem() -> PghaError | None:
    """Why Compose cannot be used with this engine, or None."""
    found = find_compose()
    if found is None:
        return NotReady("Docker Compose is not installed on this host", "inv setup")
    version = server_version()
    # Only then is the slow question worth it.
    if docker_client.is_new_engine(version) and not docker_client.fits_together(compose_version(), version):
        return NotReady(
            f"Docker Compose {compose_version()} cannot make containers again on an engine {version}: "
            "they would be stopped and stay so",
            "inv setup installs Compose v2 where apt has it; else https://docs.docker.com/compose/install/linux",
        )
    return None


def require_compose() -> docker.Compose:
    found = find_compose()
    if found is None:
        raise NotReady("Docker Compose is not installed on this host", "inv setup")
    return found


def require_fitting_compose() -> None:
    """Raises NotReady when there is no Compose, or none that goes with this engine."""
    problem = compose_problem()
    if problem:
        raise problem
