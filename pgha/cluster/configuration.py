"""The dynamic configuration, read and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgha.cluster.quorum import require_quorum
from pgha.cluster.view import able_member, node_names, require_leader
from pgha.errors import PghaError, TimedOut, ToolFailed
from pgha.model.dynamic import governed_configuration, slots_of, without_known
from pgha.model.merging import flatten, merge_patch
from pgha.model.rules import LIMITS
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import limits, patroni, postgres
from pgha.waiting import wait_until

HOLDS_PATIENCE = 10
"""Seconds until a change that was made is what the member that is asked reads."""


def read_config(project: Project) -> dict[str, Any]:
    """The dynamic configuration, as patronictl shows it."""
    ssh = connect(project)
    return ssh.first([able_member(project)], patroni.show_config(), patroni.parse_config)[1]


def patch_config(project: Project, wanted: Mapping[str, Any]) -> list[str]:
    """Bring the dynamic configuration to hold what is wanted; returns the changes, `key: old -> new`.

    Raises ToolFailed when a change is not there afterwards.
    """
    current = read_config(project)
    patch = merge_patch(current, dict(wanted))
    if not patch:
        return []
    require_quorum(project)
    ssh = connect(project)
    host = able_member(project)
    ssh.must(host, patroni.patch_config(patch), "patronictl edit-config failed")
    try:
        # Whoever is asked next may know it a moment later: an etcd member that has just joined, for instance.
        wait_until(
            lambda: merge_patch(read_config(project), patch),
            lambda left: not left,
            "The dynamic configuration holds the change",
            timeout=HOLDS_PATIENCE,
        )
    except TimedOut as error:
        raise ToolFailed("The dynamic configuration does not hold the change", hint="inv config") from error
    held = flatten(current)
    return [f"{key}: {held.get(key, 'not set')} -> {value}" for key, value in flatten(patch).items()]


def apply_settings(project: Project) -> list[str]:
    """What settings govern and the DCS does not hold yet: `bootstrap.dcs` is read only once.

    Whatever else somebody put there stays. Returns the changes, and what was not done.
    """
    wanted = governed_configuration(project.settings, project.topology)
    if "slots" in wanted:
        wanted["slots"] = slots_of(wanted["slots"], _databases(project))
    parameters = wanted.pop("postgresql", {}).get("parameters", {})
    if parameters:
        held = (read_config(project).get("postgresql") or {}).get("parameters") or {}
        parameters = without_known(parameters, held)
    refused = _too_low(project, parameters)
    left = {name: value for name, value in parameters.items() if name not in refused}
    changes = patch_config(project, {**wanted, "postgresql": {"parameters": left}} if left else wanted)
    return [*changes, *refused.values()]


def _databases(project: Project) -> list[str]:
    answer = connect(project).must(require_leader(project).name, postgres.query(postgres.DATABASES), "psql failed")
    return answer.stdout.splitlines()


def _too_low(project: Project, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Limits that would be below what is in use: Postgres would not start with them again, or turn clients away."""
    limits_wanted = {name: int(value) for name, value in parameters.items() if name in LIMITS}
    return {
        name: f"{name} stays: the setting is {limits_wanted[name]}, and {used} are in use on {node}"
        for name, (used, node) in beyond(project, limits_wanted).items()
    }


def beyond(project: Project, wanted: Mapping[str, int]) -> dict[str, tuple[int, str]]:
    """Those of these limits of which a member uses more -> how many, and where; members that do not answer are left
    out."""
    found: dict[str, tuple[int, str]] = {}
    if not wanted:
        return found
    answers = connect(project).everywhere({node: limits.in_use() for node in node_names(project)})
    for node, answer in answers.items():
        if isinstance(answer, PghaError) or not answer.ok:
            continue
        used = limits.parse_in_use(answer.stdout)
        for name, value in wanted.items():
            if value < used.get(name, 0):
                found[name] = (used[name], node)
    return found
