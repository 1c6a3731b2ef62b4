"""A major upgrade under way: how far it came, in build/<project>/upgrade.yaml, and what may be done with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import yaml

from pgha.errors import HalfDone
from pgha.model.words import time_of, time_text
from pgha.project.files import write_file
from pgha.project.half_done import read_half_done
from pgha.project.project import Project

FILE = "upgrade.yaml"


class Stage(StrEnum):
    """In this order; each is recorded when it begins."""

    HELD = "held"
    """the members are being stopped"""
    UPGRADING = "upgrading"
    """pg_upgrade is at work, and the containers are made again"""
    LEADING = "leading"
    """the new leader is let go: from here on there is no way back"""
    CLONING = "cloning"
    FINISHING = "finishing"


NO_WAY_BACK = (Stage.LEADING, Stage.CLONING, Stage.FINISHING)


@dataclass(frozen=True)
class Record:
    """A major upgrade under way."""

    old: int
    new: int
    """majors"""
    began: float
    """seconds since the epoch"""
    leader: str
    """whose data is upgraded"""
    flags: dict[str, str]
    """those of `inv render` when it began"""
    stage: Stage = Stage.HELD
    slots: list[str] = field(default_factory=list)
    """logical slots that are given up"""
    label: str = ""
    """the backup that was taken before"""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What goes on with it."""
        return f"inv upgrade --major {self.new}"

    @property
    def may_go_back(self) -> bool:
        return self.stage not in NO_WAY_BACK


def read_upgrade(project: Project) -> Record | None:
    """The upgrade that is half done, if any. Raises Damaged when its record cannot be read."""
    hint = "look at it; when no upgrade is under way: rm {name}"
    return read_half_done(project, FILE, "a major upgrade", hint, _parse)


def _parse(document: Any) -> Record:
    record = Record(**document)
    time_of(record.began)
    return replace(record, stage=Stage(record.stage), old=int(record.old), new=int(record.new))


def write_upgrade(project: Project, record: Record, **changes: Any) -> Record:
    record = replace(record, **changes)
    write_file(project.folder / FILE, yaml.safe_dump({**asdict(record), "stage": str(record.stage)}, sort_keys=False))
    return record


def forget_upgrade(project: Project) -> None:
    """It has ended, or is undone."""
    (project.folder / FILE).unlink(missing_ok=True)


def has_reached(record: Record, stage: Stage) -> bool:
    stages = list(Stage)
    return stages.index(record.stage) >= stages.index(stage)


def describe_upgrade(record: Record) -> str:
    """One line for `status` and for refusals."""
    began = time_text(time_of(int(record.began)))
    return f"an upgrade from PostgreSQL {record.old} to {record.new} is half done (stage {record.stage}, begun {began})"


def way_on(record: Record) -> str:
    """A hint."""
    back = ", inv upgrade --abort brings the old cluster back" if record.may_go_back else ""
    return f"{record.command} --yes completes it{back}"


def refuse_half_upgraded(project: Project) -> None:
    """Raises HalfDone while a major upgrade is half done: nothing else may change the cluster then."""
    record = read_upgrade(project)
    if record:
        sentence = describe_upgrade(record)
        raise HalfDone(sentence[0].upper() + sentence[1:], way_on(record))
