import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

import pgha
from pgha.errors import BadSettings, Damaged, Missing
from pgha.project.files import write_file
from pgha.project.project import open_project
from pgha.project.record import Record, other_records, read_record

RECORD = Record({"nodes": "1", "prefix": "no"}, {"postgres": {"no1-node1": 50551}, "ssh": {"no1-node1": 50651}})


def damage(project, content):
    path = project.folder / "project.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_record_comes_back_as_it_was_written(a_project):
    assert a_project.record() == Record({}, {})
    a_project.write_record(RECORD)
    assert a_project.record() == RECORD


def test_hosts_that_were_given_up_are_none_of_the_project_any_more(a_project, root):
    a_project.write_record(Record({}, {}, gone=("pg1-node1", "etcd1", "etcd4", "pg1-node2")))
    opened = open_project([{}], root=root)
    assert opened.topology.host("pg1-node1") is None and opened.whole.host("pg1-node1") is not None
    assert [site.name for site in opened.topology.data_centers] == ["dc2", "dc3"]
    assert opened.record().gone == opened.gone


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"text",
        b"a: [",
        b"\xff\xfe",
        b"flags: {}",
        b"flags: 1\nports: {}",
        b"flags:\nports: {}",
        b"flags: {}\nports: {ssh: [1]}",
        b"flags: {}\nports: {ssh: {a: b}}",
        b"flags: {}\nports: {ssh: {a: }}",
    ],
)
def test_a_damaged_record_is_named_with_the_way_out(a_project, root, content):
    damage(a_project, content)
    with pytest.raises(Missing, match=r"build/pgha/project.yaml is damaged") as caught:
        open_project([{}], root=root)
    assert caught.value.hint.startswith("rm build/pgha/project.yaml")


def test_the_last_render_s_flags_hold_until_others_are_given(root):
    opened = open_project([{"nodes": 2}], {"nodes": "1", "prefix": "db"}, root=root)
    opened.write_record(Record(opened.flags, {}))
    again = open_project([{"nodes": 2}], root=root)
    assert (again.settings.nodes, again.settings.prefix) == (1, "db")
    assert open_project([{"nodes": 2}], {}, root=root).settings.nodes == 2


def test_the_record_is_that_of_the_named_project(root):
    open_project([{"project": "one"}], {"nodes": "1"}, root=root).write_record(Record({"nodes": "1"}, {}))
    assert open_project([{"project": "one"}], root=root).settings.nodes == 1
    assert open_project([{"project": "other"}], root=root).settings.nodes == 2
    assert open_project([{"project": "other"}, {"project": "one"}], root=root).settings.nodes == 1


@pytest.mark.parametrize("name", ["Bad", "../up", "", None])
def test_a_bad_project_name_is_told_with_the_other_problems(root, name):
    with pytest.raises(BadSettings) as caught:
        open_project([{"project": name, "durability": "never"}], root=root)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["project", "durability"]


def test_the_records_of_other_projects(make_project, root):
    others = {name: Record({"nodes": name}, {}) for name in "cab"}
    for name, record in others.items():
        make_project(project=name).write_record(record)
    assert other_records(root, "b") == [others["a"], others["c"]]
    assert read_record(root, "a") == others["a"]


@pytest.mark.parametrize("damage", ["flags: [", "flags: {}\n", "", "\x00\x01"])
def test_another_project_s_damaged_record_stops_nobody_else(make_project, root, damage):
    for name in ("one", "other"):
        make_project(project=name).write_record(RECORD)
    (root / "build" / "other" / "project.yaml").write_text(damage)
    assert other_records(root, "one") == []
    assert other_records(root, "third") == [RECORD]
    with pytest.raises(Damaged):
        read_record(root, "other")


def test_forget_removes_the_project_s_folder_alone(make_project):
    one, other = make_project(project="one"), make_project(project="other")
    for project in (one, other):
        project.write_record(RECORD)
    one.forget()
    one.forget()
    assert not one.folder.exists()
    assert other.record() == RECORD


def test_forget_keeps_the_drills_reports(a_project):
    a_project.write_record(RECORD)
    report = a_project.reports / "20261127-015431Z" / "report.html"
    report.parent.mkdir(parents=True)
    report.touch()
    assert a_project.forget() is True
    assert [path for path in a_project.folder.rglob("*") if path.is_file()] == [report]
    assert a_project.forget() is False


def test_forget_keeps_what_it_is_told_to(a_project):
    a_project.write_record(RECORD)
    (a_project.folder / "passwords.yaml").write_text("kept")
    (a_project.folder / "pgpass").write_text("gone")
    (a_project.folder / "pg1-node1").mkdir()
    (a_project.folder / "pg1-node1" / "passwords.yaml").write_text("gone")
    a_project.forget(keep=("passwords.yaml", "project.yaml"))
    assert sorted(path.name for path in a_project.folder.rglob("*")) == ["passwords.yaml", "project.yaml"]
    assert a_project.record() == RECORD


@pytest.mark.parametrize("scheduled", [True, False])
def test_the_schedule_is_remembered(a_project, scheduled):
    a_project.write_record(replace(RECORD, scheduled=scheduled))
    assert a_project.record().scheduled is scheduled


def test_a_record_from_before_the_schedule_has_none(a_project):
    damage(a_project, b"flags: {}\nports: {}\nfirst: {}")
    assert not a_project.record().scheduled


# write_file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path, mode):
    path = tmp_path / "deep" / "file"
    before = os.umask(0o077)
    try:
        assert write_file(path, "text", mode)
    finally:
        os.umask(before)
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == mode


def test_an_equal_file_is_not_touched(tmp_path):
    path = tmp_path / "file"
    write_file(path, "text")
    before = path.stat()
    assert not write_file(path, "text")
    after = path.stat()
    # Not its atime: that it was read is no change.
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_wrong_mode_is_put_right(tmp_path):
    path = tmp_path / "file"
    write_file(path, "secret", 0o644)
    assert write_file(path, "secret", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_is_never_in_a_file_others_had_open(tmp_path):
    path, leftover = tmp_path / "file", tmp_path / "file.new"
    for readable in (path, leftover):
        readable.write_text("old")
    with path.open() as one, leftover.open() as other:
        write_file(path, "secret", 0o600)
        assert one.read() == other.read() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_file(path, "old")

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr("pgha.project.files.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_file(path, "new and longer")
    assert path.read_text() == "old"


# The lock ---------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from pgha.project.project import open_project
with open_project([{}], {}, root=Path(sys.argv[1])).lock("backup"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(root):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)],
        env={**os.environ, "PYTHONPATH": str(pgha.ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_command_is_told_who_holds_the_lock(root, make_project):
    project = make_project()
    with held_by_another_process(root) as holder:
        with pytest.raises(Missing, match="`inv backup` of") as caught, project.lock("up"):
            pass
        assert f"process {holder.pid}," in caught.value.message
        with make_project(project="other").lock("up"):
            pass
    with project.lock("up"):
        pass


def test_a_killed_command_holds_no_lock(root, a_project):
    with held_by_another_process(root) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with a_project.lock("up"):
            pass


def test_the_lock_ends_with_its_block_also_after_an_error(a_project):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), a_project.lock("up"):
            raise ZeroDivisionError
