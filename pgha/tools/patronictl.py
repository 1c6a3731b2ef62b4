"""patronictl: what an operator asks of it beside a change of the leader, and the traces it leaves in the DCS."""

from __future__ import annotations

import json
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
