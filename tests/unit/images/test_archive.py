"""The archive's two commands as a shell runs them, with a pgbackrest that only says what it was asked."""

import os
import shlex
import subprocess
import time

import pytest
import yaml

from pgha import ROOT

SCRIPTS = ROOT / "images" / "patroni" / "archive"
PATIENCE = 60
"""Seconds, so many that the tests need not hurry; the image's scripts have 3."""
HISTORY = "15\t0/16010000\tno recovery target specified\n\n16\t0/161C6EE0\tno recovery target specified\n"


@pytest.fixture
def run(tmp_path):
    """Run a script in a data directory; pgbackrest ends with this exit code."""
    status = tmp_path / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    (tmp_path / "pg_wal" / "00000010.history").write_text(HISTORY.splitlines()[0] + "\n")
    (tmp_path / "pg_wal" / "00000011.history").write_text(HISTORY)
    (tmp_path / "spool" / "archive" / "s" / "out").mkdir(parents=True)

    def run(name, *arguments, code=0, says="", ready=(), pushed=(), busy=False):
        tool = tmp_path / "pgbackrest"
        tool.write_text(f'#!/bin/sh\necho "pgbackrest $*"\n{says}\nexit {code}\n')
        (tmp_path / "pgrep").write_text(f"#!/bin/sh\nexit {int(not busy)}\n")
        tool.chmod(0o755)
        (tmp_path / "pgrep").chmod(0o755)
        for file in ready:
            (status / f"{file}.ready").touch()
        for file in pushed:
            (tmp_path / "spool" / "archive" / "s" / "out" / f"{file}.ok").touch()
        return subprocess.run(
            [SCRIPTS / name, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "STANZA_NAME": "s", "PGHA_LIB": str(SCRIPTS),
                 "PGHA_BIN": str(tmp_path), "PGHA_SPOOL": str(tmp_path / "spool"), "PGHA_PATIENCE": str(PATIENCE)},
        )  # fmt: skip

    return run


@pytest.mark.parametrize("file", [
    "000000100000000000000015", "0000000F0000000000000015", "000000110000000000000016", "000000120000000000000001",
    "00000012.history",
])  # fmt: skip
def test_what_counts_is_fetched(run, file):
    answer = run("pgbackrest-archive-get", file, "pg_wal/RECOVERYXLOG")
    assert answer.stdout == f"pgbackrest --stanza=s archive-get {file} pg_wal/RECOVERYXLOG\n"
    assert answer.returncode == 0
    assert run("pgbackrest-archive-get", file, "pg_wal/RECOVERYXLOG", code=1).returncode == 1


STAYS = "until [ -e may-end ] || [ ! -e pg_wal ]; do sleep 0.1; done; touch ended"


@pytest.mark.parametrize(("said", "code"), [
    ("P00   INFO: unable to find 00000012.history in the archive", 1),
    ("P00   INFO: found 00000012.history in the repo1: 17-1 archive", 0),
])  # fmt: skip
def test_postgres_does_not_wait_for_the_end_of_a_connection(run, tmp_path, said, code):
    answer = run("pgbackrest-archive-get", "00000012.history", "there", says=f"echo '{said}'; {STAYS}")
    assert answer.returncode == code
    assert said in answer.stdout
    assert not (tmp_path / "ended").exists()
    (tmp_path / "may-end").touch()


@pytest.fixture
def standby(run, tmp_path):
    """A standby that has been ready for long; whether the archive is asked for a file, which it lacks."""
    lacks = 'echo "P00   INFO: unable to find $3 in the archive"'
    (tmp_path / "standby.signal").touch()
    for history in tmp_path.glob("pg_wal/*.history"):
        aged(history, 20 * PATIENCE)
    aged(tmp_path / "postmaster.pid", 20 * PATIENCE)

    def standby(file):
        answer = run("pgbackrest-archive-get", file, "there", says=lacks)
        assert answer.returncode == 1
        return f"archive-get {file}" in answer.stdout

    return standby


def aged(path, seconds):
    """A file that was written so long ago."""
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_the_archive_lacks_is_remembered_for_a_moment(standby, tmp_path):
    assert standby("00000012.history")
    assert standby("000000120000000000000001")
    assert not standby("00000012.history")
    assert not standby("000000120000000000000001")
    assert standby("00000013.history")
    missing = tmp_path / "spool" / "missing"
    asked = [line.split() for line in missing.read_text().splitlines()]
    missing.write_text("".join(f"{int(when) - PATIENCE * 10**6} {file}\n" for when, file in asked))
    assert standby("00000012.history")


@pytest.mark.parametrize(("there", "file"), [
    ("000000110000000000000016", "000000110000000000000016"),
    ("000000100000000000000016", "000000110000000000000016"),
    ("000000110000000000000016", "00000012.history"),
    ("00000012.history", "00000013.history"),
])  # fmt: skip
def test_what_follows_on_wal_that_came_a_moment_ago_is_not_asked_for(standby, tmp_path, there, file):
    aged(tmp_path / "pg_wal" / there, 0)
    assert not standby(file)
    aged(tmp_path / "pg_wal" / there, PATIENCE + 1)
    assert standby(file)


