"""A restore under way: how far it came, and what may be done with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import yaml

from pgha.backup.targets import Request
from pgha.documents import read_yaml
from pgha.errors import Damaged, HalfDone
from pgha.model.words import time_of, time_text
from pgha.project.files import write_file
from pgha.project.project import Project

FILE = "restore.yaml"


class Stage(StrEnum):
    """In this order; a stage is recorded when it begins, `restored`, `proven` and `promoted` when they are reached."""

    HELD = "held"
    RESTORING = "restoring"
    RESTORED = "restored"
    PROVEN = "proven"
    PROMOTED = "promoted"
    LEADING = "leading"
    CLONING = "cloning"


NO_WAY_BACK = (Stage.LEADING, Stage.CLONING)
"""From here on the restored leader is in charge, and `--abort` is refused."""


@dataclass(frozen=True)
class Record:
    """A restore under way, as build/<project>/restore.yaml keeps it."""

    request: dict[str, str]
    began: float
    """seconds since the epoch"""
    stage: Stage = Stage.HELD
    leader: str = ""
    """the leader when it began; nothing when there was none"""
    keep: str = ""
    """the member whose data is not touched before the new state is proven; nothing when none has data"""
    node: str = ""
    """where the restored data is"""
    config: dict[str, Any] = field(default_factory=dict)
    """the dynamic configuration, to be put back"""
    label: str = ""
    kind: str = ""
    value: str = ""
    timeline: int = 0
    parents: list[list[int]] = field(default_factory=list)
    """the history recovery follows: `timeline` and how it came about"""
    reached: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_restore(project: Project) -> Record | None:
    """The restore that is half done, if any. Raises Missing when its record cannot be read."""
    path = project.folder / FILE
    if not path.exists():
        return None
    try:
        record = Record(**read_yaml(path.read_text()))
        Request(**record.request)
        time_of(record.began)
        return replace(record, stage=Stage(record.stage))
    except (OSError, ValueError, TypeError, OverflowError, yaml.YAMLError) as error:
        raise Damaged(
            f"{project.relative(path)}, the record of a restore, is damaged ({type(error).__name__})",
            f"look at it; when no restore is under way: rm {project.relative(path)}",
        ) from None


def write_restore(project: Project, record: Record) -> Record:
    write_file(project.folder / FILE, yaml.safe_dump({**asdict(record), "stage": str(record.stage)}, sort_keys=False))
    return record


def describe_restore(record: Record) -> str:
    """One line for `status` and for refusals."""
    began = time_text(time_of(int(record.began)))
    return f"a restore to {Request(**record.request)} is half done (stage {record.stage}, begun {began})"


def describe_target(record: Record) -> str:
    """Where recovery stops."""
    if record.kind == "time":
        return f"time {time_text(datetime.fromisoformat(record.value))}"
    return f"{record.kind} {record.value}" if record.value else "the end of the backup"


def way_on(record: Record) -> str:
    if record.stage in NO_WAY_BACK:
        return "inv restore --yes completes it"
    return "inv restore --yes completes it, inv restore --abort brings the old cluster back"


def refuse_half_done(project: Project) -> None:
    """Raises Missing while a restore is half done: nothing else may change the cluster then."""
    record = read_restore(project)
    if record:
        sentence = describe_restore(record)
        raise HalfDone(sentence[0].upper() + sentence[1:], way_on(record))


def enter_stage(project: Project, record: Record, stage: Stage, **changes: Any) -> Record:
    return write_restore(project, replace(record, stage=stage, **changes))


def has_reached(record: Record, stage: Stage) -> bool:
    stages = list(Stage)
    return stages.index(record.stage) >= stages.index(stage)
