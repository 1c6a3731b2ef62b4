"""Postgres nodes whose containers have to be made again, one at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pgha.cluster import leaving
from pgha.cluster.view import read_view, wait_until_well
from pgha.console import Progress
from pgha.project.project import Project
from pgha.remote import connections, engine


def make(project: Project, host: str, progress: Progress, *options: str) -> None:
    """Make this host's container by the compose file, with its volume where there is none, and no other."""
    message = f"Compose could not make {host}"
    engine.compose(project, message, "up", "--detach", "--no-deps", *options, host, line=progress.detail)
    connections.close_all()


def roll(project: Project, nodes: Iterable[str], progress: Progress, avoid: Collection[str] = ()) -> None:
    """Make these nodes again by the rendered files, each streaming and synchronous before the next; the one that leads
    comes last, after a switchover: not to one to `avoid`, if another one streams.

    The caller holds the lock. Goes on where an interrupted one ended: a node that is as the files say is not among
    `nodes`. Raises TimedOut at the first that does not come back.
    """
    left = list(nodes)
    while left:
        view = read_view(project)
        name = min(left, key=lambda node: view.leader is not None and view.leader.name == node)
        left.remove(name)
        others = [m.name for m in view.members if m.name != name and m.streams]
        if others:
            those = [name, *avoid] if set(others) - set(avoid) else [name]
            leaving.lead_elsewhere(project, view, those, progress)
        with progress.stage(f"make {name} again"):
            make(project, name, progress)
            wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail, names=[name])
        leaving.wait_for_synchronous(project, (), progress)
