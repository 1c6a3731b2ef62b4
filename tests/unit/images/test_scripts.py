"""The images' scripts that need nothing but a shell, with fakes of the programs they call."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest
from image_scripts import BASE, PATRONI, run

from pgha.tools import pgbackrest, postgres, processes


@pytest.fixture
def repository(fake, tmp_path):
    """The repository's folder, of which pgBackRest gives single files; it knows no other command.

    Beside a file that ends in .broken the connection breaks.
    """
    folder = tmp_path / "repository"
    folder.mkdir()
    fake(
        "pgbackrest",
        'case $1 in --stanza=*) [ "$1" = --stanza=pg_ha_db ] || exit 105; shift ;; esac\n'
        f'[ "$#-$1" = 2-repo-get ] || {{ echo "not $*" >&2; exit 31; }}; cd {folder}\n'
        '[ -e "$2.broken" ] && { head -c 20 "$2"; echo "ERROR: [039]" >&2; exit 39; }; exec cat "$2"',
    )
    return folder


SCRIPTS = sorted(path for folder in (BASE, PATRONI) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_shell_script_can_be_read_by_sh(script):
    if script.read_bytes().startswith(b"#!/bin/sh"):
        assert run("sh", "-n", script).stderr == ""


# pgbackrest.run: pgBackRest's TLS server --------------------------------------------------------------------


@pytest.fixture
def server(fake, tmp_path):
    """Run the service with or without a configuration; what it became, with its options for libpq."""
    home = tmp_path / "home"
    home.mkdir()
    text = (BASE / "pgbackrest.run").read_text().replace("HOME=/var/lib/postgresql", f"HOME={home}")
    script = tmp_path / "run"
    script.write_text(text.replace("/pgha/config/", f"{tmp_path}/"))
    for program in ("s6-svc", "s6-setuidgid"):
        fake(program, f'printf "%s\\n" "{program} $*" "$PGOPTIONS"')
    return lambda: run("sh", script).stdout.splitlines()


def test_a_backup_s_session_has_no_timeout_of_a_database(server, tmp_path):
    (tmp_path / "pgbackrest.conf").touch()
    started, options = server()
    assert started.startswith("s6-setuidgid postgres pgbackrest server")
    names = ("statement_timeout", "lock_timeout", "idle_session_timeout")
    assert options == " ".join(f"-c {name}=0" for name in names)


def test_without_pgbackrest_no_server_runs(server):
    assert server()[0] == "s6-svc -d /service/pgbackrest"


# scheduled: how a job ended ---------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path):
    """Run a job as cron does; its exit code and the result that is kept."""
    folder = tmp_path / "deep" / "results"

    def job(script, name="full"):
        answer = run("sh", BASE / "scheduled", folder, name, "sh", "-c", script)
        kept = folder / f"{name}.json"
        return answer, json.loads(kept.read_text()) if kept.exists() else None

    return job


@pytest.mark.parametrize("code", [0, 1, 55, 126])
def test_a_job_s_exit_code_is_kept(job, code):
    answer, kept = job(f"echo said; echo failed >&2; exit {code}")
    assert answer.returncode == kept["exit_code"] == code
    assert answer.stdout == "said\nfailed\n"
    assert kept["job"] == "full"
    assert kept["ended"] >= kept["started"]


def test_a_job_that_is_not_there_failed(tmp_path):
    answer = run("sh", BASE / "scheduled", tmp_path / "results", "full", "nosuch-program")
    assert answer.returncode == 127
    assert json.loads((tmp_path / "results" / "full.json").read_text())["exit_code"] == 127


def test_a_job_whose_turn_it_was_not_leaves_the_last_result(job):
    answer, kept = job("exit 75")
    assert (answer.returncode, kept) == (0, None)
    _, failed = job("exit 3")
    answer, kept = job("exit 75")
    assert (answer.returncode, kept) == (0, failed)


def test_a_failed_job_keeps_the_error_it_ended_with(job):
    lines = ("P00   INFO: begin", 'P00  ERROR: [041]: unable to open "a\\b"', "P00   INFO: end")
    said = "".join(f"printf '%s\\n' '{line}'; " for line in lines) + "exit 41"
    _, kept = job(said)
    assert kept["words"] == "P00  ERROR: [041]: unable to open ab"
    assert job("echo 'ERROR: no matter'")[1]["words"] == ""


def test_two_jobs_that_meet_wait_for_each_other_and_one_is_not_begun_twice(tmp_path):
    order, begun = tmp_path / "order", tmp_path / "begun"
    line = ["sh", BASE / "scheduled", tmp_path / "results"]
    script = f"echo begin >> {order}; touch {begun}; sleep 1; echo end >> {order}"
    first = subprocess.Popen([*line, "incr", "sh", "-c", script], stdout=subprocess.DEVNULL)
    while not begun.exists():
        assert first.poll() is None
    assert run(*line, "incr", "sh", "-c", f"echo again >> {order}").returncode == 75
    assert run(*line, "full", "sh", "-c", f"echo full >> {order}").returncode == 0
    assert first.wait(10) == 0
    assert order.read_text().split() == ["begin", "end", "full"]


def test_each_job_has_its_own_result(job, tmp_path):
    job("exit 1", "diff")
    job("exit 0", "full")
    assert job("exit 75", "diff")[1]["exit_code"] == 1
    assert not list(tmp_path.rglob("*.new"))


def test_arguments_with_blanks_stay_whole(tmp_path):
    answer = run("sh", BASE / "scheduled", tmp_path, "full", "printf", "[%s]", "a b", "*", "")
    assert answer.stdout == "[a b][*][]"


# verify-repository ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code", "exit_code"),
    [
        ("stanza: pg_ha_db\\nstatus: ok", 0, 0),
        ("stanza: pg_ha_db\\nstatus: error", 0, 1),
        ("status: ok\\nstatus: error", 0, 1),
        ("nothing to say", 0, 1),
        ("", 0, 1),
        ("status: ok", 29, 29),
        ("ERROR: [103]: unable to find a valid repository", 103, 1),
    ],
)
def test_a_repository_is_good_when_pgbackrest_says_so(fake, said, code, exit_code):
    fake("pgbackrest", f"printf '{said}\\n' >&2; exit {code}")
    answer = run("sh", BASE / "verify-repository")
    assert answer.returncode == exit_code
    assert answer.stdout == said.replace("\\n", "\n") + "\n"


HELP = "  --repo              set repository [1]\\n  --set               backup set to verify"


@pytest.mark.parametrize(
    ("known", "labels", "arguments"),
    [
        (HELP, [], "--stanza=pg_ha_db --output=text --verbose verify"),
        (HELP, ["20261123-053604F"], "--stanza=pg_ha_db --set=20261123-053604F --output=text --verbose verify"),
        # An older pgBackRest reads all or nothing.
        (HELP.split("\\n")[0], ["20261123-053604F"], "--stanza=pg_ha_db --output=text --verbose verify"),
    ],
    ids=["all", "one", "old"],
)
def test_one_backup_or_all_of_them_are_read(fake, known, labels, arguments):
    fake("pgbackrest", f"""[ "$1" = help ] && printf '{known}\\n' && exit; echo "$*"; echo status: ok""")
    assert run("sh", BASE / "verify-repository", *labels).stdout == f"{arguments}\nstatus: ok\n"


def test_reading_the_repository_leaves_nothing_behind(fake, tmp_path):
    fake("pgbackrest", "echo status: ok")
    (tmp_path / "scratch").mkdir()
    run("sh", BASE / "verify-repository", TMPDIR=str(tmp_path / "scratch"))
    assert list((tmp_path / "scratch").iterdir()) == []


# find-wal ---------------------------------------------------------------------------------------------------

SEGMENTS = [f"0000000100000000000000{number:02X}" for number in range(1, 4)]


def line(position, desc, rmgr="XLOG", xid=0):
    return (
        f"rmgr: {rmgr:<11} len (rec/tot):     98/    98, tx: {xid:10}, lsn: 0/{position:08X},"
        f" prev 0/00000000, desc: {desc}"
    )


def commit(position, xid, when="2026-11-23 08:36:27.253816", word="COMMIT"):
    return line(position, f"{word} {when} UTC", "Transaction", xid)


class Searched:
    """An archive whose segments are texts, as pg_waldump would show them, and what find-wal answers about it."""

    def __init__(self, folder, suffix, scratch):
        self.folder, self.suffix, self.scratch = folder, suffix, scratch

    def path(self, segment):
        return f"{segment[:16]}/{segment}-{'d3e670f3' * 5}{self.suffix}"

    def file(self, segment):
        return self.folder / "archive" / "pg_ha_db" / "17-2" / self.path(segment)

    def put(self, *segments):
        """Oldest first. What is not a record stands for the rest of the 16 MB."""
        for name, records in zip(SEGMENTS, segments, strict=False):
            content = "".join(f"{record}\n" for record in [*records, "nothing else"]).encode()
            self.file(name).parent.mkdir(parents=True, exist_ok=True)
            self.file(name).write_bytes(gzip.compress(content) if self.suffix else content)

    def ask(self, what, value, segments):
        """In the first so many segments, newest first."""
        paths = [self.path(name) for name in SEGMENTS[:segments][::-1]]
        argv = pgbackrest.find_wal(what, value, "17-2", paths).argv
        answer = run("sh", PATRONI / argv[0], *argv[1:], TMPDIR=str(self.scratch))
        assert list(self.scratch.iterdir()) == []
        return answer

    def __call__(self, what, value, *segments):
        self.put(*segments)
        answer = self.ask(what, value, len(segments))
        found = [(r.segment, r.lsn, r.committed is not None) for r in pgbackrest.parse_wal_records(answer.stdout)]
        assert answer.returncode == (0 if found else 1)
        assert answer.stderr == ""
        return found


@pytest.fixture(params=[".zst", ".gz", ""], ids=["zst", "gz", "plain"])
def find_wal(request, fake, repository, tmp_path):
    # zstd may not be installed here; what it is to unpack is packed by gzip.
    fake("zstd", '[ "$*" = -dq ] && exec gzip -dq; echo "not $*" >&2; exit 1')
    # Like pg_waldump it shows a segment, or two that follow each other.
    fake("pg_waldump", 'grep -h "^rmgr: " "$@"; echo "pg_waldump: error in WAL record" >&2; exit 1')
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Searched(repository, request.param, scratch)


def test_a_transaction_is_found_by_its_end(find_wal):
    first = [line(0x1000010, "INSERT+INIT off: 1", "Heap", 760), commit(0x1000020, 760), commit(0x1000030, 761)]
    second = [commit(0x2000010, 7600), commit(0x2000020, 762, word="ABORT"), line(0x2000030, "INSERT", "Heap", 763)]
    assert find_wal("xid", "760", first, second) == [(SEGMENTS[0], 0x1000020, True)]
    assert find_wal("xid", "762", first, second) == [(SEGMENTS[1], 0x2000020, True)]
    assert find_wal("xid", "763", first, second) == []
    assert find_wal("xid", "76", first, second) == []


@pytest.mark.parametrize(
    "name", ["alpha", "alpha beta", "it's", 'say "it"', "a.*b", "a\\nb", "a\\b", "%s", "$HOME", "desc: RESTORE_POINT x"]
)
def test_a_restore_point_is_found_by_its_whole_name(find_wal, name):
    others = [line(0x1000010, f"RESTORE_POINT {name}x"), line(0x1000020, f"RESTORE_POINT x{name}")]
    assert find_wal("name", name, others) == []
    assert find_wal("name", name, [*others, line(0x1000030, f"RESTORE_POINT {name}")]) == [
        (SEGMENTS[0], 0x1000030, False)
    ]


def test_the_newest_of_restore_points_with_one_name_is_found(find_wal):
    twice = [line(0x1000010, "RESTORE_POINT it"), line(0x1000020, "RESTORE_POINT it")]
    assert find_wal("name", "it", twice) == [(SEGMENTS[0], 0x1000020, False)]
    assert find_wal("name", "it", twice, [line(0x2000010, "RESTORE_POINT it")]) == [(SEGMENTS[1], 0x2000010, False)]


def test_the_last_record_comes_with_the_last_end_of_a_transaction(find_wal):
    records = [commit(0x1000010, 760), commit(0x1000020, 761, word="ABORT"), line(0x1000030, "SWITCH")]
    assert find_wal("last", "", records) == [(SEGMENTS[0], 0x1000030, False), (SEGMENTS[0], 0x1000020, True)]
    assert find_wal("last", "", [commit(0x1000010, 760)]) == [(SEGMENTS[0], 0x1000010, True)] * 2


def test_a_segment_without_a_record_is_passed_over(find_wal):
    assert find_wal("last", "", [line(0x1000030, "SWITCH")], []) == [(SEGMENTS[0], 0x1000030, False)]
    assert find_wal("last", "", [], []) == []


def test_the_last_end_of_a_transaction_may_be_in_an_older_segment(find_wal):
    """Else a time before it would be taken for the end of the archive."""
    idle = [line(0x2000010, "RUNNING_XACTS nextXid 761", "Standby"), line(0x2000020, "SWITCH")]
    found = find_wal("last", "", [commit(0x1000010, 760)], idle)
    assert found == [(SEGMENTS[1], 0x2000020, False), (SEGMENTS[0], 0x1000010, True)]


@pytest.mark.parametrize("which", [0, 1], ids=["older", "newer"])
@pytest.mark.parametrize("what", ["xid", "name", "last"])
@pytest.mark.parametrize("harm", ["missing", "empty", "broken"])
def test_a_segment_that_cannot_be_read_is_not_one_without_the_record(find_wal, which, what, harm):
    """Without an exit code and a word of its own it would be taken for an archive in which nothing was found."""
    find_wal.put([line(0x1000010, "SWITCH")], [line(0x2000010, "SWITCH")])
    file = find_wal.file(SEGMENTS[which])
    if harm == "missing":
        file.unlink()
    elif harm == "empty":
        file.write_bytes(b"")
    else:
        file.with_name(f"{file.name}.broken").touch()
    answer = find_wal.ask(what, "760", 2)
    assert answer.returncode != 0
    assert answer.stderr != ""
    # What was found before may have been said.
    found = [record.segment for record in pgbackrest.parse_wal_records(answer.stdout)]
    assert found == ([SEGMENTS[1]] if what == "last" and which == 0 else [])


def test_segments_that_are_not_needed_are_not_read(find_wal):
    find_wal.put([], [line(0x2000010, "RESTORE_POINT it")])
    find_wal.file(SEGMENTS[0]).unlink()
    answer = find_wal.ask("name", "it", 2)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [record.segment for record in pgbackrest.parse_wal_records(answer.stdout)] == [SEGMENTS[1]]


# read_archived ----------------------------------------------------------------------------------------------

HISTORIES = {"00000002.history": "1\t0/8000000\tit\n", "00000003.history": "1\t0/8000000\tit\n2\t0/9000000\tit\n"}


@pytest.fixture
def read_archived(repository):
    """Ask for both histories while only these are there."""
    archive = repository / "archive" / "pg_ha_db" / "17-2"
    archive.mkdir(parents=True)

    def read_archived(*there):
        for name in there:
            (archive / name).write_text(HISTORIES[name])
        return run(*pgbackrest.read_archived("17-2", list(HISTORIES)).argv)

    return read_archived


def test_small_files_of_the_archive_are_read(read_archived):
    answer = read_archived(*HISTORIES)
    assert (answer.returncode, answer.stderr) == (0, "")
    found = pgbackrest.parse_archived(answer.stdout)
    assert {name: text.strip() + "\n" for name, text in found.items()} == HISTORIES


@pytest.mark.parametrize("there", [[], ["00000002.history"], ["00000003.history"]], ids=["none", "first", "last"])
def test_a_small_file_that_cannot_be_read_is_not_an_empty_one(read_archived, there):
    """An empty history would be one without parents."""
    answer = read_archived(*there)
    assert answer.returncode != 0
    assert answer.stderr != ""


# clone-from-repository: which backup a replica is made of ---------------------------------------------------


@pytest.fixture
def cloning(imported):
    return imported("clone-from-repository")


@pytest.fixture
def newest_on(fake, tmp_path, cloning):
    """The backup a replica of this timeline is made of; backups are (label, timeline, end, error)."""
    fake(
        "pgbackrest",
        f'case "$*" in\n"--stanza=pg_ha_db --output=json --log-level-console=off info") exec cat {tmp_path}/info;;\n'
        f'"--stanza=pg_ha_db repo-get archive/pg_ha_db/17-2/"*.history) exec cat "{tmp_path}/${{3##*/}}";;\n'
        "esac; exit 31",
    )

    def newest_on(timeline, history, *backups):
        if history:
            (tmp_path / f"{timeline:08X}.history").write_text(history)
        told = [
            {
                "label": label,
                "archive": {"start": f"{on:08X}0000000000000002"},
                "lsn": {"start": "0/2000028", "stop": stop},
                "error": error,
            }
            for label, on, stop, error in backups
        ]
        archives = [{"id": "16-1"}, {"id": "17-2"}]
        (tmp_path / "info").write_text(json.dumps([{"archive": archives, "backup": told}]))
        backup, _, archive = cloning.on_history_of(timeline)
        assert archive == ("17-2", [])
        return backup and backup["label"]

    return newest_on


def test_of_two_repositories_the_archive_is_that_of_the_backup(cloning, fake, tmp_path):
    """Where a former repository is kept: it has been through an upgrade, so its archive has another name."""
    told = {
        "db": [{"id": 1, "repo-key": 1}, {"id": 2, "repo-key": 1}, {"id": 1, "repo-key": 2}],
        "archive": [
            {"id": "17-1", "database": {"id": 1, "repo-key": 1}},
            {"id": "18-2", "database": {"id": 2, "repo-key": 1}},
            {"id": "18-1", "database": {"id": 1, "repo-key": 2}},
        ],
        "backup": [
            {
                "label": label,
                "database": {"id": database, "repo-key": repo},
                "archive": {"start": f"{1:08X}{0:08X}{number:08X}"},
                "lsn": {"stop": f"0/{number}000050"},
            }
            for number, (label, repo, database) in enumerate([("a", 1, 1), ("b", 1, 2), ("c", 2, 1)], 2)
        ],
    }
    fake("pgbackrest", f"echo \"$*\" >> {tmp_path}/asked; case $* in *info) echo '{json.dumps([told])}';; esac")
    needed_wal = sys.modules["needed_wal"]
    assert [backup["label"] for backup in needed_wal.of_this_database(told)] == ["b", "c"]
    backup, _, archive = cloning.on_history_of(1)
    assert (backup["label"], archive) == ("c", ("18-1", ["--repo=2"]))
    assert cloning.archive_of(told, told["backup"][1]) == ("18-2", ["--repo=1"])
    cloning.missing(archive, [f"{1:08X}{0:08X}{4:08X}"])
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1] == "--stanza=pg_ha_db --repo=2 repo-ls archive/pg_ha_db/18-1/0000000100000000"


BEFORE, ABANDONED = ("before", 1, "0/4000000", False), ("abandoned", 1, "0/6000000", False)
LEFT = "1\t0/5000000\tbefore 2026-11-23 08:30:00+00\n"


@pytest.mark.parametrize(
    ("timeline", "history", "backups", "label"),
    [
        (1, "", [BEFORE, ABANDONED], "abandoned"),
        (2, LEFT, [BEFORE, ABANDONED], "before"),
        (2, LEFT, [("at", 1, "0/5000000", False), ABANDONED], "at"),
        (2, LEFT, [BEFORE, ABANDONED, ("after", 2, "0/7000000", False)], "after"),
        (2, LEFT, [BEFORE, ("bad", 2, "0/7000000", True)], "before"),
        (2, LEFT, [ABANDONED], None),
        (3, f"\n# comment\n{LEFT}\n2\t1/0\tit\n", [BEFORE, ("late", 2, "1/1", False)], "before"),
        (3, f"{LEFT}2\t1/0\tit\n", [BEFORE, ("high", 2, "0/F0000000", False)], "high"),
        (1, "", [], None),
    ],
)
def test_a_replica_is_made_of_the_newest_backup_on_the_leader_s_history(newest_on, timeline, history, backups, label):
    assert newest_on(timeline, history, *backups) == label


def test_a_backup_from_before_a_major_upgrade_is_of_another_database(imported, cloning):
    backup = {"archive": {"start": "000000010000000000000002"}, "lsn": {"stop": "0/2000100"}, "error": False}
    older, newer = ({**backup, "label": f"b{n}", "database": {"id": n, "repo-key": 1}} for n in (1, 2))
    stanza = {"db": [{"id": 1}, {"id": 2}], "backup": [older]}
    history = imported("clone-from-repository").History(1, ())
    assert cloning.newest_on(stanza, history) is None
    assert cloning.newest_on({**stanza, "backup": [newer, older]}, history) == newer


def test_without_the_leader_s_history_no_backup_is_chosen(newest_on):
    with pytest.raises(subprocess.CalledProcessError):
        newest_on(2, "", BEFORE, ("after", 2, "0/7000000", False))


def test_a_segment_the_archive_lacks_is_named(cloning, fake):
    """Only the folders are listed that they would be in."""
    there = "000000010000000000000008-0a.zst 000000010000000000000009.partial-0b.zst"
    folder = "archive/pg_ha_db/17-1/0000000100000000"
    fake("pgbackrest", f"[ \"$*\" = '--stanza=pg_ha_db repo-ls {folder}' ] && printf '%s\\n' {there}")
    names = ["000000010000000000000008", "000000010000000000000009"]
    assert cloning.missing(("17-1", []), names) == names[1:]
    assert cloning.missing(("17-1", []), names[:1]) == []
    assert cloning.missing(("17-1", []), []) == []


# stop-postgres: Patroni's before_stop -------------------------------------------------------------------------


@pytest.fixture
def stopping(fake, tmp_path):
    """Stop a "Postgres" that goes on for a moment after pg_ctl; returns the exit code, and what happened."""
    told = tmp_path / "told"
    told.touch()
    fake("pg_ctl", f'echo "pg_ctl $*" >> {told}; exit ${{PG_CTL:-0}}')
    fake(
        "sleep", f'[ "$1" = 0.02 ] || exec /usr/bin/sleep "$@"; echo waited >> {told}; kill $(head -n 1 postmaster.pid)'
    )

    def stopping():
        answer = subprocess.run([PATRONI / "stop-postgres", "."], cwd=tmp_path, check=False, capture_output=True)
        return answer.returncode, told.read_text().splitlines()

    return stopping


STOPPED = "pg_ctl stop --pgdata=. --mode=fast --timeout=1 --silent"


def test_a_postgres_that_is_stopped_has_ended(stopping, tmp_path):
    """Also its process, which ends a moment after the file that pg_ctl looks for has gone."""
    with subprocess.Popen(["/usr/bin/sleep", "60"]) as server:
        (tmp_path / "postmaster.pid").write_text(f"{server.pid}\n/pgdata/17\n")
        reaper = threading.Thread(target=server.wait)
        reaper.start()
        code, told = stopping()
        assert (code, told[:2]) == (0, [STOPPED, "waited"])
        reaper.join(10)
        assert server.returncode is not None


def test_a_postgres_that_takes_longer_is_left_to_patroni(stopping, tmp_path, monkeypatch):
    monkeypatch.setenv("PG_CTL", "1")
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert stopping() == (1, [STOPPED])


def test_where_no_postgres_runs_none_is_stopped(stopping):
    assert stopping() == (0, [])


# complete-history: what a lost leader had not archived --------------------------------------------------------


@pytest.fixture
def promoted(imported, fake, tmp_path, monkeypatch):
    """A leader of timeline 2, which left timeline 1 in segment 6; the backup begins in segment 2. Runs the script
    with these segments in pg_wal and in the archive; returns what it pushed, and what it noted."""
    script = imported("complete-history")
    data = tmp_path / "17"
    (data / "pg_wal").mkdir(parents=True)
    (data / "pg_wal" / "00000002.history").write_text("1\t0/6000100\tno recovery target specified\n")
    backup = {
        "label": "b",
        "archive": {"start": f"{1:08X}{0:08X}{2:08X}"},
        "lsn": {"stop": "0/2000100"},
        "error": False,
    }
    (tmp_path / "info").write_text(json.dumps([{"archive": [{"id": "17-1"}], "backup": [backup]}]))
    monkeypatch.setenv("PGHA_DATA", str(data))
    # The first answer comes from a Postgres that is not promoted yet.
    fake(
        "psql",
        f'case "$*" in *pg_logical_emit_message*pg_switch_wal*) echo switched >> {tmp_path}/pushed; exit;; esac\n'
        f"if [ -e {tmp_path}/asked ]; then echo f; else touch {tmp_path}/asked; echo t; fi",
    )

    def sleep(seconds):
        # Before anybody is asked anything the other members have time to follow.
        assert seconds == script.AGAIN or seconds == script.SETTLED
        slept.append((seconds, (tmp_path / "asked").exists()))
        if seconds == script.AGAIN:
            (tmp_path / "away").unlink(missing_ok=True)

    slept = []
    monkeypatch.setattr(script.time, "sleep", sleep)
    fake(
        "pgbackrest",
        f'[ ! -e {tmp_path}/away ] || exit 103\ncase "$*" in *info) exec cat {tmp_path}/info;; '
        f'*"repo-ls archive/pg_ha_db/17-1/0000000100000000") exec cat {tmp_path}/there;; '
        f'*archive-push*) echo "$*" >> {tmp_path}/pushed; exit 0;; esac; exit 31',
    )

    def promoted(has=(), archived=(), role="primary"):
        names = [f"{1:08X}{0:08X}{number:08X}" for number in range(10)]
        for number in has:
            (data / "pg_wal" / names[number]).touch()
        (tmp_path / "there").write_text("".join(f"{names[number]}-0a.zst\n" for number in archived))
        monkeypatch.setattr("sys.argv", ["complete-history", "on_role_change", role, "pgha_cluster"])
        script.main()
        pushed = tmp_path / "pushed"
        lines = pushed.read_text().splitlines() if pushed.exists() else []
        # At the end the segment in which the timeline began is archived, by every leader and by nobody else.
        assert lines[-1:] == (["switched"] if role == "primary" else [])
        assert slept[:1] == ([(script.SETTLED, False)] if role == "primary" else [])
        slept.clear()
        (tmp_path / "asked").unlink(missing_ok=True)
        numbers = [int(line[-8:], 16) for line in lines if line != "switched"]
        gap = tmp_path / "archive_gap"
        return numbers, [int(name[-8:], 16) for name in json.loads(gap.read_text())] if gap.exists() else []

    return promoted


def test_what_a_lost_leader_had_not_archived_is_archived_by_the_next_one(promoted):
    assert promoted(has=(3, 4, 5, 6), archived=(2, 4)) == ([3, 5], [])


def test_what_nobody_has_is_noted_until_it_is_there(promoted):
    assert promoted(has=(5,), archived=(2, 3)) == ([5], [4])
    assert promoted(has=(5,), archived=(2, 3, 4, 5)) == ([5], [])


def test_a_standby_archives_nothing(promoted):
    assert promoted(has=(3, 4, 5), role="replica") == ([], [])


def test_a_repository_that_is_away_is_asked_again(promoted, tmp_path):
    (tmp_path / "away").touch()
    assert promoted(has=(3, 4, 5), archived=(2,)) == ([3, 4, 5], [])


# Data directories -------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    """A data directory, and its content in one word."""
    path = tmp_path / "17"

    class Data:
        def put(self, text):
            path.mkdir(exist_ok=True)
            (path / "PG_VERSION").write_text(text)

        def do(self, command):
            assert run(*command(str(path)).argv).returncode == 0

        def __str__(self):
            kept = path.with_name("17.kept")
            return " ".join(
                f"{folder.name}={(folder / 'PG_VERSION').read_text()}" for folder in (path, kept) if folder.exists()
            )

    return Data()


def test_the_only_good_data_is_set_aside_once(data):
    data.put("old")
    data.do(postgres.set_aside)
    assert str(data) == "17.kept=old"
    data.do(postgres.set_aside)
    data.put("restored")
    data.do(postgres.set_aside)
    assert str(data) == "17=restored 17.kept=old"


def test_what_was_set_aside_is_taken_back(data):
    data.put("old")
    data.do(postgres.set_aside)
    data.put("restored")
    data.do(postgres.take_back)
    assert str(data) == "17=old"
    data.do(postgres.take_back)
    assert str(data) == "17=old"


def test_data_that_was_not_restored_yet_is_taken_back(data):
    data.put("old")
    data.do(postgres.set_aside)
    data.do(postgres.take_back)
    assert str(data) == "17=old"


def test_where_there_is_no_data_nothing_is_set_aside(data):
    data.do(postgres.set_aside)
    data.do(postgres.take_back)
    assert str(data) == ""


def test_kept_data_goes_when_all_is_well(data):
    data.put("old")
    data.do(postgres.set_aside)
    data.put("restored")
    data.do(postgres.remove_kept)
    assert str(data) == "17=restored"
    data.do(postgres.remove_data)
    assert str(data) == ""


def test_room_is_told_for_data_that_is_there_or_not(tmp_path):
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "file").write_bytes(b"x" * 100_000)
    free, used = postgres.parse_room(run(*postgres.room(str(tmp_path / "17")).argv).stdout)
    assert 0 < free <= shutil.disk_usage(tmp_path).total
    assert 100_000 <= used < 200_000
    assert postgres.parse_room(run(*postgres.room(str(tmp_path / "18")).argv).stdout)[1] == 0


def test_room_is_told_although_files_go_while_they_are_counted(fake, tmp_path):
    fake("du", "printf '500\\t/pgdata/17\\n'; echo 'cannot access: No such file or directory' >&2; exit 1")
    assert postgres.parse_room(run(*postgres.room(str(tmp_path / "17")).argv).stdout)[1] == 500


@pytest.mark.parametrize(("state", "code"), [("running", 0), ("gone", 3)])
def test_a_server_that_does_not_run_shows_its_log(fake, tmp_path, state, code):
    fake("pg_ctl", "exit 0" if state == "running" else "exit 3")
    fake("psql", "echo '{}'")
    (tmp_path / "17.log").write_text("".join(f"line {n}\n" for n in range(30)))
    answer = run(*postgres.recovery_state(str(tmp_path / "17")).argv)
    assert answer.returncode == code
    assert answer.stdout == ("{}\n" if code == 0 else "")
    assert answer.stderr.splitlines() == ([] if code == 0 else [f"line {n}" for n in range(15, 30)])


# A pid file that tells the truth or not ---------------------------------------------------------------------


@pytest.fixture
def process(tmp_path):
    """A process of some name that a data directory's pid file names."""
    begun = []

    def process(name):
        program = tmp_path / name
        shutil.copy(shutil.which("sleep"), program)
        begun.append(subprocess.Popen([program, "600"]))
        (tmp_path / "17").mkdir()
        (tmp_path / "17" / "postmaster.pid").write_text(f"{begun[-1].pid}\n/pgdata/17\n")
        return begun[-1]

    yield process
    for one in begun:
        one.kill()
        one.wait()


