"""The dynamic configuration, read and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgha.cluster.view import able_member, require_quorum
from pgha.errors import ToolFailed
from pgha.model.dynamic import dynamic_configuration
from pgha.model.merging import flatten, merge_patch
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import patroni


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
    if merge_patch(read_config(project), patch):
        raise ToolFailed("The dynamic configuration does not hold the change", hint="inv config")
    held = flatten(current)
    return [f"{key}: {held.get(key, 'not set')} -> {value}" for key, value in flatten(patch).items()]


def apply_dynamic_configuration(project: Project) -> list[str]:
    """Settings that changed since the cluster was made: `bootstrap.dcs` is read only once."""
    return patch_config(project, dynamic_configuration(project.settings, project.topology))
