"""The frame of every task that changes something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import invoke

from pgha.backup.restore_record import refuse_half_done
from pgha.cli.executor import project_of
from pgha.console import Progress
from pgha.project.project import Project


@contextmanager
def changing(
    context: invoke.Context, command: str, flags: dict[str, str] | None = None, *, during_restore: bool = False
) -> Iterator[tuple[Project, Progress]]:
    """The project of this call, locked against every other changing command.

    Unless `during_restore`, refused while a restore is half done; looked at under the lock, since a restore may have
    begun while this command was typed. `flags` are those of `render`. Raises Missing with the way on.
    """
    project = project_of(context, flags)
    with project.lock(command):
        if not during_restore:
            refuse_half_done(project)
        yield project, Progress()
