"""A recovery under way (build/<project>/recover.yaml), and what the last one had said and done (recovered.yaml)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import yaml

from pgha.documents import read_yaml
from pgha.errors import HalfDone
from pgha.model.words import time_of, time_text
from pgha.project.files import write_file
from pgha.project.half_done import read_half_done, require_texts
from pgha.project.project import Project

FILE, DONE = "recover.yaml", "recovered.yaml"

COMMAND = "inv recover --site-lost --accept-data-loss"


class Stage(StrEnum):
    """In this order; a stage is recorded when it begins."""

    FENCING = "fencing"
    """the lost hosts are written down as given up, and their containers removed"""
    ETCD = "etcd"
    """etcd becomes one member, with the data it has"""
    NODES = "nodes"
    """the nodes that are left know that member only"""
    LEADING = "leading"
    """the survivor that is furthest takes the lead"""
    FOLLOWING = "following"
    """the others stream from it"""


@dataclass(frozen=True)
class Record:
    """A recovery under way."""

    began: float
    """seconds since the epoch"""
    gone: list[str]
    etcd: str
    candidate: str
    beyond: list[str] = field(default_factory=list)
    """segments that the archive has beyond the candidate"""
    account: dict[str, Any] = field(default_factory=dict)
    """what was said before anything was done"""
    stage: Stage = Stage.FENCING


def read_recovery(project: Project) -> Record | None:
    """The recovery that is half done, if any. Raises Damaged when its record cannot be read."""
    hint = f"look at it; rm {{name}}, then {COMMAND} begins with what is left"
    return read_half_done(project, FILE, "a recovery", hint, _parse)


def _parse(document: Any) -> Record:
    record = Record(**document)
    time_of(record.began)
    require_texts(record.etcd, record.candidate, *record.gone, *record.beyond)
    return replace(record, stage=Stage(record.stage))


def enter_stage(project: Project, record: Record, stage: Stage) -> Record:
    """Write down that this stage begins."""
    record = replace(record, stage=stage)
    write_file(project.folder / FILE, yaml.safe_dump({**asdict(record), "stage": str(stage)}, sort_keys=False))
    return record


def finish(project: Project, record: Record, result: dict[str, Any]) -> None:
    """It is over: what was said and what came of it is kept."""
    done = {"began": record.began, "said": record.account, "done": result}
    write_file(project.folder / DONE, yaml.safe_dump(done, sort_keys=False))
    (project.folder / FILE).unlink(missing_ok=True)


def read_recovered(project: Project) -> dict[str, Any] | None:
    """What the last recovery had said (`said`) and done (`done`), and when it began; None without one, or when that
    cannot be read."""
    try:
        document = read_yaml((project.folder / DONE).read_text())
        return document if isinstance(document, dict) else None
    except (OSError, ValueError, yaml.YAMLError):
        return None


def describe_recovery(record: Record) -> str:
    """One line for `status` and for refusals."""
    began = time_text(time_of(int(record.began)))
    return f"a recovery from {record.candidate} and {record.etcd} is half done (stage {record.stage}, begun {began})"


def refuse_half_recovered(project: Project) -> None:
    """Raises HalfDone while a recovery is half done: nothing else may change the cluster then."""
    record = read_recovery(project)
    if record:
        sentence = describe_recovery(record)
        raise HalfDone(sentence[0].upper() + sentence[1:], f"{COMMAND} completes it")
