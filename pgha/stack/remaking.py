"""Containers made, or made again, by the compose file, and no others."""

from __future__ import annotations

from collections.abc import Collection

from pgha.cluster.rolling import Work
from pgha.console import Progress
from pgha.errors import ToolFailed
from pgha.project.project import Project
from pgha.remote import connections, engine

ACTION = "made again"


def make(project: Project, host: str, progress: Progress, *options: str) -> None:
    """Make this host's container, with its volume where there is none."""
    message = f"Compose could not make {host}"
    engine.compose(project, message, "up", "--detach", "--no-deps", *options, host, line=progress.detail)
    connections.close_all()


def make_again(project: Project, hosts: Collection[str], again: Collection[str], progress: Progress) -> None:
    """Make these hosts' containers run, those `again` new ones. Each step leaves something that the same command
    completes: a container that is stopped, missing, or not started. (Compose 1.29 renames one before it makes it again,
    and leaves both behind when it is killed then.)"""
    if again:
        engine.signal(project, "stop", again)
        engine.remove(project, again)
    arguments = ("up", "--detach", "--no-deps", *hosts)
    try:
        engine.compose(project, f"Compose could not make {', '.join(hosts)}", *arguments, line=progress.detail)
    except ToolFailed as error:
        # A client's outgoing connection got one of its ports meanwhile.
        if engine.PORT_TAKEN not in error.words:
            raise
    states = {host: container.state for host, container in engine.containers(project).items()}
    away = [host for host in hosts if states.get(host) in ("created", "exited")]
    if away:
        engine.start(project, away, hint="inv up")


def in_turn(
    project: Project,
    progress: Progress,
    way_on: str,
    *,
    in_place: bool = False,
    avoid: Collection[str] = (),
    left_out: Collection[str] = (),
) -> Work:
    """Making a host's container again, when its turn comes."""
    made: set[str] = set()

    def act(host: str) -> None:
        make_again(project, [host], [host], progress)
        made.add(host)

    return Work(ACTION, act, lambda host: host in made, way_on, in_place, avoid=avoid, left_out=left_out)
