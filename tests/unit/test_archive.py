"""The archive's two commands as a shell runs them, with a pgbackrest that only says what it was asked."""

import shutil
import subprocess

import pytest

from pgha import ROOT

SCRIPTS = ROOT / "images" / "patroni" / "archive"
HISTORY = "15\t0/16010000\tno recovery target specified\n\n16\t0/161C6EE0\tno recovery target specified\n"


@pytest.fixture
def run(tmp_path):
    """Run a script in a data directory; pgbackrest ends with this exit code."""
    (tmp_path / "pg_wal").mkdir()
    (tmp_path / "pg_wal" / "00000010.history").write_text(HISTORY.splitlines()[0] + "\n")
    (tmp_path / "pg_wal" / "00000011.history").write_text(HISTORY)
    for name in ("pgbackrest-archive-get", "pgbackrest-archive-push"):
        text = (SCRIPTS / name).read_text().replace("/usr/local/lib/pgha", str(SCRIPTS))
        (tmp_path / name).write_text(text)

    def run(name, *arguments, code=0):
        tool = tmp_path / "pgbackrest"
        tool.write_text(f'#!/bin/sh\necho "pgbackrest $*"\nexit {code}\n')
        tool.chmod(0o755)
        return subprocess.run(
            [shutil.which("sh"), tmp_path / name, *arguments], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "STANZA_NAME": "s"}, check=False,
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
def test_a_timeline_is_not_fetched_beyond_the_point_where_it_was_left(run, file):
    answer = run("pgbackrest-archive-get", file, "pg_wal/RECOVERYXLOG")
    assert (answer.stdout, answer.returncode) == ("", 1)


@pytest.mark.parametrize("file", ["000000100000000000000016", "000000110000000000000016", "00000011.history"])
def test_everything_is_archived_that_can_be(run, file):
    answer = run("pgbackrest-archive-push", f"pg_wal/{file}")
    assert answer.stdout == f"pgbackrest --stanza=s archive-push pg_wal/{file}\n"
    assert answer.returncode == 0


def test_a_left_timelines_segment_that_is_archived_otherwise_does_not_stop_the_archiver(run):
    assert run("pgbackrest-archive-push", "pg_wal/000000100000000000000016", code=45).returncode == 0


@pytest.mark.parametrize(("file", "code"), [
    ("000000100000000000000015", 45), ("000000110000000000000016", 45), ("000000100000000000000016", 103),
    ("00000011.history", 45),
])  # fmt: skip
def test_any_other_refusal_is_handed_on(run, file, code):
    assert run("pgbackrest-archive-push", f"pg_wal/{file}", code=code).returncode == code
