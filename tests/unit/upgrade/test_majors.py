"""A major upgrade, decided: what is in the way, how far it came, and what is taken back."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pgha.cli.changing import WHILE_HALF_UPGRADED
from pgha.cli.upgrading import Asked
from pgha.console import Progress
from pgha.errors import BadSettings, BadValue, Damaged, HalfDone, ToolFailed, Unhealthy, UpgradeRefused
from pgha.project import upgrade_record
from pgha.project.upgrade_record import Record, Stage, read_upgrade, refuse_half_upgraded, write_upgrade
from pgha.remote import shell
from pgha.tools import pg_upgrade
from pgha.tools.command import Command
from pgha.upgrade import gates, major, places
from pgha.upgrade.abort import abort

CLEAN = {"prepared": [], "slots": [], "unusable": [], "databases": ["app", "postgres"], "size": "31000000"}


def facts(**seen):
    return pg_upgrade.parse_facts(json.dumps({**CLEAN, **seen}))


def test_what_the_leader_says():
    assert facts().size == 31000000
    with pytest.raises(ToolFailed):
        pg_upgrade.parse_facts("psql: error")
    used = pg_upgrade.parse_extensions("plpgsql postgres\nplpgsql my app\npg_cron postgres\n")
    assert used == {"plpgsql": ("postgres", "my app"), "pg_cron": ("postgres",)}
    offered = pg_upgrade.parse_offered("plpgsql--1.0.sql\nplpgsql.control\n")
    assert gates.lacking_extensions(used, offered) == {"pg_cron": ("postgres",)}
    assert pg_upgrade.kept_names(list("abcdefg")) == "a, b, c, d, e and 2 more"


@pytest.mark.parametrize(
    ("seen", "words", "hint"),
    [
        ({"prepared": ["tx1"]}, "prepared transactions", "rollback prepared 'tx1'"),
        ({"unusable": ["broken"]}, "cannot to broken", "allow_connections"),
        ({"slots": ["cdc"]}, "would be lost, and their consumers their place: cdc", "--major 18 --drop-slots"),
    ],
)
def test_what_is_in_the_way_is_named_with_the_way_on(seen, words, hint):
    with pytest.raises(Unhealthy, match=words) as caught:
        gates.require_upgradable(facts(**seen), "pg1-node1", 18, drop_slots=False)
    assert hint in caught.value.hint


def test_slots_may_be_given_up_and_nothing_else():
    gates.require_upgradable(facts(slots=["cdc"]), "pg1-node1", 18, drop_slots=True)
    with pytest.raises(Unhealthy):
        gates.require_upgradable(facts(prepared=["tx1"]), "pg1-node1", 18, drop_slots=True)


def test_only_a_major_there_is(make_project):
    assert gates.wanted("18") == 18
    for text in ("19", "eighteen", "13", "-1"):
        with pytest.raises(BadValue):
            gates.wanted(text)
    with pytest.raises(BadSettings):
        gates.of_major(make_project(slots={"x": {"type": "nonsense"}}), 18, {})


@pytest.mark.parametrize("flags", [{}, {"minor": True, "major": "18"}, {"major": "18", "abort": True}])
def test_one_of_three(flags):
    with pytest.raises(BadValue, match="one of"):
        Asked(**flags)


# How far it came --------------------------------------------------------------------------------------------

BEGUN = Record(17, 18, 1795422696.0, "pg1-node1", {"nodes": "2"}, slots=["cdc"], label="20261126-100000F")


def test_the_record_is_read_as_it_was_written(make_project):
    project = make_project()
    assert read_upgrade(project) is None
    refuse_half_upgraded(project)
    written = write_upgrade(project, BEGUN, stage=Stage.UPGRADING)
    assert read_upgrade(project) == written == replace(BEGUN, stage=Stage.UPGRADING)
    with pytest.raises(HalfDone, match="An upgrade from PostgreSQL 17 to 18 is half done") as caught:
        refuse_half_upgraded(project)
    assert "inv upgrade --abort" in caught.value.hint
    (project.folder / upgrade_record.FILE).write_text("stage: nowhere\n")
    with pytest.raises(Damaged, match=r"upgrade\.yaml"):
        read_upgrade(project)


def test_from_the_moment_the_new_leader_is_let_go_there_is_no_way_back(make_project):
    stages = [stage for stage in Stage if replace(BEGUN, stage=stage).may_go_back]
    assert stages == [Stage.HELD, Stage.UPGRADING]
    with pytest.raises(BadValue, match="leads with PostgreSQL 18 already"):
        abort(make_project(), replace(BEGUN, stage=Stage.LEADING), Progress())


def test_both_majors_are_of_the_same_settings(make_project):
    runs, target = gates.projects(make_project(nodes=2, postgres=18), BEGUN)
    assert (runs.settings.postgres, runs.flags) == (17, {"nodes": "2"})
    assert (target.settings.postgres, target.flags) == (18, {"nodes": "2", "postgres": "18"})


def test_who_may_work_meanwhile():
    assert not {"up", "render", "keys", "restore", "backup", "failover", "scale", "start"} & set(WHILE_HALF_UPGRADED)


@pytest.fixture
def played(monkeypatch, make_project):
    """The stages without a cluster: what happened, in order; one step may fail."""
    project = make_project(data_centers=1, nodes=2, postgres=17)
    seen = SimpleNamespace(project=project, happened=[], fails={}, upgraded=False)

    def step(name, answer=None):
        def do(*arguments, **options):
            seen.happened.append(name)
            if name in seen.fails:
                raise seen.fails.pop(name)
            return answer

        return do

    for name in ("remove_aside", "hold", "upgrade_data", "remake"):
        monkeypatch.setattr(major.places, name, step(name))
    monkeypatch.setattr(major.places, "is_upgraded", lambda *arguments: seen.upgraded)
    for name in ("start_containers", "require_quorum", "read_stanza", "_lead"):
        monkeypatch.setattr(major, name, step(name))
    monkeypatch.setattr(major, "_finish", step("_finish", "report"))
    monkeypatch.setattr(major.abort, "abort", step("abort"))
    return seen


ALL = ["remove_aside", "start_containers", "hold", "upgrade_data", "remake", "require_quorum", "read_stanza", "_lead",
       "_finish"]  # fmt: skip


def test_the_stages_one_after_another(played):
    assert major.resume(played.project, write_upgrade(played.project, BEGUN), Progress()) == "report"
    assert sorted(played.happened) == sorted(ALL)
    assert [step for step in played.happened if step != "remake"] == [step for step in ALL if step != "remake"]
    record = read_upgrade(played.project)
    assert record.stage == Stage.CLONING and set(record.seconds) == {"stop", "upgrade"}


@pytest.mark.parametrize(
    ("step", "stage", "again"),
    [
        ("hold", Stage.HELD, ALL),
        ("upgrade_data", Stage.UPGRADING, ALL),
        ("require_quorum", Stage.UPGRADING, ALL),
        ("_lead", Stage.LEADING, [*ALL[:2], *ALL[7:]]),
        ("_finish", Stage.CLONING, [*ALL[:2], "_finish"]),
    ],
)
def test_killed_in_a_step_the_same_command_completes_it(played, step, stage, again):
    played.fails[step] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        major.resume(played.project, write_upgrade(played.project, BEGUN), Progress())
    record = read_upgrade(played.project)
    assert record.stage == stage
    played.happened.clear()
    assert major.resume(played.project, record, Progress()) == "report"
    assert sorted(played.happened) == sorted(again)


def test_data_that_is_upgraded_is_not_upgraded_again(played):
    played.upgraded = True
    major.resume(played.project, write_upgrade(played.project, BEGUN, stage=Stage.UPGRADING), Progress())
    assert sorted(played.happened) == sorted(set(ALL) - {"upgrade_data"})


def test_what_pg_upgrade_refuses_brings_the_old_cluster_back(played):
    played.fails["upgrade_data"] = UpgradeRefused("pg_upgrade failed", "loadable libraries")
    with pytest.raises(UpgradeRefused) as caught:
        major.resume(played.project, write_upgrade(played.project, BEGUN), Progress())
    assert "upgrade_data" in played.happened and played.happened[-1] == "abort"
    assert "the old cluster is back" in caught.value.hint


def test_what_fails_later_has_the_ways_as_its_hint(played):
    played.fails["remake"] = ToolFailed("Compose could not")
    with pytest.raises(ToolFailed) as caught:
        major.resume(played.project, write_upgrade(played.project, BEGUN), Progress())
    assert "abort" not in played.happened
    assert "completes it, inv upgrade --abort" in caught.value.hint


# What is taken back -----------------------------------------------------------------------------------------


def test_what_pg_upgrade_made_goes_and_the_old_data_is_as_it_was(tmp_path):
    old, new = tmp_path / "17", tmp_path / "18"
    space = tmp_path / "ts"
    for folder in (old / "global", old / "pg_replslot", old / "pg_tblspc", new / "base", tmp_path / "18.upgrade",
                   tmp_path / "17.slots" / "cdc", space / "PG_17_202406281", space / "PG_18_202506291"):  # fmt: skip
        folder.mkdir(parents=True)
    (old / "pg_tblspc" / "16385").symlink_to(space)
    (old / "global" / "pg_control.old").write_text("control")

    def take_back():
        return shell.run(Command(("sh", "-c", pg_upgrade.TAKE_BACK, str(tmp_path), "17", "18")))

    (new / "patroni.dynamic.json").touch()
    answer = take_back()
    assert answer.exit_code == 9 and "was started" in answer.stderr
    assert (old / "global" / "pg_control.old").exists() and (new / "base").exists()
    (new / "patroni.dynamic.json").unlink()
    for _ in range(2):
        assert take_back().ok
        assert sorted(path.name for path in tmp_path.iterdir()) == ["17", "ts"]
        assert (old / "global" / "pg_control").read_text() == "control"
        assert (old / "pg_replslot" / "cdc").exists()
        assert [path.name for path in space.iterdir()] == ["PG_17_202406281"]


def test_a_new_major_of_an_older_minor_release_is_told_in_plain_words(a_project, monkeypatch):
    """What pg_upgrade says then names a parameter that nobody has set."""
    said = {"words": 'pg_restore: error: ERROR:  unrecognized parameter "pg_attver"'}
    answer = lambda *_: SimpleNamespace(ok=False, words=said["words"])  # noqa: E731
    monkeypatch.setattr(places, "engine_of", lambda *_: SimpleNamespace(run=answer))
    record = Record(17, 18, 1.0, "pg1-node1", {})
    with pytest.raises(UpgradeRefused, match="18 is of an older minor release than 17, and does not know") as caught:
        places.rehearse(a_project, record, Progress())
    assert caught.value.hint.startswith("the same command, when the package mirror has a newer PostgreSQL 18")
    said["words"] = 'loadable libraries: could not load library "$libdir/postgis-3"'
    with pytest.raises(UpgradeRefused, match="with a copy of the schemas; nothing was touched"):
        places.rehearse(a_project, record, Progress())
