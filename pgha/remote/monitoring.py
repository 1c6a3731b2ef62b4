"""Prometheus and Alertmanager, asked at their published ports."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Collection
from datetime import UTC, datetime

from pgha.errors import NotRendered, ToolFailed, Unreachable
from pgha.model.topology import MONITORING
from pgha.project.ports import LOOPBACK
from pgha.project.project import Project
from pgha.tools import prometheus

TIMEOUT = 3.0
"""Seconds: both answer from memory."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is behind no proxy."""


def url_of(project: Project, service: str) -> str:
    """Where `prometheus` or `alertmanager` is published. Raises NotRendered."""
    try:
        return f"http://{LOOPBACK}:{project.ports[service][MONITORING]}"
    except KeyError:
        raise NotRendered("The monitoring is not up: nothing is rendered for it", "inv up") from None


def ask(project: Project, service: str, path: str, body: str = "", method: str = "") -> str:
    """What it answers. Raises Unreachable when it does not, ToolFailed with its words when it refuses."""
    request = urllib.request.Request(
        url_of(project, service) + path,
        data=body.encode() or None,
        headers={"Content-Type": "application/json"},
        method=method or None,
    )
    try:
        with _DIRECT.open(request, timeout=TIMEOUT) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        words = error.read().decode(errors="replace")
        raise ToolFailed(f"{service} refuses {path} ({error.code})", words, f"inv logs --node {MONITORING}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"{service} does not answer: {error}", f"inv logs --node {MONITORING}") from None


def read_targets(project: Project) -> tuple[prometheus.Target, ...]:
    """Whom Prometheus asks, and who of them does not answer. Raises Unreachable, ToolFailed."""
    return prometheus.parse_targets(ask(project, "prometheus", prometheus.TARGETS))


def read_alerts(project: Project) -> tuple[prometheus.Alert, ...]:
    """What fires, as Alertmanager knows it. Raises Unreachable, ToolFailed."""
    return prometheus.parse_alerts(ask(project, "alertmanager", prometheus.ALERTS))


def read_names(project: Project) -> frozenset[str]:
    """Every metric that Prometheus has. Raises Unreachable, ToolFailed."""
    return prometheus.parse_names(ask(project, "prometheus", prometheus.METRICS))


def silence(project: Project, hosts: Collection[str]) -> None:
    """Let Alertmanager tell nobody of these hosts, for a day at most. Raises Unreachable, ToolFailed."""
    for host in hosts:
        body = json.dumps(prometheus.silence(host, datetime.now(UTC)))
        ask(project, "alertmanager", prometheus.SILENCES, body, "POST")


def end_silences(project: Project, hosts: Collection[str]) -> None:
    """End what `silence` began. Raises Unreachable, ToolFailed."""
    for host, identity in prometheus.parse_silences(ask(project, "alertmanager", prometheus.SILENCES)):
        if host in hosts:
            ask(project, "alertmanager", f"{prometheus.SILENCE}/{identity}", method="DELETE")


def lacks(project: Project) -> str:
    """Why the monitoring is not ready; nothing when it is."""
    for service in ("prometheus", "alertmanager"):
        try:
            ask(project, service, prometheus.READY)
        except (Unreachable, ToolFailed) as error:
            return error.message
    return ""
