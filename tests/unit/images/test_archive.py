"""The archive's two commands as a shell runs them, with a pgbackrest that only says what it was asked."""

import subprocess

import pytest

from pgha import ROOT

SCRIPTS = ROOT / "images" / "patroni" / "archive"
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
                 "PGHA_SPOOL": str(tmp_path / "spool")},
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


@pytest.mark.parametrize("file", ["000000100000000000000016", "000000100000000000000017", "000000100000000100000000",
                                  "0000000F0000000000000016"])  # fmt: skip
def test_a_timeline_is_not_fetched_beyond_the_point_where_it_was_left(run, tmp_path, file):
    """Not even what it has itself is made to fit: pg_rewind does that."""
    (tmp_path / "pg_wal" / file).write_bytes(b"own")
    answer = run("pgbackrest-archive-get", file, "pg_wal/RECOVERYXLOG")
    assert answer.returncode == 1
    assert "pgbackrest --" not in answer.stdout and "left" in answer.stdout
    assert not (tmp_path / "pg_wal" / "RECOVERYXLOG").exists()
    assert (tmp_path / "pg_wal" / file).read_bytes() == b"own"


@pytest.mark.parametrize("file", ["00000012.history", "000000110000000000000016"])
def test_every_question_is_put_to_the_archive(run, tmp_path, file):
    """Also the same one a moment later, and by a standby that has just received WAL: somebody may have archived it."""
    (tmp_path / "standby.signal").touch()
    (tmp_path / "pg_wal" / "000000110000000000000015").touch()
    for code in 1, 1, 0:
        answer = run("pgbackrest-archive-get", file, "there", code=code)
        assert (answer.stdout, answer.returncode) == (f"pgbackrest --stanza=s archive-get {file} there\n", code)


@pytest.mark.parametrize("file", ["000000100000000000000016", "000000110000000000000016", "00000011.history"])
def test_everything_is_archived_that_can_be(run, file):
    ready = [file, "000000110000000000000017", "00000012.history"]
    answer = run("pgbackrest-archive-push", f"pg_wal/{file}", ready=ready)
    assert answer.stdout == f"pgbackrest --stanza=s --no-archive-async archive-push pg_wal/{file}\n"
    assert answer.returncode == 0


@pytest.mark.parametrize("more", [
    {"ready": [f"0000001100000000000000{n}" for n in (16, 17, 18, 19)]},
    {"ready": ["000000110000000000000016"], "pushed": ["000000110000000000000016"]},
    {"ready": ["000000110000000000000016"], "busy": True},
])  # fmt: skip
def test_many_files_travel_at_once_and_none_twice(run, more):
    answer = run("pgbackrest-archive-push", "pg_wal/000000110000000000000016", **more)
    assert answer.stdout == "pgbackrest --stanza=s --archive-async archive-push pg_wal/000000110000000000000016\n"


def test_a_left_timelines_segment_that_is_archived_otherwise_does_not_stop_the_archiver(run):
    assert run("pgbackrest-archive-push", "pg_wal/000000100000000000000016", code=45).returncode == 0


@pytest.mark.parametrize(("file", "code"), [
    ("000000100000000000000015", 45), ("000000110000000000000016", 45), ("000000100000000000000016", 103),
    ("00000011.history", 45),
])  # fmt: skip
def test_any_other_refusal_is_handed_on(run, file, code):
    assert run("pgbackrest-archive-push", f"pg_wal/{file}", code=code).returncode == code
