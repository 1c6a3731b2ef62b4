"""Make this host ready: an engine that runs, Compose, and a way to get a base image."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pgha.console import Progress
from pgha.errors import NotReady, PghaError, Unreachable
from pgha.project.project import Project
from pgha.remote import postgres_client, readiness, shell
from pgha.remote.engine import HERE
from pgha.stack.machine_parts import check_machines
from pgha.tools import debian
from pgha.waiting import wait_until

DAEMON_LOG = Path("/var/log/dockerd.log")


@dataclass(frozen=True)
class Part:
    """One thing this host needs. `problem` is empty when it is there."""

    name: str
    found: str
    problem: str = ""
    packages: tuple[str, ...] = ()
    """What apt would install to get it."""
    optional: bool = False
    """It is not there, and nothing here needs it."""


def check_host(project: Project) -> list[Part]:
    """What is there and what lacks; changes nothing."""
    machines = [Part(*found) for found in check_machines(project)]
    return [_client(), _engine(), _compose(project), _base_image(project), _psql(), *machines]


def _client() -> Part:
    path = shutil.which("docker")
    if path:
        return Part("docker client", path)
    return Part("docker client", "", "docker is not installed", debian.ENGINE_PACKAGES)


def _engine() -> Part:
    problem = readiness.engine_problem()
    if problem is None:
        return Part("engine", "answers")
    packages = () if shutil.which("dockerd") else debian.ENGINE_PACKAGES
    return Part("engine", "", problem.message, packages)


def _compose(project: Project) -> Part:
    if readiness.find_compose() is None:
        return Part("compose", "", "Docker Compose is not installed", debian.COMPOSE_PACKAGES)
    # It runs against the machines' engines, and makes no container again there.
    used = readiness.engine_problem() is None and not project.topology.machines
    problem = readiness.compose_problem() if used else None
    if problem:
        return Part("compose", "", problem.message, debian.COMPOSE_PACKAGES)
    return Part("compose", f"{' '.join(readiness.require_compose().program)} {readiness.compose_version()}")


def _base_image(project: Project) -> Part:
    release = project.settings.release
    if readiness.engine_problem() is None and HERE.has_image(release.base_image):
        return Part("base image", f"{release.base_image} is here")
    bootstrap = shutil.which(debian.BOOTSTRAP_PACKAGE)
    if bootstrap and release.suite.distribution == "debian":
        return Part("base image", f"{bootstrap}, should {release.base_image} not be pullable")
    if release.suite.distribution != "debian" or not shutil.which("apt-get"):
        return Part("base image", f"{release.base_image} has to be pulled from a registry")
    return Part(
        "base image",
        "",
        f"without a registry {release.base_image} cannot be had",
        (debian.BOOTSTRAP_PACKAGE,),
    )


def _psql() -> Part:
    """inv psql brings its own, in the containers."""
    found = postgres_client.find()
    if found.psql:
        return Part("psql", found.text)
    return Part("psql", 'optional, for psql "$(inv dsn)": postgresql-client', optional=True)


def set_up(project: Project, progress: Progress) -> tuple[list[Part], list[str]]:
    """Install and start what lacks; returns the parts afterwards and what was done.

    Raises Missing when something lacks that only another user or another package manager can install.
    """
    parts = check_host(project)
    done: list[str] = []
    wanted = [part for part in parts if part.problem]
    if not wanted:
        return parts, done
    packages = [package for part in wanted for package in part.packages]
    if packages:
        done.append(_install(wanted, progress))
        readiness.find_compose.cache_clear()
        readiness.compose_version.cache_clear()
    if readiness.engine_problem() is not None:
        done.append(_start_engine(progress))
    parts = check_host(project)
    left = [part.problem for part in parts if part.problem]
    if left:
        raise NotReady("This host is not ready: " + "; ".join(left), "inv setup --check")
    return parts, done


def _install(parts: list[Part], progress: Progress) -> str:
    by_hand = "; ".join(f"{part.name}: {' or '.join(part.packages)}" for part in parts if part.packages)
    if shutil.which("apt-get") is None:
        raise NotReady("This host lacks packages and has no apt", f"install with its package manager: {by_hand}")
    if os.geteuid() != 0:
        raise NotReady("This host lacks packages and only root may install them", f"as root: inv setup ({by_hand})")
    with progress.stage("apt-get update"):
        answer = shell.run(debian.apt_update(), line=progress.detail)
    if not answer.ok:
        raise Unreachable(f"apt cannot reach the package mirror: {answer.last_words}", "apt-get update")
    packages: list[str] = []
    for part in parts:
        wanted = part.packages
        if part.name == "compose" and wanted:
            offers = debian.parse_policy(shell.run(debian.apt_policy(wanted)).stdout)
            wanted = (debian.compose_package(offers) or wanted[-1],)
        packages += [package for package in wanted if package not in packages]
    with progress.stage(f"apt-get install {' '.join(packages)}"):
        shell.must(debian.apt_install(packages), "apt-get install failed", line=progress.detail)
    return f"installed {', '.join(packages)}"


def _start_engine(progress: Progress) -> str:
    problem = readiness.engine_problem()
    assert problem is not None
    if not readiness.endpoint().is_own:
        # A second engine would not be the one that is asked.
        raise problem
    if os.geteuid() != 0:
        raise NotReady(problem.message, problem.hint if problem.hint != "inv setup" else "as root: inv setup")
    with progress.stage("start the engine"):
        if Path("/run/systemd/system").exists():
            subprocess.run(["systemctl", "start", "docker"], check=False, capture_output=True)
            how = "started docker.service"
        else:
            _start_detached()
            how = f"started dockerd, its log is {DAEMON_LOG}"
        wait_until(
            readiness.engine_problem,
            lambda left: left is None,
            "The container engine answers",
            timeout=60,
            interval=0.2,
            explain=_explain,
            hint=f"read {DAEMON_LOG}",
        )
    return how


def _explain(problem: PghaError | None) -> str:
    return problem.message if problem else ""


def _start_detached() -> None:
    """In a session of its own and with its output in a file: the daemon outlives this command."""
    if shutil.which("dockerd") is None:
        raise NotReady("dockerd is not installed on this host", "as root: inv setup")
    with DAEMON_LOG.open("ab") as log:
        subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
