"""What was begun and has not ended, and what it left."""

from __future__ import annotations

from collections.abc import Iterator

from pgha.backup.restore_record import describe_restore, way_on
from pgha.cluster.rollout_record import describe_rollout
from pgha.errors import PghaError
from pgha.project import upgrade_record
from pgha.recover.record import COMMAND as RECOVER
from pgha.recover.record import describe_recovery
from pgha.stack.rotating import completes
from pgha.status.kinds import Kind, Problem
from pgha.status.seen import Seen


def restore(seen: Seen) -> Iterator[Problem]:
    """A restore has begun and has not ended."""
    if seen.half_done:
        yield Problem(Kind.RESTORE_HALF_DONE, "", describe_restore(seen.half_done), way_on(seen.half_done))


def recovery(seen: Seen) -> Iterator[Problem]:
    """So has a recovery from lost sites."""
    if isinstance(seen.recovery, PghaError):
        yield Problem(Kind.RECORD_DAMAGED, "", seen.recovery.message, seen.recovery.hint)
    elif seen.recovery:
        hint = f"{RECOVER} completes it"
        yield Problem(Kind.RECOVERY_HALF_DONE, "", describe_recovery(seen.recovery), hint)


def upgrade(seen: Seen) -> Iterator[Problem]:
    """So has an upgrade to another major version."""
    if isinstance(seen.upgrade, PghaError):
        yield Problem(Kind.RECORD_DAMAGED, "", seen.upgrade.message, seen.upgrade.hint)
    elif seen.upgrade:
        way = upgrade_record.way_on(seen.upgrade)
        yield Problem(Kind.UPGRADE_HALF_DONE, "", upgrade_record.describe_upgrade(seen.upgrade), way)


def gone(seen: Seen) -> Iterator[Problem]:
    """Hosts that were given up: what is left is less than the settings say. One that comes back as it was knows nothing
    of that."""
    for name, state in seen.gone.items():
        if state:
            sentence = f"{name} was given up, and its container is there again ({state})"
            yield Problem(Kind.GONE_IS_BACK, name, sentence, "inv up removes it; its volume stays")
    if seen.gone and not seen.scaling:
        sentence = f"given up when their sites were lost: {', '.join(seen.gone)}"
        yield Problem(Kind.HOSTS_GONE, "", sentence, "inv scale makes them anew")


def rollout(seen: Seen) -> Iterator[Problem]:
    """So has a change of one member after another."""
    if isinstance(seen.rollout, PghaError):
        yield Problem(Kind.RECORD_DAMAGED, "", seen.rollout.message, seen.rollout.hint)
    elif seen.rollout:
        record = seen.rollout
        yield Problem(Kind.ROLLOUT_HALF_DONE, "", describe_rollout(record), f"{record.command} goes on with it")


def scaling(seen: Seen) -> Iterator[Problem]:
    """So has a change of the shape."""
    if seen.scaling:
        to = f"-d {seen.scaling.get('data_centers')} -p {seen.scaling.get('nodes')}"
        yield Problem(Kind.SCALE_HALF_DONE, "", f"a scale to {to} is half done", f"inv scale {to}")


def replacing(seen: Seen) -> Iterator[Problem]:
    """So has the replacement of a host."""
    if seen.replacing:
        flag = "node" if seen.replacing in seen.told else "etcd"
        sentence = f"{seen.replacing} is being replaced, and not whole again"
        yield Problem(Kind.REPLACE_HALF_DONE, seen.replacing, sentence, f"inv replace --{flag} {seen.replacing}")


def rotation(seen: Seen) -> Iterator[Problem]:
    """So has a rotation of secrets."""
    if seen.rotating and not isinstance(seen.rotating, PghaError):
        sentence = f"a rotation of the {seen.rotating} is half done"
        yield Problem(Kind.ROTATION_HALF_DONE, "", sentence, completes(seen.rotating))
