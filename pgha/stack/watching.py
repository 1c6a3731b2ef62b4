"""The monitoring's files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from pgha.monitoring.notifying import alertmanager_document, url_of
from pgha.monitoring.rules import rules_document
from pgha.monitoring.targets import Security, prometheus_document
from pgha.project.project import Project
from pgha.tools import trust

SECURITY = Security(trust.AUTHORITY, trust.CERTIFICATE, trust.KEY)
"""Where the monitoring's container has its certificate, as every host has."""


def monitoring_files(project: Project, *, lasting: bool = False) -> dict[str, str]:
    """The files of the monitoring's container: name -> content. `lasting`: without what changes with the other hosts,
    which is brought to it while it runs."""
    settings, topology = project.settings, project.topology
    if lasting:
        topology = replace(topology, nodes=(), etcd=())
    documents: dict[str, dict[str, Any]] = {
        "prometheus.yml": prometheus_document(topology, SECURITY if settings.tls else None),
        "rules.yml": rules_document(settings, topology),
        "alertmanager.yml": alertmanager_document(settings),
    }
    files = {
        name: yaml.safe_dump(document, sort_keys=False, width=10_000, allow_unicode=True)
        for name, document in documents.items()
    }
    url = url_of(settings)
    return {**files, "notify_url": url} if url else files
