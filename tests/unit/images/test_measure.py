"""images/monitored/measure: what no exporter knows, as a text file for one."""

import json
import re

import pytest
import yaml

from pgha import ROOT
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.monitoring.rules import ALERTS, Facts
from pgha.tools import wal

STANZA = "pg_ha_db"


@pytest.fixture
def measure(imported, tmp_path, monkeypatch):
    monkeypatch.setenv("STANZA_NAME", STANZA)
    module = imported("../monitored/measure")
    monkeypatch.setattr(module, "REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setattr(module, "NODE", str(tmp_path / "node"))
    monkeypatch.setattr(module, "CERTIFICATES", str(tmp_path / "tls"))
    return module


def samples(found):
    return [sample for _, sample in found]


def kept(folder, **results):
    folder.mkdir(parents=True)
    for name, content in results.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))


def result(job, code=0, ended=1000):
    return {"job": job, "started": ended - 5, "ended": ended, "exit_code": code, "words": ""}


def info(*backups, code=0):
    return json.dumps([{"name": STANZA, "status": {"code": code}, "db": [{"id": 1}, {"id": 2}], "backup": backups}])


def backup(label, kind, stop, database=2):
    return {
        "label": label, "type": kind, "database": {"id": database}, "timestamp": {"start": stop - 9, "stop": stop},
        "info": {"repository": {"delta": 7}}, "archive": {"start": "000000020000000100000003"},
    }  # fmt: skip


def test_how_jobs_ended(measure, tmp_path):
    kept(tmp_path / "jobs", full=result("full"), diff=result("diff", 38), half='{"job": "incr"', other='{"label": 1}')
    assert samples(measure.jobs(tmp_path / "jobs")) == [
        'pgha_job_exit_code{job_name="diff"} 38', 'pgha_job_ended_timestamp_seconds{job_name="diff"} 1000',
        'pgha_job_exit_code{job_name="full"} 0', 'pgha_job_ended_timestamp_seconds{job_name="full"} 1000',
    ]  # fmt: skip


def test_the_backups_of_the_present_database(measure, tmp_path):
    kept(tmp_path / "repository" / ".scheduled", full=result("full", 38, 150), incr=result("incr", 38, 900))
    old, full, diff = backup("A", "full", 100, 1), backup("B", "full", 200), backup("B_C", "diff", 300)
    assert samples(measure.backups(info(old, full, diff))) == [
        "pgha_repository_readable 1", "pgha_stanza 1", "pgha_backups 2",
        'pgha_backup_ended_timestamp_seconds{type="full"} 200', 'pgha_backup_repository_bytes{type="full"} 7',
        'pgha_backup_ended_timestamp_seconds{type="diff"} 300', 'pgha_backup_repository_bytes{type="diff"} 7',
        'pgha_backup_newest{backup="B_C",type="diff"} 1', "pgha_backup_newest_segment 259",
        'pgha_job_overtaken{job_name="full"} 1', 'pgha_job_overtaken{job_name="incr"} 0',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "readable", "stanza", "backups"),
    [
        (info(code=2), 1, 1, 0),
        (info(code=1), 1, 0, 0),
        ("[]", 1, 0, 0),
        (info(code=99), 0, 1, 0),
    ],
)
def test_no_backup_is_not_a_repository_that_cannot_be_read(measure, text, readable, stanza, backups):
    expected = [f"pgha_repository_readable {readable}", f"pgha_stanza {stanza}", f"pgha_backups {backups}"]
    assert samples(measure.backups(text)) == expected


@pytest.mark.parametrize("text", ["", "ERROR: [103]", "[{}]"])
def test_what_pgbackrest_cannot_read_is_not_readable(measure, text):
    assert samples(measure.backups(text)) == ["pgha_repository_readable 0"]


def test_a_proof_and_what_came_to_no_verdict(measure, tmp_path):
    path = tmp_path / "verified.json"
    assert list(measure.proof(path)) == []
    path.write_text(json.dumps({"label": "B", "ok": False, "checked": False, "ended": 9}))
    assert samples(measure.proof(path)) == [
        'pgha_verification_checked{backup="B"} 0', 'pgha_verification_good{backup="B"} 0',
        'pgha_verification_ended_timestamp_seconds{backup="B"} 9',
    ]  # fmt: skip


def test_what_waits_for_the_archive(measure, tmp_path):
    assert samples(measure.waiting([tmp_path / "none"])) == [
        "pgha_archive_waiting_segments 0",
        "pgha_archive_waiting_seconds 0",
    ]
    for name in ("000000010000000000000001.ready", "000000010000000000000002.done", "00000002.history.ready"):
        (tmp_path / name).write_text("")
    assert samples(measure.waiting([tmp_path]))[0] == "pgha_archive_waiting_segments 1"


@pytest.mark.parametrize("name", ["000000010000000000000001", "0000000A00000002000000FF"])
def test_segments_are_counted_as_pgha_does(measure, name):
    assert measure.segment_number(name) == wal.parse_segment(name)[1]


def test_what_the_archive_lacks(measure, tmp_path):
    path = tmp_path / "archive_gap"
    assert list(measure.gap(path)) == []
    path.write_text("[]")
    assert list(measure.gap(path)) == []
    path.write_text('["000000010000000000000001", "000000010000000000000004"]')
    assert samples(measure.gap(path)) == ["pgha_archive_gap_segment 4"]


def test_when_a_certificate_ends(measure, tmp_path, fake):
    fake("openssl", 'case $* in *host.crt) echo "notAfter=Nov 26 13:00:00 2036 GMT" ;; esac')
    assert samples(measure.certificates(tmp_path)) == [
        'pgha_certificate_ends_timestamp_seconds{file="host.crt"} 2111317200'
    ]


def test_the_text_has_each_metric_s_samples_together_with_its_help(measure):
    found = [measure.line("pgha_backups", 2), measure.line("pgha_stanza", 1), measure.line("pgha_backups", 3, type="x")]
    text = measure.text_of(found)
    assert text.splitlines() == [
        "# HELP pgha_backups Backups of the present database", "# TYPE pgha_backups gauge", "pgha_backups 2",
        'pgha_backups{type="x"} 3', "# HELP pgha_stanza Whether there is a stanza", "# TYPE pgha_stanza gauge",
        "pgha_stanza 1",
    ]  # fmt: skip
    assert text.endswith("\n")


def test_every_metric_of_ours_that_a_rule_asks_for_is_measured(measure):
    settings = read_settings({"monitoring": "on", "slots": {"cdc": {"database": "app"}}})
    facts = Facts(settings, build_topology(settings))
    asked = {name for alert in ALERTS.values() for name in re.findall(r"\bpgha_\w+", alert.expression(facts))}
    queries = yaml.safe_load((ROOT / "images" / "monitored" / "queries.yaml").read_text())
    queried = {f"{space}_{name}" for space, query in queries.items() for entry in query["metrics"] for name in entry}
    assert asked <= set(measure.HELP) | queried
