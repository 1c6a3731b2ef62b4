"""What a server has in tablespaces goes where its data directory goes; on folders of the test's own."""

import json

import pytest
from image_scripts import PATRONI, run

from pgha.tools import disk, postgres

VERSION = "PG_17_202406281"

LABEL = "20261123-053604F"


@pytest.fixture
def server(tmp_path):
    """A data directory with tablespaces, and what is where in one word each."""

    class Server:
        data = tmp_path / "17"

        def put(self, word, **tablespaces):
            """A server's data: its word is in the data directory, and in each tablespace: name=OID."""
            (self.data / "pg_tblspc").mkdir(parents=True)
            (self.data / "PG_VERSION").write_text("17")
            (self.data / "word").write_text(word)
            for name, oid in tablespaces.items():
                self.fill(name, word)
                (self.data / "pg_tblspc" / str(oid)).symlink_to(tmp_path / name)

        def fill(self, name, word):
            (tmp_path / name / VERSION).mkdir(parents=True, exist_ok=True)
            (tmp_path / name / VERSION / "word").write_text(word)
            (tmp_path / name / "lost+found").mkdir(exist_ok=True)

        def do(self, command):
            answer = run(*command(str(self.data)).argv)
            assert (answer.returncode, answer.stderr) == (0, "")

        def __str__(self):
            found = sorted(tmp_path.rglob("word"))
            return " ".join(f"{path.parent.relative_to(tmp_path)}={path.read_text()}" for path in found).replace(
                VERSION, "v"
            )

    return Server()


def test_tablespaces_are_set_aside_and_taken_back_with_their_data(server):
    server.put("old", a=1)
    server.do(postgres.set_aside)
    assert str(server) == "17.kept=old a/v.kept=old"
    server.put("restored", a=1, b=2)
    server.do(postgres.set_aside)
    assert str(server) == "17=restored 17.kept=old a/v=restored a/v.kept=old b/v=restored"
    server.do(postgres.take_back)
    assert str(server) == "17=old a/v=old"
    server.do(postgres.take_back)
    assert str(server) == "17=old a/v=old"


def test_what_was_set_aside_by_half_is_taken_back(server, tmp_path):
    server.put("old", a=1)
    server.data.rename(tmp_path / "17.kept")
    server.do(postgres.take_back)
    assert str(server) == "17=old a/v=old"
    server.do(postgres.set_aside)
    (tmp_path / "17.kept").rename(server.data)
    server.fill("a", "half restored")
    server.do(postgres.take_back)
    assert str(server) == "17=old a/v=old"


def test_kept_and_removed_data_takes_its_tablespaces_along(server, tmp_path):
    server.put("old", a=1)
    server.do(postgres.set_aside)
    server.put("restored", a=1)
    server.do(postgres.remove_kept)
    assert str(server) == "17=restored a/v=restored"
    server.do(postgres.remove_data)
    assert str(server) == ""
    assert not server.data.exists()
    assert (tmp_path / "a" / "lost+found").exists()


def test_room_counts_what_is_in_tablespaces(server, tmp_path):
    server.put("old", a=1)
    (tmp_path / "a" / VERSION / "file").write_bytes(b"x" * 1_000_000)
    answer = run(*postgres.room(str(server.data)).argv)
    assert postgres.parse_room(answer.stdout)[1] >= 1_000_000


def test_a_wiped_member_s_tablespaces_are_gone_and_others_stay(server, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "VOLUME", str(tmp_path))
    server.put("old", a=1)
    server.fill("not_its_own", "other")
    script = disk.wipe("p", str(server.data)).argv[-1]
    assert run("sh", "-c", script).returncode == 0
    assert str(server) == "not_its_own/v=other"
    assert not list(tmp_path.glob("lost.*"))
    assert (tmp_path / "a" / "lost+found").exists()


def test_a_wipe_that_was_interrupted_is_completed_by_the_next(server, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "VOLUME", str(tmp_path))
    server.put("old", a=1)
    (tmp_path / "lost.first").mkdir()
    server.data.rename(tmp_path / "lost.first" / "17")
    run("sh", "-c", disk.wipe("p", str(server.data)).argv[-1])
    assert str(server) == ""


def test_what_a_lost_data_directory_left_is_cleared_in_its_own_volume_only(server, tmp_path):
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    for folder in (volume / "ts", elsewhere):
        (folder / VERSION).mkdir(parents=True)
    (volume / "link").symlink_to(elsewhere)
    answer = run(PATRONI / "clear-tablespaces", volume / "17", volume / "ts", elsewhere, volume / "link")
    assert answer.returncode == 0
    assert not (volume / "ts" / VERSION).exists()
    assert (elsewhere / VERSION).exists()
    assert str(elsewhere) in answer.stderr


@pytest.mark.parametrize("file", ["PG_VERSION", "backup.manifest"])
def test_nothing_is_cleared_while_there_is_a_server_s_data(tmp_path, file):
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / file).touch()
    (tmp_path / "ts" / VERSION).mkdir(parents=True)
    assert run(PATRONI / "clear-tablespaces", tmp_path / "17", tmp_path / "ts").returncode == 0
    assert (tmp_path / "ts" / VERSION).exists()


@pytest.fixture
def restore(server, fake, tmp_path, monkeypatch):
    """restore-here with a pgBackRest that leaves these tablespaces: name=OID."""
    monkeypatch.setenv("PGHA_LIB", str(PATRONI / "archive"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def restore(code=0, word="restored", left=(), **tablespaces):
        told = [{"destination": str(tmp_path / name), "name": name, "oid": oid} for name, oid in tablespaces.items()]
        others = {"label": "20261122-053604F", "tablespace": [{"destination": str(tmp_path / "other")}]}
        info = json.dumps([{"backup": [others, {"label": LABEL, "tablespace": told}]}])
        links = "".join(f"ln -s {tmp_path}/{name} {server.data}/pg_tblspc/{oid}\n" for name, oid in tablespaces.items())
        fake("pgbackrest", f"case $* in *info) echo '{info}'; exit;; esac\n"
             f"mkdir -p {server.data}/pg_tblspc; rm -f {server.data}/pg_tblspc/*\n{links}"
             f"echo {word} > {tmp_path}/ran; exit {code}")  # fmt: skip
        return run(PATRONI / "restore-here", server.data, LABEL, "--type=standby").returncode

    return restore


def test_a_restore_leaves_no_tablespace_that_is_not_the_backup_s(server, restore, tmp_path):
    server.put("old", a=1, later=2)
    assert restore(a=1) == 0
    assert str(server) == "17=old a/v=old"
    assert not (tmp_path / "17.tablespaces").exists()


def test_a_tablespace_made_again_at_the_same_place_is_the_backup_s(server, restore):
    server.put("old", a=7)
    assert restore(a=1) == 0
    assert str(server) == "17=old a/v=old"


def test_an_interrupted_restore_is_remembered(server, restore, tmp_path):
    server.put("old", a=1, later=2)
    assert restore(code=38, a=1) == 38
    assert "later/v=old" in str(server)
    assert restore(a=1) == 0
    assert "later/v=old" not in str(server)


def test_before_a_restore_into_nothing_the_backup_s_tablespaces_are_cleared(server, restore):
    server.fill("a", "left")
    server.fill("other", "other")
    assert restore(a=1) == 0
    assert str(server) == "other/v=other"