def test_nothing_else_is_taken_for_sent(standby, tmp_path):
    (tmp_path / "pg_wal" / "000000110000000000000016").touch()
    assert standby("000000110000000000000017")
    assert standby("00000013.history")


@pytest.mark.parametrize("starting", [True, False])
def test_a_postgres_that_starts_and_one_that_recovers_ask_for_everything(standby, tmp_path, starting):
    """What is in pg_wal may be a rewind's or a backup's. A recovery chooses its timeline by the answers."""
    (tmp_path / "pg_wal" / "000000110000000000000016").touch()
    assert not standby("00000012.history")
    assert standby("00000013.history")
    assert not standby("00000013.history")
    if starting:
        aged(tmp_path / "postmaster.pid", 0)
    else:
        (tmp_path / "standby.signal").unlink()
    assert standby("00000012.history")
    assert standby("00000013.history")
    assert standby("000000110000000000000016")


def test_a_member_that_is_promoted_is_told_whether_the_next_timeline_is_taken(standby, tmp_path):
    """Postgres removes standby.signal before it writes the new history, for which it asks for the last one."""
    (tmp_path / "pg_wal" / "000000110000000000000016").touch()
    assert standby("00000013.history")
    promoting = tmp_path / "spool" / "promoting"
    promoting.write_text(f"{time.time():.0f}\n")
    assert standby("00000012.history")
    assert standby("00000013.history")
    assert not standby("000000110000000000000016")
    (tmp_path / "standby.signal").unlink()
    assert not standby("00000011.history"), "it has that itself"
    (tmp_path / "standby.signal").touch()
    promoting.write_text(f"{time.time() - 11:.0f}\n")
    assert not standby("00000012.history")
    assert standby("00000011.history")


def test_patroni_notes_a_promotion_where_it_is_looked_for(standby, tmp_path, rendering):
    (tmp_path / "pg_wal" / "000000110000000000000016").touch()
    assert not standby("00000012.history")
    assert pre_promote(rendering, tmp_path / "spool") == 0
    assert standby("00000012.history")


def test_a_promotion_does_not_fail_where_nothing_can_be_noted(tmp_path, rendering):
    assert pre_promote(rendering, tmp_path / "not there") == 0


def pre_promote(rendering, spool):
    """Run the script as Patroni does, without a shell; its exit code."""
    configured = yaml.safe_load(rendering().files["pg1-node1/patroni.conf"])["postgresql"]["pre_promote"]
    line = shlex.split(configured)
    return subprocess.run(line, env={**os.environ, "PGHA_SPOOL": str(spool)}, check=False).returncode


@pytest.mark.parametrize("code", [0, 1, 103])
def test_another_answer_of_the_archive_is_not_remembered(run, code):
    assert run("pgbackrest-archive-get", "00000012.history", "there", code=code).returncode == code
    assert run("pgbackrest-archive-get", "00000012.history", "there", code=0).returncode == 0


@pytest.mark.parametrize("file", ["000000100000000000000016", "000000100000000000000017", "000000100000000100000000",
                                  "0000000F0000000000000016"])  # fmt: skip
def test_a_timeline_is_not_fetched_beyond_the_point_where_it_was_left(run, file):
    answer = run("pgbackrest-archive-get", file, "pg_wal/RECOVERYXLOG")
    assert (answer.stdout, answer.returncode) == ("", 1)


@pytest.fixture
def has(run, tmp_path):
    """Run archive-get for a segment that pg_wal has, with Postgres' tools answering so: whether there is a record,
    the position of the control file while Postgres starts, whether a Postgres that answers is not beyond."""

    def has(file, record=True, written="0/16000000", not_beyond=None, there="pg_wal/RECOVERYXLOG"):
        (tmp_path / "pg_wal" / file).write_bytes(b"x" * (16 << 20))
        for name, line in {
            "pg_waldump": f'echo "$*" > asked; exit {int(not record)}',
            "pg_isready": f"exit {int(not_beyond is None)}",
            "pg_controldata": f"echo 'Minimum recovery ending location:     {written}'",
            "psql": f"echo {not_beyond}",
        }.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(0o755)
        return run("pgbackrest-archive-get", file, there).returncode

    return has


@pytest.mark.parametrize(("file", "asked", "size"), [
    ("000000100000000000000016", "-t 16 -s 0/161C6EE0", 0x1C6EE0),
    ("0000000F0000000000000016", "-t 15 -s 0/16010000", 0x10000),
])  # fmt: skip
def test_what_a_member_has_of_a_timeline_that_was_left_is_replayed_as_far_as_it_counts(
    has, tmp_path, file, asked, size
):
    given = tmp_path / "pg_wal" / "RECOVERYXLOG"
    for answers in {"written": f"0/{0x16000000 + size:X}"}, {"written": "0/0"}, {"not_beyond": "t"}:
        assert has(file, **answers) == 0
        assert given.read_bytes() == b"x" * size + bytes((16 << 20) - size)
        assert (tmp_path / "asked").read_text() == f"-q -n 1 -p pg_wal {asked}\n"
    assert has(file, there="nowhere/RECOVERYXLOG") == 126


