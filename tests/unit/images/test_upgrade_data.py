"""upgrade-data: what pg_upgrade and initdb are told, and what becomes of slots."""

import pytest
from image_scripts import run

from pgha import ROOT

SCRIPT = ROOT / "images" / "upgrade" / "upgrade-data"

CONTROL = """\
Database cluster state:               {state}
Bytes per WAL segment:                {segment}
Data page checksum version:           {sums}
max_connections setting:              150
max_prepared_xacts setting:           0
"""


@pytest.fixture
def upgrade(fake, tmp_path, monkeypatch):
    """Run the script on data of 17; pg_controldata says this, and pg_upgrade ends so."""
    data = tmp_path / "data"
    (data / "17" / "pg_replslot").mkdir(parents=True)
    (data / "17" / "global").mkdir()
    said = tmp_path / "said"
    fake("initdb", f'echo "initdb $*" >> {said}')
    fake("nproc", "echo 2")

    def upgrade(*options, new=18, state="shut down", segment=16 << 20, sums=1, code=0):
        (tmp_path / "control").write_text(CONTROL.format(state=state, segment=segment, sums=sums))
        fake("pg_controldata", f"cat {tmp_path}/control")
        fake(
            "pg_upgrade",
            f'echo "pg_upgrade $*" >> {said}\necho "- Checking"\nmkdir -p {data}/{new}/pg_upgrade_output.d/1\n'
            f"echo public.t > {data}/{new}/pg_upgrade_output.d/1/tables.txt\nexit {code}",
        )
        answer = run("sh", SCRIPT, data, "17", new, "pg_cron", *options, PGHA_OLD=str(tmp_path / "programs"))
        return answer, said.read_text().splitlines() if said.exists() else [], data

    return upgrade


def test_it_checks_first_and_then_upgrades(upgrade):
    answer, said, data = upgrade("--link")
    assert answer.returncode == 0, answer.stderr
    initdb, check, real = said
    assert f"--pgdata={data}/18" in initdb and "--data-checksums --wal-segsize=16" in initdb
    assert check.endswith("--check --link")
    assert "--check" not in real and real.endswith("--link")
    assert f"--old-datadir={data}/17 --new-datadir={data}/18" in real
    # The certificates the old server's configuration names are not in this container.
    assert real.count("archive_mode=off -c ssl=off -c shared_preload_libraries='pg_cron'") == 2
    assert real.count("max_connections=150 -c max_prepared_transactions=0 ") == 1
    assert (data / "18.upgrade" / "whole").exists()


@pytest.mark.parametrize(("new", "flag"), [(18, " --no-data-checksums "), (17, "")])
def test_data_without_checksums_stays_without(upgrade, new, flag):
    _, (initdb, *_), _ = upgrade(new=new, sums=0)
    assert " --data-checksums" not in initdb and flag in initdb


def test_another_size_of_segments_is_kept(upgrade):
    _, (initdb, *_), _ = upgrade(segment=64 << 20)
    assert initdb.endswith("--wal-segsize=64")


def test_a_standby_or_a_crashed_server_is_refused_before_anything(upgrade):
    for state in ("shut down in recovery", "in production"):
        answer, said, data = upgrade(state=state)
        assert answer.returncode and f"its state is '{state}'" in answer.stderr
        assert said == [] and not (data / "18").exists()


def test_slots_wait_beside_the_data(upgrade):
    _, _, data = upgrade()
    assert not (data / "17.slots").exists()
    (data / "17" / "pg_replslot" / "cdc").mkdir()
    upgrade()
    assert (data / "17.slots" / "cdc").exists() and not (data / "17" / "pg_replslot" / "cdc").exists()


def test_what_pg_upgrade_refuses_is_shown_with_what_it_names(upgrade):
    answer, said, data = upgrade(code=1)
    assert answer.returncode == 1
    assert [line.split()[0] for line in said] == ["initdb", "pg_upgrade"]
    assert "- Checking\n" in answer.stderr and "tables.txt:\npublic.t\n" in answer.stderr
    assert not (data / "18.upgrade" / "whole").exists()
