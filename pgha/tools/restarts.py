"""Restarts of Postgres through Patroni: the command, and by what one sees that it happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgha.errors import ToolFailed
from pgha.model.rules import LIMITS
from pgha.model.topology import SCOPE
from pgha.tools import patroni
from pgha.tools.command import Command


def restart(member: str, seconds: int) -> Command:
    """Restart a member's Postgres, which may take so long to start. Without `--timeout` Patroni takes
    primary_start_timeout, which is 0 here: a leader would be replaced before its Postgres had started.
    """
    return patroni.ctl("restart", SCOPE, member, "--force", "--timeout", str(seconds), timeout=2 * seconds)


@dataclass(frozen=True)
class Standing:
    """Since when a member's Postgres runs, and what waits for its restart."""

    started: str
    """nothing while it does not run"""
    pending: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """parameter -> its value now and then"""

    @property
    def lowers(self) -> tuple[str, ...]:
        """Pending limits that become smaller. A standby cannot have less than its leader, so the leader has to be
        restarted before them, as leader (PostgreSQL 26.4.3, Administrator's Overview)."""
        return tuple(name for name, (now, then) in self.pending.items() if name in LIMITS and _is_less(then, now))


def _is_less(then: str, now: str) -> bool:
    return then.isdigit() and now.isdigit() and int(then) < int(now)


def parse_standing(text: str) -> Standing:
    """`GET /patroni`. Raises ToolFailed when it is something else."""
    try:
        document = json.loads(text)
        reasons = document.get("pending_restart_reason") or {}
        pending = {name: (str(why["old_value"]), str(why["new_value"])) for name, why in reasons.items()}
        if document.get("pending_restart") and not pending:
            # Before 4.0 Patroni does not say which.
            pending = {"some parameter": ("", "")}
        return Standing(str(document.get("postmaster_start_time") or ""), pending)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("Patroni did not say since when its Postgres runs", text) from error
