"""One tree of errors, one class a condition: a sentence, perhaps a hint with the next command, and an exit code.

The branches are the exit codes; the leaves are what a program may want to distinguish (`kind`, in `--json`).
"""

from __future__ import annotations

import re
from typing import Any


class PghaError(Exception):
    """Base of every error an operator may see.

    `message` is one sentence that names the thing; `hint` is the next command or setting to change.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.document: dict[str, Any] = {}
        """what the task had to show all the same: with `--json` it is one document with the error"""

    @property
    def kind(self) -> str:
        """The condition's name for programs: `no_leader`."""
        return kind_of(type(self))


def kind_of(error: type[PghaError]) -> str:
    """The name of a class of errors for programs."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__).lower()


class BadValue(PghaError):
    """A setting, flag or candidate that cannot be, or a command refused."""

    exit_code = 2


class BadSettings(BadValue):
    """All wrong settings at once, each with its key."""

    def __init__(self, problems: list[str]) -> None:
        count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        super().__init__(
            "\n  ".join([f"{count} wrong:", *problems]),
            "change them in invoke.yaml, in INVOKE_PGHA_... or on the command line; see docs/settings.md",
        )
        self.problems = problems


class LosesQuorum(BadValue):
    """What was asked would take etcd's quorum away."""


class LosesStandbys(BadValue):
    """What was asked would leave fewer standbys than a commit waits for, or nobody who can take over."""


class IsLeader(BadValue):
    """What was asked cannot be done to the member that leads."""


class HasQuorum(BadValue):
    """etcd can commit: what was asked is for when it cannot."""


class SiteAnswers(BadValue):
    """What was taken for lost answers, or is not lost."""


class OtherTransport(BadValue):
    """What runs speaks TLS and the settings say not, or the other way round."""


class LosesData(BadValue):
    """What was asked may lose what was committed; it has to be accepted."""


class Missing(PghaError):
    """A precondition is missing: no engine, no image, no stanza, nothing is up."""

    exit_code = 3


class NotReady(Missing):
    """This host lacks an engine, Compose, a program, or the right to use it."""


class NotBuilt(Missing):
    """An image is not built."""


class NotRendered(Missing):
    """The project has no files yet."""


class NotUp(Missing):
    """The project's containers do not run."""


class Busy(Missing):
    """Another command changes the project."""


class Damaged(Missing):
    """A file of this checkout (a record, passwords, a key) is gone, or is not what it should be."""


class OtherData(Missing):
    """The volumes hold data that was made with other settings."""


class OtherCheckout(Missing):
    """The project of this name belongs to another checkout."""


class SubnetTaken(Missing):
    """The addresses for the containers are somebody else's, or none is free."""


class PortTaken(Missing):
    """A port is taken by another program or project."""


class HalfDone(Missing):
    """Something that was interrupted has to be completed or undone first."""


class NoLeader(Missing):
    """No member leads: writes are not accepted."""


class NoQuorum(Missing):
    """etcd has lost its quorum."""


class NoStanza(Missing):
    """There is no stanza, or WAL is not archived yet."""


class NoBackup(Missing):
    """There is no backup."""


class NoRoom(Missing):
    """A disk is too small."""


class Unhealthy(Missing):
    """The cluster is not well enough for what was asked."""


class Parted(Missing):
    """Hosts that are needed together do not reach each other."""


class ToolFailed(PghaError):
    """A tool answered with a failure, or with something that is not an answer; its own words follow."""

    exit_code = 4

    def __init__(self, message: str, words: str = "", hint: str = "") -> None:
        tail = "\n".join(f"  | {line}" for line in words.strip().splitlines()[-20:])
        super().__init__(f"{message}\n{tail}" if tail else message, hint)
        self.words = words


class CutOff(ToolFailed):
    """A member does not answer, and what answers beside it sees no etcd majority."""


class NoConnection(ToolFailed):
    """A Postgres takes no connections: it starts, it ends, or all are in use."""


class ConnectionsUsedUp(NoConnection):
    """A Postgres takes no more connections."""


class UpgradeRefused(ToolFailed):
    """pg_upgrade does not take the data, or a copy of its schemas."""


class BackupNotGood(ToolFailed):
    """A backup was restored and looked at, and it is damaged."""


class BackupUnchecked(ToolFailed):
    """Something else stopped the check of a backup: it may be as good as ever."""


class Unreachable(PghaError):
    """A host, mirror or registry does not answer, or refuses the key, or shows another host key."""

    exit_code = 5


class OtherKeys(Unreachable):
    """A host refuses this checkout's key, or shows another host key than it knows."""


class MachineUnreachable(Unreachable):
    """A machine does not answer, or its container engine does not."""


class TimedOut(PghaError):
    """What was waited for did not come in time."""

    exit_code = 6


class Missed(PghaError):
    """A drill measured something worse than was promised."""

    exit_code = 7


class Interrupted(PghaError):
    """Ctrl-C; the sentence and the hint say what became of the work."""

    exit_code = 130
