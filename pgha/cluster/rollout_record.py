"""A rollout under way: how far it came, in build/<project>/rollout.yaml."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml

from pgha.model.words import time_of, time_text
from pgha.project.files import write_file
from pgha.project.half_done import read_half_done, require_texts
from pgha.project.project import Project

FILE = "rollout.yaml"


@dataclass(frozen=True)
class Record:
    """A rollout that has not ended."""

    verb: str
    """up or restart"""
    began: float
    """seconds since the epoch"""
    asked: dict[str, str] = field(default_factory=dict)
    """the flags it was called with: the same ones go on with it"""
    at: str = ""
    """the host whose turn it is, written down before it is touched"""
    done: list[str] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    """member -> when its Postgres had been started before; one that was started since is done, whoever did it"""

    @property
    def command(self) -> str:
        """What goes on with it."""
        flags = "".join(f" --{name}" if value == "yes" else f" --{name} {value}" for name, value in self.asked.items())
        return f"inv {self.verb}{flags}"


def read_rollout(project: Project) -> Record | None:
    """The rollout that is half done, if any. Raises Damaged when its record cannot be read."""
    hint = "rm {name}, then inv up: it makes again what is not as it should be"
    return read_half_done(project, FILE, "a rollout", hint, _parse)


def _parse(document: Any) -> Record:
    record = Record(**document)
    time_of(record.began)
    require_texts(record.verb, record.at, *record.done, *record.marks.values(), *record.asked.values())
    return record


def write_rollout(project: Project, record: Record) -> Record:
    write_file(project.folder / FILE, yaml.safe_dump(asdict(record), sort_keys=False))
    return record


def begin_turn(project: Project, record: Record, host: str) -> Record:
    return write_rollout(project, replace(record, at=host))


def end_turn(project: Project, record: Record, host: str) -> Record:
    return write_rollout(project, replace(record, at="", done=[*record.done, host]))


def forget_rollout(project: Project, verb: str = "") -> None:
    """It is over, or given up; with a verb, only one of that."""
    if verb:
        record = read_rollout(project)
        if record is None or record.verb != verb:
            return
    (project.folder / FILE).unlink(missing_ok=True)


def describe_rollout(record: Record) -> str:
    """One line for `status` and for refusals."""
    began = time_text(time_of(int(record.began)))
    where = f", at {record.at}" if record.at else ""
    done = f"; done: {', '.join(record.done)}" if record.done else ""
    return f"a rollout ({record.command}, begun {began}) is half done{where}{done}"
