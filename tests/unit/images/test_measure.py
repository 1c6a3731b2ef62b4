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


def info(*backups, code=0, codes=None):
    """Of one repository, or of two with a status each."""
    codes = codes or (code,)
    databases = [{"id": n, "repo-key": key} for key in range(1, len(codes) + 1) for n in (1, 2)]
    repositories = [{"key": key, "status": {"code": code}} for key, code in enumerate(codes, 1)]
    status = {"code": codes[0] if len(set(codes)) == 1 else 4}
    return json.dumps(
        [{"name": STANZA, "status": status, "repo": repositories, "db": databases, "backup": backups}]
    )  # fmt: skip


def backup(label, kind, stop, database=2, key=1):
    return {
        "label": label, "type": kind, "database": {"id": database, "repo-key": key},
        "timestamp": {"start": stop - 9, "stop": stop},
        "info": {"repository": {"delta": 7}}, "archive": {"start": "000000020000000100000003"},
    }  # fmt: skip


def test_how_jobs_ended(measure, tmp_path):
    kept(tmp_path / "jobs", full=result("full"), diff=result("diff", 38), half='{"job": "incr"', other='{"label": 1}')
    assert samples(measure.jobs(tmp_path / "jobs", {"full", "diff", "incr"})) == [
        'pgha_job_exit_code{job_name="diff"} 38', 'pgha_job_ended_timestamp_seconds{job_name="diff"} 1000',
        'pgha_job_exit_code{job_name="full"} 0', 'pgha_job_ended_timestamp_seconds{job_name="full"} 1000',
    ]  # fmt: skip


def test_a_job_that_is_in_the_schedule_no_more_is_not_told(measure, tmp_path):
    kept(tmp_path / "jobs", full=result("full", 1), incr=result("incr", 38))
    table = (
        "# 0 1 * * * scheduled /f incr pgbackrest\n0 1 * * 0 scheduled /pgha/pgbackrest/.scheduled full pgbackrest\n"
    )
    assert measure.scheduled(table) == {"full", "verify-repository"}
    told = samples(measure.jobs(tmp_path / "jobs", measure.scheduled(table)))
    assert told[0] == 'pgha_job_exit_code{job_name="full"} 1' and len(told) == 2


def test_the_rendered_crontab_is_understood(measure, rendering, make_project, root):
    from dataclasses import replace

    project = make_project()
    project.folder.mkdir(parents=True)
    project.write_record(replace(project.record(), scheduled=True))
    files = rendering().files
    assert measure.scheduled(files["pgbackrest/crontab"]) == {"full", "diff", "verify-repository"}
    assert measure.scheduled(files["pg1-node1/crontab"]) == {"verify-backup", "verify-repository"}


ALARM = "memberID:1234 alarm:NOSPACE"


@pytest.mark.parametrize(
    ("script", "told"),
    [(f"echo {ALARM}; echo {ALARM}", ["pgha_etcd_alarms 2"]), ("true", ["pgha_etcd_alarms 0"]), ("exit 1", [])],
)
def test_etcd_s_alarms_and_nothing_while_it_does_not_answer(measure, monkeypatch, fake, script, told):
    monkeypatch.setenv("ETCD_HERE", "https://etcd1:2379")
    monkeypatch.setenv("ETCD_ELSEWHERE", "https://etcd2:2379")
    fake("etcdctl", f'[ "$1" = --endpoints=https://etcd1:2379,https://etcd2:2379 ] && {{ {script}; }}')
    assert samples(measure.alarms()) == told


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


@pytest.mark.parametrize("codes", [(0, 1), (0, 2)])
def test_a_repository_that_is_being_made_beside_the_other_is_no_fault(measure, codes):
    told = samples(measure.backups(info(backup("A", "full", 100), codes=codes)))
    assert told[:3] == ["pgha_repository_readable 1", "pgha_stanza 1", "pgha_backups 1"]


def test_of_two_repositories_the_one_with_the_newest_backup_counts(measure):
    former = [backup("A", "full", 100), backup("A_B", "diff", 150)]
    told = samples(measure.backups(info(*former, backup("C", "full", 200, key=2), codes=(0, 0))))
    assert told[2:] == [
        "pgha_backups 1", 'pgha_backup_ended_timestamp_seconds{type="full"} 200',
        'pgha_backup_repository_bytes{type="full"} 7', 'pgha_backup_newest{backup="C",type="full"} 1',
        "pgha_backup_newest_segment 259",
    ]  # fmt: skip


@pytest.mark.parametrize("codes", [(99, 0), (0, 99)])
def test_of_two_repositories_each_has_to_be_readable(measure, codes):
    told = samples(measure.backups(info(backup("C", "full", 200, key=2), codes=codes)))
    assert told[0] == "pgha_repository_readable 0"


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
