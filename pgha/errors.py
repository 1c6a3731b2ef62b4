"""One tree of errors. Each has a sentence, perhaps a hint with the next command, and an exit code."""

from __future__ import annotations


class PghaError(Exception):
    """Base of every error an operator may see.

    `message` is one sentence that names the thing; `hint` is the next command or setting to change.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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


class Missing(PghaError):
    """A precondition is missing: no engine, no image, no stanza, nothing is up."""

    exit_code = 3


class ToolFailed(PghaError):
    """A tool answered with a failure, or with something that is not an answer; its own words follow."""

    exit_code = 4

    def __init__(self, message: str, words: str = "", hint: str = "") -> None:
        tail = "\n".join(f"  | {line}" for line in words.strip().splitlines()[-20:])
        super().__init__(f"{message}\n{tail}" if tail else message, hint)
        self.words = words


class Unreachable(PghaError):
    """A host, mirror or registry does not answer, or refuses the key, or shows another host key."""

    exit_code = 5


class TimedOut(PghaError):
    """What was waited for did not come in time."""

    exit_code = 6


class Missed(PghaError):
    """A drill measured something worse than was promised."""

    exit_code = 7
