"""A command is a value: a builder returns it, one place runs it, a test compares it as a string."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """An argument list, and how long it may take (seconds; 0: as long as it likes).

    A remote command is ended by the remote side itself after that time: closing an SSH channel only stops
    listening. With `terminal` it runs on a terminal of its own instead and ends when the connection does, so
    that nothing long goes on behind an operator who pressed Ctrl-C.
    """

    argv: tuple[str, ...]
    timeout: float = 60
    terminal: bool = False

    def __str__(self) -> str:
        return shlex.join(self.argv)

    @property
    def remote_line(self) -> str:
        """The line for a remote shell."""
        if self.terminal or not self.timeout:
            return str(self)
        return shlex.join(("timeout", "-k", "5", f"{self.timeout:g}", *self.argv))


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    command: Command
    stdout: str
    stderr: str
    exit_code: int

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def words(self) -> str:
        """What the tool said, for an error: stderr, else stdout."""
        return self.stderr.strip() or self.stdout.strip()

    @property
    def last_words(self) -> str:
        """The last line of what the tool said."""
        return self.words.splitlines()[-1] if self.words else f"exit code {self.exit_code}"
