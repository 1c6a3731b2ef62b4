"""cron inside the containers: a user crontab of postgres, and how each job ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from pgha.errors import ToolFailed
from pgha.tools import pgbackrest, space
from pgha.tools.command import Command

REPOSITORY_FOLDER = "/pgha/pgbackrest/.scheduled"
NODE_FOLDER = "/pgdata/scheduled"
"""Where `scheduled` (images/base) keeps the results: on the volume, so that they outlive the container."""


@dataclass(frozen=True)
class Entry:
    """One line of a crontab."""

    times: str
    folder: str
    name: str
    command: Command

    @property
    def line(self) -> str:
        # In a crontab a % ends the command.
        command = str(recorded(self.folder, self.name, self.command)).replace("%", r"\%")
        return f"{self.times} {command}"


@dataclass(frozen=True)
class Result:
    """How a job ended last. Times are seconds since the epoch."""

    job: str
    started: int
    ended: int
    exit_code: int
    words: str = ""
    """the last error it said, when it failed"""


def recorded(folder: str, job: str, command: Command) -> Command:
    """A command whose end is kept for `inv status` (images/base/scheduled)."""
    return replace(command, argv=("scheduled", folder, job, *command.argv))


def install(text: str) -> Command:
    """Make this the crontab of postgres; cron notices within a minute."""
    return Command(("sh", "-c", 'printf %s "$1" | crontab -', "crontab", text), timeout=15)


def results(folder: str, places: str) -> Command:
    """Every job's last result, the last verification, and how full the disks of these places are, a JSON document per
    line; one round for all of it."""
    files = f"{folder}/*.json {pgbackrest.VERIFIED}"
    return Command(("sh", "-c", f"cat {files} 2>/dev/null; {space.ask(places)}"), timeout=15)


def log(folder: str, job: str) -> Command:
    """What a job said when it ran last."""
    return Command(("cat", f"{folder}/{job}.log"), timeout=15)


def table() -> Command:
    """What cron runs, as it is installed; nothing when there is no table."""
    return Command(("sh", "-c", "crontab -l 2>/dev/null || true"), timeout=15)


def parse_table(text: str) -> dict[str, str]:
    """Job -> its times, from the lines that run `scheduled`."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if "scheduled" in fields[5:6] and not line.startswith("#"):
            found[fields[7]] = " ".join(fields[:5])
    return found


def parse_results(text: str) -> dict[str, Result]:
    """Job name -> its last result; other documents are skipped. Raises ToolFailed on what is no JSON."""
    found = {}
    for line in filter(None, text.splitlines()):
        try:
            entry = json.loads(line)
            if "job" in entry:
                words = entry.get("words", "")
                result = Result(entry["job"], entry["started"], entry["ended"], entry["exit_code"], words)
                found[result.job] = result
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolFailed("A scheduled job's result cannot be read", line) from error
    return found