@pytest.mark.parametrize("answers", [
    {"record": False}, {"written": "0/161C6EE8"}, {"written": "1/0"}, {"not_beyond": "f"}, {"not_beyond": ""},
])  # fmt: skip
def test_a_member_that_has_nothing_beyond_or_replayed_it_is_given_nothing(has, tmp_path, answers):
    assert has("000000100000000000000016", **answers) == 1
    assert not (tmp_path / "pg_wal" / "RECOVERYXLOG").exists()


def test_a_segment_after_the_one_that_was_left_is_not_given(has):
    assert has("000000100000000000000017") == 1


@pytest.mark.parametrize("file", ["000000100000000000000016", "000000110000000000000016", "00000011.history"])
def test_everything_is_archived_that_can_be(run, file):
    ready = [file, "000000110000000000000017", "00000012.history"]
    answer = run("pgbackrest-archive-push", f"pg_wal/{file}", ready=ready)
    assert answer.stdout == f"pgbackrest --stanza=s --no-archive-async archive-push pg_wal/{file}\n"
    assert answer.returncode == 0


def test_postgres_does_not_wait_for_the_end_of_a_push(run, tmp_path):
    file = "000000110000000000000016"
    says = f"echo \"P00   INFO: pushed WAL file '{file}' to the archive\"; {STAYS}"
    assert run("pgbackrest-archive-push", f"pg_wal/{file}", says=says, ready=[file]).returncode == 0
    assert not (tmp_path / "ended").exists()
    (tmp_path / "may-end").touch()


@pytest.mark.parametrize("more", [
    {"ready": [f"0000001100000000000000{n}" for n in (16, 17, 18, 19)]},
    {"ready": ["000000110000000000000016"], "pushed": ["000000110000000000000016"]},
    {"ready": ["000000110000000000000016"], "busy": True},
])  # fmt: skip
def test_many_files_travel_at_once_and_none_twice(run, more):
    answer = run("pgbackrest-archive-push", "pg_wal/000000110000000000000016", **more)
    assert answer.stdout == "pgbackrest --stanza=s --archive-async archive-push pg_wal/000000110000000000000016\n"


PARENT = "0000001000000000000000"


def test_what_a_lost_leader_had_not_archived_goes_with_the_history_of_the_next_timeline(run, tmp_path):
    """13 and 15 are missing; 16 was left, and 11.16 is not complete."""
    for name in (*(f"{PARENT}{number}" for number in (12, 13, 14, 15, 16)), "000000110000000000000016"):
        (tmp_path / "pg_wal" / name).touch()
    there = " ".join(f"17-1/0000001000000000/{PARENT}{number}-0a1b.zst" for number in (12, 14))
    says = f'case "$*" in *repo-ls*) echo "{there}" ;; esac'
    answer = run("pgbackrest-archive-push", "pg_wal/00000011.history", says=says)
    push = "pgbackrest --stanza=s --no-archive-async archive-push"
    assert answer.stdout.splitlines() == [
        f"{push} pg_wal/00000011.history",
        f"pgbackrest-archive-push: the archive lacks {PARENT}13",
        f"{push} pg_wal/{PARENT}13",
        f"pgbackrest-archive-push: the archive lacks {PARENT}15",
        f"{push} pg_wal/{PARENT}15",
    ]
    assert answer.returncode == 0


@pytest.mark.parametrize("failing", ["repo-ls", f"archive-push*{PARENT}15", "archive-push*history"])
def test_a_history_is_not_done_until_what_leads_to_it_is_archived(run, tmp_path, failing):
    (tmp_path / "pg_wal" / f"{PARENT}15").touch()
    answer = run("pgbackrest-archive-push", "pg_wal/00000011.history", says=f'case "$*" in *{failing}*) exit 103; esac')
    assert answer.returncode == 103


def test_a_full_queue_is_emptied_while_the_repository_is_away(run, tmp_path):
    """Postgres archives a history before anything else: one that waits would keep all WAL from being dropped."""
    (tmp_path / "pg_wal" / f"{PARENT}15").touch()
    says = 'case "$*" in *archive-push*) echo "WARN: dropped WAL file" ;; *) exit 103 ;; esac'
    assert run("pgbackrest-archive-push", "pg_wal/00000011.history", says=says).returncode == 0


def test_a_left_timelines_segment_that_is_archived_otherwise_does_not_stop_the_archiver(run):
    assert run("pgbackrest-archive-push", "pg_wal/000000100000000000000016", code=45).returncode == 0


@pytest.mark.parametrize(("file", "code"), [
    ("000000100000000000000015", 45), ("000000110000000000000016", 45), ("000000100000000000000016", 103),
    ("00000011.history", 45),
])  # fmt: skip
def test_any_other_refusal_is_handed_on(run, file, code):
    assert run("pgbackrest-archive-push", f"pg_wal/{file}", code=code).returncode == code
