"""The schedule: which job runs where and when, and the crontabs of it."""

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from pgha.backup.verification import Kept
from pgha.errors import Unreachable
from pgha.stack import crontab
from pgha.stack.crontab import Job
from pgha.tools import cron
from pgha.tools.command import Answer, Command
from pgha.tools.pgbackrest import Verification


@pytest.fixture
def scheduled(make_project):
    """A project whose schedule is on."""

    def scheduled(**settings):
        project = make_project(**settings)
        crontab.switch(project, on=True)
        return project

    return scheduled


def lines_of(project, host):
    return [(job.name, entry.line) for job, entry in crontab.jobs_of(project, host)]


ALL = {"schedule_full": "0 1 * * 0", "schedule_diff": "0 1 * * 1-6", "schedule_incr": "30 * * * *"}
PGBACKREST = "pgbackrest --stanza=pg_ha_db"


def test_the_repository_takes_the_backups_and_reads_its_files(scheduled):
    project = scheduled(**ALL, schedule_verify="0 3 * * *")
    kept = "scheduled /pgha/pgbackrest/.scheduled"
    assert lines_of(project, project.topology.repository) == [
        ("full", f"0 1 * * 0 {kept} full {PGBACKREST} --type=full backup"),
        ("diff", f"0 1 * * 1-6 {kept} diff {PGBACKREST} --type=diff backup"),
        ("incr", f"30 * * * * {kept} incr {PGBACKREST} --type=incr backup"),
        ("verify-repository", f"0 3 * * * {kept} verify-repository verify-repository"),
    ]


def test_every_node_may_verify_a_backup(scheduled):
    project = scheduled()
    for host in project.topology.nodes:
        assert lines_of(project, host) == [
            ("verify-backup", "0 3 * * * scheduled /pgdata/scheduled verify-backup verify-backup --if-chosen")
        ]


def test_until_it_is_switched_on_nothing_runs(make_project):
    project = make_project(**ALL)
    assert [lines_of(project, host) for host in project.topology.ssh_hosts] == [[]] * 7
    assert crontab.jobs(project) == []


def test_it_can_be_switched_off_again(scheduled):
    project = scheduled()
    assert crontab.jobs(project)
    crontab.switch(project, on=False)
    assert crontab.jobs(project) == []
    assert lines_of(project, project.topology.repository) == []


def test_switching_changes_nothing_else_of_the_record(make_project):
    project = make_project()
    before = project.record()
    crontab.switch(project, on=True)
    crontab.switch(project, on=False)
    assert project.record() == before


def test_without_a_repository_nothing_runs(scheduled):
    project = scheduled(pgbackrest=False)
    assert [lines_of(project, host) for host in project.topology.ssh_hosts] == [[]] * 6


def test_a_job_without_times_never_runs(scheduled):
    project = scheduled(schedule_full="", schedule_diff="", schedule_incr="", schedule_verify="")
    assert crontab.jobs(project) == []
    assert [job.name for job in crontab.jobs(scheduled(schedule_diff=""))] == [
        "full",
        "verify-repository",
        "verify-backup",
    ]


def test_a_table_of_an_older_version_is_shown_too(monkeypatch, scheduled):
    table = "0 3 * * * scheduled /f verify verify-repository\n0 1 * * 0 scheduled /f full pgbackrest\n"
    answers = {"pgbackrest": Answer(cron.table(), table, "", 0)}
    monkeypatch.setattr(crontab, "connect", lambda project: SimpleNamespace(everywhere=lambda commands: answers))
    assert [job.name for job in crontab.running(scheduled())] == ["full", "verify"]


def test_each_job_is_named_once_in_its_order(scheduled):
    jobs = crontab.jobs(scheduled(**ALL))
    assert [job.name for job in jobs] == ["full", "diff", "incr", "verify-repository", "verify-backup"]


# Times ------------------------------------------------------------------------------------------------------

SUNDAY = datetime(2026, 11, 22, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "now", "then"),
    [
        ("0 1 * * 0", SUNDAY - timedelta(seconds=1), SUNDAY),
        ("0 1 * * 0", SUNDAY, SUNDAY + timedelta(days=7)),
        ("0 1 * * 0", SUNDAY + timedelta(days=1), SUNDAY + timedelta(days=7)),
        ("*/15 * * * *", SUNDAY, SUNDAY + timedelta(minutes=15)),
        ("0 1 * * *", SUNDAY.astimezone(timezone(timedelta(hours=-8))), SUNDAY + timedelta(days=1)),
        ("0 1 * * *", (SUNDAY - timedelta(minutes=1)).astimezone(timezone(timedelta(hours=9))), SUNDAY),
    ],
)
def test_the_next_run_is_in_utc(times, now, then):
    following = Job("full", times).next_run(now)
    assert following == then
    assert following.utcoffset() == timedelta(0)


