"""A minor upgrade, decided: what is newer, which images are built for it, and who is made again."""

from types import SimpleNamespace

import pytest

from pgha.cli.show_upgrade import show_upgrade, show_upgrade_plan
from pgha.cluster.rollout import Part, Plan, Step
from pgha.console import Progress
from pgha.errors import NotUp, ToolFailed, Unreachable
from pgha.stack import upgrading
from pgha.stack.rollout import Rollout
from pgha.tools.command import Answer

ETCD, REPOSITORY, PATRONI = "pgha-etcd-3.5:trixie", "pgha-pgbackrest:trixie", "pgha-pg17-patroni:trixie"
SHARED = "Inst pgbackrest [2.55.1-1] (2.56-1 Debian:13.1/stable [amd64])\nInst libz1 [1] (2 Debian [amd64])\n"
POSTGRES = "Inst postgresql-17 [17.10-1] (17.11-1 Debian:13.1/stable [amd64])\n"
HELD = {
    ETCD: "etcd-server 3.5.16-4\n",
    REPOSITORY: "pgbackrest 2.55.1-1\n",
    PATRONI: "pgbackrest 2.55.1-1\npostgresql-17 17.10-1\npatroni 4.1.5\n",
}


@pytest.fixture
def engine(monkeypatch, make_project):
    """An engine with the three images and a container of each; what the mirror has, and what was built and made."""
    seen = SimpleNamespace(
        project=make_project(data_centers=1, nodes=1), offers={}, words="", held=dict(HELD), built=[], upped=0,
        built_ids=dict.fromkeys(HELD, "new"), planned=Plan("up", "made again"), newer=None,
    )  # fmt: skip
    ids = {image: image for image in HELD}
    hosts = {"etcd1": ETCD, "etcd2": ETCD, "etcd3": ETCD, "pgbackrest": REPOSITORY, "pg1-node1": PATRONI}
    seen.containers = {host: SimpleNamespace(image_id=image, image=image) for host, image in hosts.items()}

    def run(command):
        image = command.argv[command.argv.index("sh") - 1]
        if "apt-get update" in command.argv[-1]:
            return Answer(command, seen.offers.get(image, ""), seen.words, 1 if seen.words else 0)
        return Answer(command, seen.held[image], "", 0)

    def build(project, progress, no_cache, only):
        assert no_cache
        seen.built.append(only)
        ids.update({image: seen.built_ids[image] for image in only})
        seen.held["new"] = "postgresql-17 17.11-1\n"

    def up(project, progress):
        seen.upped += 1
        for host, container in seen.containers.items():
            container.image_id = ids[hosts[host]]
        return SimpleNamespace(rolled=None, notes=("a note",), seconds=1.0)

    def plan_up(project, newer):
        seen.newer = newer
        return seen.planned

    local = SimpleNamespace(run=run, must=lambda command: run(command), has_image=lambda image: image in HELD)
    monkeypatch.setattr(upgrading, "HERE", local)
    monkeypatch.setattr(upgrading.engine, "require_engine", lambda project: None)
    monkeypatch.setattr(upgrading, "require_images", lambda project: None)
    monkeypatch.setattr(upgrading.engine, "containers", lambda project: seen.containers)
    monkeypatch.setattr(upgrading.engine, "image_ids", lambda names: {name: ids[name] for name in names})
    monkeypatch.setattr(upgrading, "build_images", build)
    monkeypatch.setattr(upgrading.lifecycle, "up", up)
    monkeypatch.setattr(upgrading.lifecycle, "plan_up", plan_up)
    return seen


def test_where_nothing_is_newer_nothing_is_built_and_no_container_made_again(engine, capsys):
    upgraded = upgrading.upgrade(engine.project, Progress())
    assert (engine.built, engine.upped, upgraded.up) == ([], 0, None)
    show_upgrade(engine.project, upgraded, json=False)
    said = capsys.readouterr().out
    assert "the package mirror has nothing newer\nno container is made again\n" in said
    assert "17.10-1" in said and "->" not in said


def test_containers_that_are_not_of_the_newest_images_are_made_again_all_the_same(engine):
    engine.planned = Plan("up", "made again", steps=(Step("pg1-node1", Part.LEADER),))
    upgraded = upgrading.upgrade(engine.project, Progress())
    assert (engine.built, engine.upped, upgraded.newer) == ([], 1, {})


def test_only_the_images_of_which_something_is_newer_are_built(engine, capsys):
    engine.offers = {PATRONI: POSTGRES}
    upgraded = upgrading.upgrade(engine.project, Progress())
    assert (engine.built, engine.upped) == ([{PATRONI}], 1)
    assert upgraded.made_again == ("pg1-node1",)
    show_upgrade(engine.project, upgraded, json=False)
    said = capsys.readouterr().out
    assert "17.10-1 -> 17.11-1" in said and "made again: pg1-node1; every member streams" in said


def test_with_pgbackrests_image_that_of_postgres_is_built_on_the_same_layers(engine):
    engine.offers = {REPOSITORY: SHARED}
    upgrading.upgrade(engine.project, Progress())
    assert engine.built == [{REPOSITORY, PATRONI}]


def test_a_patroni_that_this_checkout_pins_otherwise_is_newer(engine):
    engine.held[PATRONI] = HELD[PATRONI].replace("4.1.5", "4.1.4")
    looked = upgrading.look(engine.project, Progress())
    assert [str(newer) for newer in looked.newer[PATRONI]] == ["patroni 4.1.4 -> 4.1.5"]


def test_the_plan_names_who_is_made_again_and_why(engine, capsys):
    engine.offers = {PATRONI: POSTGRES + SHARED}
    looked = upgrading.look(engine.project, Progress())
    show_upgrade_plan(engine.project, looked, upgrading.plan(engine.project, looked), json=False)
    why = "newer: postgresql-17 17.10-1 -> 17.11-1, pgbackrest 2.55.1-1 -> 2.56-1, 1 other package"
    assert engine.newer == {"pg1-node1": why}
    assert "17.11-1" in capsys.readouterr().out
    assert (engine.built, engine.upped) == ([], 0)


def test_a_mirror_that_is_away_is_no_mirror_without_news(engine):
    engine.words = "E: Failed to fetch http://deb.debian.org/"
    with pytest.raises(Unreachable, match="Failed to fetch"):
        upgrading.upgrade(engine.project, Progress())
    assert (engine.built, engine.upped) == ([], 0)


def test_a_build_that_makes_no_new_image_is_no_upgrade(engine):
    engine.offers, engine.built_ids = {PATRONI: POSTGRES}, {PATRONI: PATRONI}
    with pytest.raises(ToolFailed, match="made no new image"):
        upgrading.upgrade(engine.project, Progress())
    assert engine.upped == 0


def test_without_containers_there_is_nothing_to_upgrade(engine):
    engine.containers.clear()
    with pytest.raises(NotUp):
        upgrading.look(engine.project, Progress())


def test_hosts_with_newer_images_are_made_again_beside_those_that_are_anyhow():
    planned = Rollout(("etcd1",), {"etcd2": "their files changed"}, ("etcd3", "pgbackrest"), ("etcd2",))
    more = planned.with_again({"etcd1": "x", "etcd2": "x", "etcd3": "newer", "pg1-node1": "newer"})
    assert more.again == {"etcd2": "their files changed", "etcd3": "newer", "pg1-node1": "newer"}
    assert (more.create, more.start, more.interrupted) == (("etcd1",), ("pgbackrest",), ("etcd2", "pg1-node1"))
    assert planned.with_again({}) == planned
