"""What Prometheus and Alertmanager answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgha.errors import ToolFailed

READY = "/-/ready"
TARGETS = "/api/v1/targets?state=active"
SILENCES, SILENCE = "/api/v2/silences", "/api/v2/silence"
BY = "inv stop"
"""Who made a silence: those of people are left alone."""

LONGEST = timedelta(days=1)
"""For so long nobody is told of a host that is stopped for maintenance, and that is forgotten."""

METRICS = "/api/v1/label/__name__/values"
ALERTS = "/api/v2/alerts?active=true&silenced=true&inhibited=true"
"""Alertmanager's; also those that are told to nobody because of another one."""


@dataclass(frozen=True)
class Target:
    """One that Prometheus asks."""

    job: str
    host: str
    health: str
    """up, down, or unknown until it was asked"""
    error: str
    """why it is down"""


@dataclass(frozen=True)
class Alert:
    """One that fires."""

    name: str
    """a kind of problem"""
    host: str
    """nothing when it is about the whole"""
    severity: str
    summary: str


def parse_targets(text: str) -> tuple[Target, ...]:
    """The answer to TARGETS. Raises ToolFailed on anything else."""
    try:
        return tuple(
            Target(entry["labels"]["job"], entry["labels"]["host"], entry["health"], entry.get("lastError", ""))
            for entry in json.loads(text)["data"]["activeTargets"]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("Prometheus did not tell its targets", text[:2000]) from error


def parse_alerts(text: str) -> tuple[Alert, ...]:
    """The answer to ALERTS, in the order of their names. Raises ToolFailed on anything else."""
    try:
        found = [_alert(entry) for entry in _listed(text)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailed("Alertmanager did not tell its alerts", text[:2000]) from error
    return tuple(sorted(found, key=lambda alert: (alert.name, alert.host)))


def _listed(text: str) -> list[Any]:
    document = json.loads(text)
    if not isinstance(document, list):
        raise TypeError("it is no list")
    return document


def _alert(entry: dict[str, Any]) -> Alert:
    labels = entry["labels"]
    summary = entry.get("annotations", {}).get("summary", "")
    return Alert(labels["alertname"], labels.get("host", ""), labels.get("severity", ""), summary)


def silence(host: str, now: datetime) -> dict[str, Any]:
    """What makes Alertmanager tell nobody of a host."""
    return {
        "matchers": [{"name": "host", "value": host, "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + LONGEST).isoformat(),
        "createdBy": BY,
        "comment": f"{host} is stopped for maintenance",
    }


def parse_silences(text: str) -> tuple[tuple[str, str], ...]:
    """The answer to SILENCES: host and id of each that is ours and holds. Raises ToolFailed on anything else."""
    try:
        return tuple(
            (entry["matchers"][0]["value"], entry["id"])
            for entry in _listed(text)
            if entry["createdBy"] == BY and entry["status"]["state"] != "expired"
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ToolFailed("Alertmanager did not tell its silences", text[:2000]) from error


def parse_names(text: str) -> frozenset[str]:
    """The answer to METRICS: every metric there is. Raises ToolFailed on anything else."""
    try:
        return frozenset(map(str, json.loads(text)["data"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("Prometheus did not tell its metrics", text[:2000]) from error
