"""The frame of every task that changes something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import invoke

from pgha.backup.restore_record import refuse_half_done
from pgha.cli.executor import project_of
from pgha.console import Progress
from pgha.errors import Interrupted
from pgha.project.project import Project
from pgha.project.upgrade_record import refuse_half_upgraded
from pgha.recover.record import refuse_half_recovered
from pgha.stack.fit import half_scaled
from pgha.stack.ownership import require_ours
from pgha.stack.rotating import refuse_half_rotated

COMPLETES = "the same command completes what it began"

_LEFT = "inv status shows what is left; inv chaos.heal brings everything back"

AFTER_INTERRUPT = {
    "failover": "Patroni may still complete it: inv status",
    "upgrade": "the same command goes on where it was, inv status tells where",
    "restart": "the same command goes on where it was, inv status tells where",
    "switchover": "Patroni may still complete it: inv status",
    "reinit": "Patroni goes on with it: inv status; the same command waits for it",
    "restore-point": "it may be set already; a restore goes to the first of two with one name",
    "backup": "inv info shows whether it ended; the same command takes one",
    "clone": "no half-made clone stays; the same command begins again",
    "verify": "the same command begins again",
    "drill": "inv status shows whether the cluster is whole; inv chaos.heal makes it so",
    **{f"chaos.{verb}": _LEFT for verb in ("stop", "kill", "pause", "partition", "wipe", "fill", "delay")},
}
"""What became of a command that Ctrl-C ended, where it is not COMPLETES."""


IN_ROTATION = ("rotate", "up", "start", "failover", "resume")
"""Commands that may run while a rotation is half done: they complete it, bring up what it needs, or
put somebody in charge. `up` looks for itself."""

BY_SETTINGS = ("build", "keys", "render", "up", "scale", "upgrade")
"""Commands that follow the settings; all others are about what runs, which the settings may have left."""


WHILE_HALF_SCALED = (
    "scale", "failover", "switchover", "stop", "start", "chaos.heal", "destroy", "backup", "build", "keys",
)  # fmt: skip
"""Commands that do no harm while a cluster has two shapes; the others wait until `inv scale` has ended."""


WHILE_HALF_RECOVERED = ("recover", "destroy", "build")
"""Commands that do no harm while a recovery from lost sites is half done."""

WHILE_HALF_UPGRADED = ("upgrade", "chaos.heal", "down", "destroy", "build")
"""Commands that do no harm while a cluster is between two majors."""


@contextmanager
def telling_interrupts(command: str) -> Iterator[None]:
    """Raises Interrupted for Ctrl-C, with what is true of this command then."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted: {command}", AFTER_INTERRUPT.get(command, COMPLETES)) from None


@contextmanager
def changing(
    context: invoke.Context,
    command: str,
    flags: dict[str, str] | None = None,
    *,
    during_restore: bool = False,
    any_checkout: bool = False,
) -> Iterator[tuple[Project, Progress]]:
    """The project of this call, locked against every other changing command.

    Unless `during_restore`, refused while a restore or a rotation is half done, and nearly always while a recovery or a
    major upgrade is; looked at under the lock, since one may have begun while this command was typed. Unless
    `any_checkout`, refused when the project is another checkout's. `flags` are those of `render`. Raises Missing with
    the way on.
    """
    project = project_of(context, flags, by_settings=command in BY_SETTINGS)
    with telling_interrupts(command), project.lock(command):
        if not during_restore:
            refuse_half_done(project)
            if command not in IN_ROTATION:
                refuse_half_rotated(project)
        if command not in WHILE_HALF_UPGRADED:
            refuse_half_upgraded(project)
        if not any_checkout:
            require_ours(project)
        if command not in WHILE_HALF_RECOVERED:
            refuse_half_recovered(project)
        scaling = project.record().scaling
        if scaling and command not in WHILE_HALF_SCALED:
            raise half_scaled(project, scaling)
        yield project, Progress()
