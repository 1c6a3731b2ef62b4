"""The answers of Prometheus and Alertmanager."""

import json
from datetime import UTC, datetime

import pytest

from pgha.errors import ToolFailed
from pgha.tools import prometheus
from pgha.tools.prometheus import Alert, Target


def test_the_targets_and_why_one_is_down():
    down = {"labels": {"job": "etcd", "host": "etcd1"}, "health": "down", "lastError": "connection refused"}
    up = {"labels": {"job": "patroni", "host": "pg1-node1"}, "health": "up", "lastError": ""}
    text = json.dumps({"status": "success", "data": {"activeTargets": [down, up]}})
    assert prometheus.parse_targets(text) == (
        Target("etcd", "etcd1", "down", "connection refused"), Target("patroni", "pg1-node1", "up", "")
    )  # fmt: skip


def test_the_alerts_in_the_order_of_their_names():
    def entry(name, **labels):
        return {"labels": {"alertname": name, "severity": "warning", **labels}, "annotations": {"summary": "s"}}

    text = json.dumps([entry("no_leader"), entry("container_away", host="pg1-node1")])
    assert prometheus.parse_alerts(text) == (
        Alert("container_away", "pg1-node1", "warning", "s"), Alert("no_leader", "", "warning", "s")
    )  # fmt: skip


def test_a_silence_is_of_one_host_for_a_day():
    made = prometheus.silence("pg1-node1", datetime(2026, 11, 26, tzinfo=UTC))
    assert made["matchers"] == [{"name": "host", "value": "pg1-node1", "isRegex": False, "isEqual": True}]
    assert (made["startsAt"], made["endsAt"]) == ("2026-11-26T00:00:00+00:00", "2026-11-27T00:00:00+00:00")


def test_silences_of_people_are_none_of_ours():
    def entry(by, state, identity):
        host = {"matchers": [{"name": "host", "value": "etcd1"}]}
        return {**host, "createdBy": by, "status": {"state": state}, "id": identity}

    text = json.dumps([entry("inv stop", "active", "a"), entry("inv stop", "expired", "b"), entry("me", "active", "c")])
    assert prometheus.parse_silences(text) == (("etcd1", "a"),)


def test_the_names_of_the_metrics():
    assert prometheus.parse_names('{"data": ["up", "patroni_primary"]}') == {"up", "patroni_primary"}


@pytest.mark.parametrize("parse", [
    prometheus.parse_targets, prometheus.parse_alerts, prometheus.parse_names, prometheus.parse_silences,
])  # fmt: skip
@pytest.mark.parametrize("text", ["", "[1]", "{}", "<html>", '{"data": 1}'])
def test_what_is_no_answer_is_named(parse, text):
    with pytest.raises(ToolFailed):
        parse(text)
