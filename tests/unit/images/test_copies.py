"""Restored copies: what a verification says of a backup, and what a copy starts."""

import json

import pytest
from image_scripts import run

# verify-backup: good, not good, or no verdict ---------------------------------------------------------------


@pytest.fixture
def verifying(imported, monkeypatch, tmp_path):
    """The script's functions; its scratch directory is the test's."""
    module = imported("verify-backup")
    for name in ("SCRATCH", "DATA", "TABLESPACES", "WAL", "REASON", "LOG", "KEPT"):
        monkeypatch.setattr(module, name, str(tmp_path / name.lower()))
    (tmp_path / "wal").mkdir()
    return module


def verdict(verifying, work, *arguments):
    try:
        return work(*arguments) and "good"
    except verifying.NotGood:
        return "not good"
    except verifying.Unchecked:
        return "unchecked"


ROT = 'heap table "app.public.t", block 0, offset 3:\n    xmin 3 precedes oldest valid transaction ID\n'
LATE = 'btree index "app.public.i":\n    ERROR:  canceling statement due to statement timeout\n    CONTEXT:  here\n'


@pytest.mark.parametrize(
    ("said", "code", "found"),
    [
        (ROT, 2, "not good"),
        (LATE, 2, "unchecked"),
        (LATE + ROT, 2, "not good"),
        ("pg_amcheck: error: query failed: ERROR:  no DDL here", 1, "unchecked"),
    ],
)
def test_only_what_pg_amcheck_reports_of_the_data_counts(verifying, fake, said, code, found):
    fake("psql", "echo '[[\"app\", false]]'")
    fake("pg_amcheck", f"cat <<'END'\n{said}\nEND\nexit {code}")
    assert verdict(verifying, verifying.check) == found


def test_a_database_s_name_is_no_pattern(verifying, fake, tmp_path):
    names = json.dumps([["a*", False], ['say "b"', False]])
    fake("psql", f"cat <<'END'\n{names}\nEND")
    fake("pg_amcheck", f'printf "%s\\n" "$@" > {tmp_path}/arguments')
    verifying.check()
    assert (tmp_path / "arguments").read_text().splitlines()[2:4] == ['--database="a*"', '--database="say ""b"""']


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("ERROR:  XX001: invalid page in block 0 of relation base/5/16384", "not good"),
        ('ERROR:  58P01: could not open file "base/5/16384": No such file or directory', "not good"),
        ("ERROR:  57014: canceling statement due to statement timeout", "unchecked"),
        ("ERROR:  55000: materialized view has not been populated", "unchecked"),
        ("psql: error: connection to server failed: FATAL:  53300: too many clients", "unchecked"),
    ],
)
def test_a_count_that_fails_is_judged_by_its_sqlstate(verifying, fake, said, found):
    fake("psql", f"echo '{said}'; exit 1")
    assert verdict(verifying, verifying.psql, "app", "select 1") == found


def test_names_that_are_no_utf_8_are_read(verifying, fake):
    fake("psql", r"""printf '["public.\351", 1]\n'""")
    assert json.loads(verifying.psql("app", "")) == ["public.\ufffd", 1]


@pytest.mark.parametrize(("code", "found"), [(0, None), (26, "not good"), (55, "not good"), (49, "unchecked")])
def test_a_restore_that_fails_is_judged_by_pgbackrest_s_exit_code(verifying, fake, monkeypatch, tmp_path, code, found):
    monkeypatch.setattr(verifying.shutil, "disk_usage", lambda _: verifying.shutil._ntuple_diskusage(0, 0, 1 << 40))
    (tmp_path / "wal").rmdir()
    fake("pgbackrest", f'echo "$@" > {tmp_path}/arguments; exit {code}')
    archive, lsn = {"start": "000000020000000000000001"}, {"stop": "0/20"}
    backup = {"label": "a", "info": {"size": 1}, "archive": archive, "lsn": lsn}
    assert verdict(verifying, verifying.restore, backup) == found
    assert f"--tablespace-map-all={tmp_path}/tablespaces" in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("FATAL:  recovery ended before configured recovery target was reached", "not good"),
        ("PANIC:  could not locate a valid checkpoint record", "not good"),
        ('FATAL:  could not access file "timescaledb": No such file or directory', "unchecked"),
        ("LOG:  startup process (PID 7) was terminated by signal 9: Killed", "unchecked"),
        ('FATAL:  could not write to file "pg_wal/xlogtemp.7": No space left on device', "unchecked"),
    ],
)
def test_a_postgres_that_ends_is_judged_by_its_last_words(verifying, fake, tmp_path, log, found):
    fake("start-aside", "exit 0")
    fake("pg_ctl", "exit 3")
    (tmp_path / "log").write_text(log)
    assert verdict(verifying, verifying.recover, "") == found
    (tmp_path / "reason").write_text("the repository does not answer")
    assert verdict(verifying, verifying.recover, "") == "unchecked"