def test_postgres_is_signalled(process, tmp_path):
    postmaster = process("postgres")
    assert run("sh", "-c", processes.POSTGRES, "signal", tmp_path / "17", "KILL").returncode == 0
    assert postmaster.wait(60) == -9


def test_a_process_that_is_not_postgres_is_left_alone(process, tmp_path):
    """The pid file of a Postgres that crashed stays, and its number may be another process' now."""
    other = process("patroni")
    answer = run("sh", "-c", processes.POSTGRES, "signal", tmp_path / "17", "KILL")
    assert (answer.returncode, answer.stderr) == (1, "Postgres does not run\n")
    assert other.poll() is None


# A standby that replayed more than counts -------------------------------------------------------------------


@pytest.fixture
def look(fake, tmp_path, monkeypatch):
    """Let the watcher look once at a Postgres whose startup process is at a segment, or has ended."""
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    (wal / "00000002.history").write_text("1\t0/3000100\tno recovery target specified\n")
    (tmp_path / "postmaster.pid").write_text("1\n")
    (tmp_path / "patroni.conf").write_text(f"postgresql:\n  data_dir: {tmp_path}\n")
    monkeypatch.setenv("PATRONI_CFG", str(tmp_path / "patroni.conf"))
    monkeypatch.setenv("PG_MAJOR", "17")
    monkeypatch.setenv("PGHA_LIB", str(PATRONI / "archive"))
    fake("sleep", f"[ -e {tmp_path}/looked ] && exit 1; touch {tmp_path}/looked")
    fake("s6-setuidgid", f'echo "${{2##*/}} $3" >> {tmp_path}/done; case $2 in *psql) echo t ;; esac')

    def look(segment, patroni="""echo '{"members": []}'"""):
        fake("pgrep", f"echo '17 postgres: startup recovering {segment}'" if segment else "exit 1")
        fake("curl", patroni)
        answer = run("sh", PATRONI / "diverged.run")
        asked = tmp_path / "done"
        return answer, asked.read_text() if asked.exists() else ""

    return look


def test_a_postgres_that_replayed_more_than_counts_is_stopped(look):
    answer, done = look("000000010000000000000003")
    assert done == "psql -XAtqc\npg_ctl stop\n"
    assert answer.stdout.startswith("diverged: 000000010000000000000003 was replayed beyond 0/3000100")


@pytest.mark.parametrize("patroni", ["""echo '{"members": [], "pause": true}'""", "exit 7"])
def test_in_a_pause_and_without_patroni_nothing_is_stopped(look, patroni):
    _, done = look("000000010000000000000003", patroni)
    assert "pg_ctl" not in done


@pytest.mark.parametrize("segment", ["", "000000010000000000000002", "000000020000000000000003"])
def test_a_leader_and_a_standby_that_follows_are_left_alone(look, segment):
    answer, done = look(segment)
    assert (answer.stdout, answer.stderr, done) == ("", "", "")
