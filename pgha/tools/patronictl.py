"""patronictl: what an operator asks of it beside a change of the leader, and the traces it leaves in the DCS."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pgha.errors import ToolFailed
from pgha.model.topology import SCOPE
from pgha.tools import etcd, patroni
from pgha.tools.command import Command


def pause() -> Command:
    """Maintenance mode on."""
    return patroni.ctl("pause", SCOPE)


def resume() -> Command:
    """Maintenance mode off."""
    return patroni.ctl("resume", SCOPE)


def parse_member_keys(text: str) -> dict[str, dict[str, Any]]:
    """Member -> what its Patroni wrote of itself at its last look, from `etcd.member_keys`: a name and a document, a
    line each. Raises ToolFailed."""
    lines = text.splitlines()
    found = {}
    try:
        for key, value in zip(lines[::2], lines[1::2], strict=True):
            found[key.removeprefix(f"{etcd.KEYS}members/")] = dict(json.loads(value))
    except (ValueError, TypeError) as error:
        raise ToolFailed("etcdctl did not print the members' keys", text) from error
    return found


CREATING = "creating replica"
"""A member's state while its data is made."""

MADE_FROM = {"basebackup": "leader", "pgbackrest": "repository"}
"""A replica creation method -> where the data came from."""


def reinit(node: str, *, from_leader: bool = False) -> Command:
    """Make a replica again; whatever its Patroni does at the moment is cancelled. From the leader: by basebackup
    alone, else by the first of `create_replica_methods` that can."""
    return patroni.ctl("reinit", SCOPE, node, "--force", *(("--from-leader",) if from_leader else ()))


@dataclass(frozen=True)
class Creations:
    """What a member's log tells of the making of its data, in the order it happened."""

    methods: tuple[str, ...]
    """those that succeeded"""
    failures: int
    """how often all of them had failed; Patroni tries again"""
    words: str
    """what went wrong"""


def parse_creations(log: str) -> Creations:
    """From the log of a member."""
    lines = [line for line in log.splitlines() if " ERROR: " in line or "clone-from-repository:" in line]
    methods = re.findall(r"replica has been created using (\w+)", log)
    return Creations(tuple(methods), log.count("failed to bootstrap"), "\n".join(lines))


def taken_config(data: str) -> Command:
    """The dynamic configuration that a member goes by: its Patroni writes this file when it has acted by it, and knows
    which parameters wait for a restart (patroni/__main__.py, `_run_cycle`)."""
    return Command(("cat", f"{data}/patroni.dynamic.json"), timeout=10)