FIRST, SECOND = "000000010000000000000001", "000000010000000000000002"


def test_wal_that_makes_a_tablespace_is_not_replayed(verifying, fake, tmp_path):
    """A record may begin in the segment before: both are looked into."""
    target = tmp_path / "RECOVERYXLOG"
    fake("pgbackrest", 'for path do :; done; echo wal > "$path"')
    made = 'rmgr: Tablespace  len (rec/tot): 38/38, tx: 7, lsn: 0/02000028, prev 0/01000028, desc: CREATE 16400 "/a"'
    fake("pg_waldump", f"echo \"$@\" >> {tmp_path}/arguments; [ $4 = {FIRST} ] || echo '{made}'")
    assert verifying.fetch(FIRST, str(target), "0/2000100") == 0
    assert verifying.fetch(SECOND, str(target), "0/2000028") == 0, "it is after the end of the backup"
    assert verifying.fetch(SECOND, str(target), "0/2000100") == verifying.END_RECOVERY
    assert (tmp_path / "arguments").read_text().splitlines()[1].endswith(f"{FIRST} {SECOND}")
    assert (tmp_path / "reason").read_text() == 'a tablespace was made while the backup was taken: "/a"'


@pytest.mark.parametrize(("code", "result"), [(1, 1), (26, 1), (49, 126), (102, 126)])
def test_wal_that_cannot_be_fetched_ends_recovery_unless_it_is_not_there(verifying, fake, code, result):
    fake("pgbackrest", f"exit {code}")
    assert verifying.fetch(SECOND, "wal", "0/2000100") == result


BAD = {"label": "a", "ok": False, "checked": True}
NONE = {"label": "a", "ok": False, "checked": False}
GOOD = {"label": "a", "ok": True, "checked": True}


@pytest.mark.parametrize(
    ("results", "kept"),
    [
        ([BAD, NONE], BAD),
        ([BAD, GOOD], GOOD),
        ([GOOD, NONE], NONE),
        ([NONE, NONE | {"error": "again"}], NONE | {"error": "again"}),
        ([BAD, NONE | {"label": "b"}], NONE | {"label": "b"}),
    ],
)
def test_an_attempt_without_a_verdict_does_not_take_a_bad_one_back(verifying, tmp_path, results, kept):
    for result in results:
        verifying.keep(result | {})
    assert json.loads((tmp_path / "kept").read_text()) == kept


def test_a_bad_verdict_kept_without_the_newer_word_counts(verifying, tmp_path):
    (tmp_path / "kept").write_text(json.dumps({"label": "a", "ok": False}))
    verifying.keep(NONE)
    assert json.loads((tmp_path / "kept").read_text()) == {"label": "a", "ok": False}


# start-aside ------------------------------------------------------------------------------------------------


def test_a_copy_starts_nothing_that_reaches_outside(fake, tmp_path):
    data = tmp_path / "17"
    data.mkdir()
    fake("pg_controldata", "echo 'max_worker_processes setting:         8'")
    fake("postgres", f'printf "%s\\n" "$@" > {tmp_path}/started; echo > {data}/postmaster.pid')
    assert run("start-aside", data, tmp_path / "log", "shared_preload_libraries=citus").returncode == 0
    started = (tmp_path / "started").read_text().splitlines()
    assert started[:2] == ["-D", str(data)]
    settings = dict(word.split("=", 1) for word in started[2:] if word != "-c")
    assert settings.items() >= {
        "archive_mode": "off", "ssl": "off", "listen_addresses": "", "primary_conninfo": "", "primary_slot_name": "",
        "max_logical_replication_workers": "0", "recovery_end_command": "", "archive_cleanup_command": "",
        "data_directory": str(data), "max_worker_processes": "8", "shared_preload_libraries": "citus",
    }.items()  # fmt: skip
    assert started.index("shared_preload_libraries=") < started.index("shared_preload_libraries=citus")