# Crontabs ---------------------------------------------------------------------------------------------------


def test_a_percent_sign_is_escaped_in_a_crontab():
    entry = cron.Entry("0 1 * * 0", "/f", "full", Command(("date", "+%F %T", "it's")))
    assert entry.line == r"""0 1 * * 0 scheduled /f full date '+\%F \%T' 'it'"'"'s'"""


def test_the_rendered_crontab_is_the_schedule(scheduled, rendering):
    project = scheduled(**ALL)
    rendered = rendering(**ALL)
    for host in project.topology.ssh_hosts:
        lines = [line for line in rendered.files[f"{host.name}/crontab"].splitlines() if line[0] != "#"]
        variables = [line for line in lines if line.partition("=")[0].isupper()]
        assert lines[len(variables) :] == [line for _, line in lines_of(project, host)]
        assert "STANZA_NAME=pg_ha_db" in variables
        assert "SHELL=/bin/sh" in variables
        assert rendered.files[f"{host.name}/crontab"].endswith("\n")


def test_an_empty_schedule_is_an_empty_crontab(make_project, rendering):
    for host in make_project().topology.ssh_hosts:
        text = rendering().files[f"{host.name}/crontab"]
        assert "scheduled" not in text
        assert text.endswith("\n")


def test_every_container_with_ssh_gets_its_crontab(make_project, rendering):
    names = {path.split("/")[0] for path in rendering().files if path.endswith("/crontab")}
    assert names == {host.name for host in make_project().topology.ssh_hosts}


def test_a_crontab_is_installed_as_it_was_rendered(tmp_path, monkeypatch):
    (tmp_path / "crontab").write_text(f'#!/bin/sh\n[ "$1" = - ] && cat > {tmp_path}/installed\n')
    (tmp_path / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    text = "# it's\n0 1 * * 0 date '+\\%F' \"$HOME\" `id`\n"
    subprocess.run(cron.install(text).argv, check=True)
    assert (tmp_path / "installed").read_text() == text


# What is known of earlier runs ------------------------------------------------------------------------------


def verification(label, ended, ok=True, checked=True):
    return Verification(label, "pg1-node1", ok, checked, 0, ended, {}, 0, {}, "")


def test_the_newest_verification_of_a_backup_is_taken():
    newest, older = verification("a", ended=20), verification("a", ended=10)
    kept = Kept((newest, verification("b", ended=15), older), {})
    assert kept.verification_of("a") is newest
    assert kept.verification_of("b").ended == 15
    assert kept.verification_of("c") is None


def test_an_attempt_without_a_verdict_does_not_take_another_node_s_bad_one_back():
    bad, good = verification("a", ended=10, ok=False), verification("a", ended=20)
    unchecked = verification("a", ended=30, ok=False, checked=False)
    assert Kept((unchecked, bad), {}).verification_of("a") is bad
    assert Kept((unchecked, good, bad), {}).verification_of("a") is unchecked
    assert Kept((good, bad), {}).verification_of("a") is good


class Hosts:
    def __init__(self, failing=()):
        self.failing, self.given = failing, {}

    def everywhere(self, commands):
        self.given = commands
        answers = {}
        for host, command in commands.items():
            answers[host] = Unreachable(f"{host} is away") if host in self.failing else Answer(command, "", "", 0)
        return answers


def test_every_host_that_runs_gets_its_table_also_beside_one_that_does_not_answer(scheduled, monkeypatch):
    project = scheduled()
    for host in project.topology.ssh_hosts:
        (project.folder / host.name).mkdir(parents=True)
        (project.folder / host.name / "crontab").write_text(f"# {host.name}\n")
    hosts = Hosts(failing=["pg1-node1"])
    monkeypatch.setattr(crontab, "connect", lambda project: hosts)
    with pytest.raises(Unreachable, match="pg1-node1 is away"):
        crontab.install(project, ["pg1-node1", "pg2-node1", "pgbackrest", "etcd1"])
    assert set(hosts.given) == {"pg1-node1", "pg2-node1", "pgbackrest"}
    assert "# pg2-node1" in str(hosts.given["pg2-node1"])
