"""What runs: the settings and ports of the last `up`. The present ones may differ from them until the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from pgha.errors import Damaged
from pgha.model.rules import CONFIDENTIAL, SCHEDULES, SECRETS
from pgha.model.settings import FIELDS
from pgha.project.files import write_file
from pgha.project.passwords import kept_passwords, replaced
from pgha.project.ports import Ports
from pgha.project.project import Project, Running

FILE = "running.json"

READ_AT_ONCE = ("project", "up_timeout", "long_transaction", "scratch_preload_libraries", *SCHEDULES, *CONFIDENTIAL)
"""With those of the drills: settings that no `up` has to bring anywhere, a command reads them as it goes, or `inv
schedule` does. Secrets are never written down here, whom to notify neither."""

SHAPE = ("data_centers", "nodes")
"""Those that `inv scale` changes."""

UNCHANGEABLE = ("prefix", "data_centers", "nodes", "postgres", *SECRETS)
"""Settings that `up` refuses to change over existing data."""


def note_running(project: Project) -> None:
    """Remember that the project's containers are as the settings and the rendered ports say."""
    document = {"settings": _governing(project), "ports": project.record().ports}
    write_file(project.folder / FILE, json.dumps(document, indent=1, sort_keys=True))


def as_it_runs(project: Project) -> Project:
    """The project with the settings and ports of what runs, and how the present ones differ; itself when nothing is
    known of that."""
    try:
        document = json.loads((project.folder / FILE).read_text())
        # What was brought up before there was TLS says nothing of it.
        noted = {"tls": False, **document["settings"]}
        ran = {key: value for key, value in noted.items() if key in _governing(project)}
        settings = replace(project.settings, **ran)
        ports = {kind: dict(entries) for kind, entries in document["ports"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return project
    now = _governing(project)
    differing = tuple(key for key, value in now.items() if key in ran and ran[key] != value)
    said = {key: _said(key, now[key], ran[key]) for key in differing}
    with suppress(Damaged):
        said |= {key: f"{key} is another one" for key in replaced(project, kept_passwords(project))}
    return replace(project, settings=settings, running=Running(ports, said))


def ran_with_tls(project: Project) -> bool | None:
    """Whether what was brought up last speaks TLS; None when nothing is known of it."""
    running = as_it_runs(project)
    return running.settings.tls if running.running else None


def kept_ports(project: Project) -> Ports:
    """The ports that stay: those chosen before from the settings' first ones, else those of the last `up`, if its were
    these. Settings that were others for a while and came back find the ports that the containers still publish."""
    if project.running:
        return project.running.ports
    first, record, ran = project.settings.first_ports, project.record(), as_it_runs(project)
    kept: Ports = {}
    if ran.running:
        up = ran.settings.first_ports
        kept = {kind: ports for kind, ports in ran.running.ports.items() if up[kind] == first[kind]}
    return kept | {kind: ports for kind, ports in record.ports.items() if record.first.get(kind) == first[kind]}


def _governing(project: Project) -> dict[str, Any]:
    settings = asdict(project.settings)
    return {key: settings[key] for key in FIELDS if key not in READ_AT_ONCE and not key.startswith("drill_")}


def _said(key: str, now: Any, ran: Any) -> str:
    if isinstance(now, Mapping):
        return key
    return f"{key} {_text(now)}, not {_text(ran)}"


def _text(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value) or "empty"
