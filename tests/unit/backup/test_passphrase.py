"""Another passphrase, on containers that are folders: wherever it is interrupted, the repository in use has all."""

import configparser
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import pytest

from pgha.backup import passphrase, preparation
from pgha.backup.targets import Request, Target
from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, PghaError, ToolFailed
from pgha.project import repositories
from pgha.project.certificates import ensure_certificates
from pgha.project.coming import KEYS, PASSPHRASE, half_rotated
from pgha.project.keys import ensure_keys
from pgha.project.passwords import Stage, kept_passwords
from pgha.project.repositories import PLACES, former, in_use
from pgha.stack import rotating
from pgha.stack.fit import fitting_passwords
from pgha.tools.repository import Backup, StanzaView
from pgha.tools.wal import segment_name

REPOSITORY, NODES = "pgbackrest", ("pg1-node1", "pg1-node2")


class World:
    """What pgBackRest on each host knows, and what stands in the places of the repository's volume."""

    def __init__(self, project):
        self.project = project
        self.fails_at = 0
        self.calls = Counter()
        self.confs = {}
        self.crontabs = {}
        self.places = {}
        """place -> passphrase and what is there"""

    def count(self):
        self.check()
        self.calls["all"] += 1
        if self.calls["all"] == self.fails_at:
            raise ToolFailed("the engine went away")

    def render(self, project, kept, names):
        for host in (*NODES, REPOSITORY):
            there = repositories.repositories(kept, on_nodes=host != REPOSITORY)
            yield host, {repository.number: repository.passphrase for repository in there}

    def bring(self, project, kept, hosts):
        for host, conf in self.render(project, kept, ()):
            if host in hosts:
                self.count()
                self.confs[host] = conf

    def install(self, project, hosts):
        self.count()
        self.crontabs = dict.fromkeys(hosts, in_use(project))

    def create(self, project):
        self.count()
        for number, phrase in self.confs[REPOSITORY].items():
            self.places.setdefault(PLACES[number], {"phrase": phrase, "wal": 0, "backups": []})

    def write(self):
        """A segment, into every repository that the nodes know."""
        for node in NODES:
            for number in self.confs[node]:
                phrase, place = self.confs[REPOSITORY][number], self.places[PLACES[number]]
                assert place["phrase"] == phrase, f"{PLACES[number]} cannot be read with what {REPOSITORY} has"
                place["wal"] += 1

    def check(self):
        """WAL goes on, and the repository in use has a backup and its WAL."""
        self.write()
        kept = kept_passwords(self.project)
        place = self.places[PLACES[kept.number]]
        assert place["phrase"] == kept.repository
        assert place["backups"] and self.confs[NODES[0]][kept.number] is not None
        if former(self.project):
            assert self.places[PLACES[kept.other]]["wal"] >= place["wal"], "the former one gets all WAL"
            assert set(self.crontabs.values()) <= {kept.number}

    def backup(self, project, type, progress, repo):
        self.count()
        self.places[PLACES[repo]]["backups"].append(self.a_backup(len(self.places[PLACES[repo]]["backups"])))

    def a_backup(self, number):
        return Backup(f"b{number}", "full", 1, 2, 3, 4, False, segment_name(1, 2), 99)

    def stanza(self, project, repo=0):
        place = self.places.get(PLACES[repo or kept_passwords(project).number])
        backups = tuple(place["backups"]) if place else ()
        return StanzaView(True, "ok", place is None, backups, None, None, False)

    def must(self, host, command, message):
        assert host == REPOSITORY
        self.count()
        path = command.argv[-1].removesuffix("/backup")
        if command.argv[0] == "rm":
            kept = kept_passwords(self.project)
            assert path != PLACES[kept.number], "the one in use is never removed"
            assert all(PLACES[number] != path for node in NODES for number in self.confs[node]), "nobody writes there"
            self.places.pop(path, None)
        return SimpleNamespace(stdout="", ok=True)


@pytest.fixture
def world(make_project, write_down_passwords, monkeypatch):
    project = make_project(data_centers=1, nodes=2)
    ensure_keys(project)
    ensure_certificates(project)
    kept = write_down_passwords(project)
    made = World(project)
    made.confs = dict(made.render(project, kept, ()))
    made.places[PLACES[1]] = {"phrase": kept.repository, "wal": 0, "backups": [made.a_backup(0)]}
    changes = {
        "bring": None, "_bring": made.bring, "check_archiving": lambda *_: made.count(), "run_backup": made.backup,
        "create_when_unlocked": made.create, "read_stanza": made.stanza, "connect": lambda project: made,
        "_hosts": lambda project: ((*NODES, REPOSITORY), ()), "_wait_for_pushing": lambda *_: made.count(),
        "check": lambda project: half_rotated(project) == PASSPHRASE, "require_archiving": lambda *_: NODES[0],
        "wait_for_lock": lambda project: made.count(), "read_window": lambda project, repo=0: None,
    }  # fmt: skip
    for name, change in changes.items():
        monkeypatch.setattr(passphrase, name, change)
    monkeypatch.setattr(passphrase.crontab, "install", made.install)
    return made


def rotate(world):
    return passphrase.rotate_passphrase(world.project, Progress())


def steps_of(world, work):
    """Play it, interrupted at one step after another, each time completed or gone back from in the end."""
    step = 0
    while True:
        step += 1
        world.calls.clear()
        world.fails_at = step
        try:
            work()
            world.fails_at = 0
            return step
        except ToolFailed as error:
            assert "inv rotate --what passphrase completes it" in error.hint
        world.fails_at = 0
        world.check()


def test_the_repository_in_use_has_all_wherever_it_is_interrupted(world):
    """Each attempt is interrupted one step later than the one before; the same command goes on each time."""
    project, old = world.project, kept_passwords(world.project)
    label = old.repository_id
    assert steps_of(world, lambda: rotate(world)) > 5
    new = kept_passwords(project)
    assert (new.number, new.second.stage, new.repository_id) == (2, Stage.FORMER, label)
    assert new.repository != old.repository == new.second.passphrase
    assert (in_use(project), former(project), half_rotated(project)) == (2, 1, "")
    assert set(world.crontabs.values()) == {2}
    assert len(world.places[PLACES[2]]["backups"]) == 1, "an interruption is no reason for another one"
    assert rotate(world).done == (), "nothing to do while the former one is kept"
    kept = passphrase.look(project)
    assert (kept.number, kept.full, kept.wanted, kept.replaced) == (1, 1, 2, False)

    def remove():
        if half_rotated(project):
            rotate(world)
        else:
            passphrase.remove_old(project, Progress())

    assert steps_of(world, remove) > 3
    assert list(world.places) == [PLACES[2]]
    assert (in_use(project), former(project), half_rotated(project)) == (2, 0, "")
    assert all(set(conf) == {2} for conf in world.confs.values())
    rotate(world)
    passphrase.remove_old(project, Progress())
    third = kept_passwords(project)
    assert (third.number, third.second, third.repository_id) == (1, None, label)
    assert in_use(project) == 0


@pytest.mark.parametrize("step", range(1, 14))
def test_every_step_can_be_gone_back_from(world, step):
    old = kept_passwords(world.project)
    world.fails_at = step
    with suppress(ToolFailed):
        rotate(world)
    world.fails_at = 0
    passphrase.give_up(world.project, Progress())
    now = kept_passwords(world.project)
    assert (now.repository, now.number, now.second, now.repository_id) == (old.repository, 1, None, old.repository_id)
    assert list(world.places) == [PLACES[1]]
    assert all(set(conf) == {1} for conf in world.confs.values())
    assert set(world.crontabs.values()) <= {0}
    world.check()


def test_there_is_nothing_to_remove_before(world):
    for end in (passphrase.remove_old, passphrase.give_up):
        with pytest.raises(BadValue, match="no former repository"):
            end(world.project, Progress())


def test_a_passphrase_of_the_settings_is_taken_and_stays(world, make_project):
    given = make_project(data_centers=1, nodes=2, repository_passphrase="mine")
    passphrase.rotate_passphrase(given, Progress())
    assert kept_passwords(given).repository == "mine"
    assert fitting_passwords(given).repository == "mine"
    before = make_project(data_centers=1, nodes=2, repository_passphrase=kept_passwords(given).second.passphrase)
    assert fitting_passwords(before).repository == "mine", "a setting of before harms nothing while both are there"
    passphrase.remove_old(given, Progress())
    assert passphrase.rotate_passphrase(given, Progress()).given == ("repository",)


def test_while_it_is_half_done_nothing_else_is_rotated_and_afterwards_all(world, monkeypatch):
    monkeypatch.setattr(rotating.engine, "require_engine", lambda project: None)
    monkeypatch.setattr(rotating.engine, "containers", lambda project: {"pg1-node1": None})
    world.fails_at = 3
    with pytest.raises(PghaError):
        rotate(world)
    with pytest.raises(HalfDone, match="rotation of the passphrase is half done"):
        rotating.require_rotatable(world.project, KEYS)
    assert rotating.require_rotatable(world.project, PASSPHRASE)
    world.fails_at = 0
    rotate(world)
    assert not rotating.require_rotatable(world.project, KEYS)


def conf_of(rendered, host):
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(rendered.files[f"{host}/pgbackrest.conf"])
    return {key: value for key, value in parser["global"].items() if key.startswith("repo")}


def test_both_are_configured_and_the_nodes_have_no_passphrase(make_project, rendering):
    project, alone = make_project(), rendering()
    before = kept_passwords(project)
    begun = repositories.begin_second(project, before)
    for stage, nodes, here in (
        (Stage.COMING, {"repo1"}, {"repo1", "repo2"}),
        (Stage.BOTH, {"repo1", "repo2"}, {"repo1", "repo2"}),
        (Stage.FORMER, {"repo1", "repo2"}, {"repo1", "repo2"}),
        (Stage.GOING, {"repo1"}, {"repo1"}),
    ):
        repositories.enter(project, begun, stage)
        again = rendering()
        assert again.digests == alone.digests, "no container is made again"
        for host, wanted in (("pg1-node1", nodes), (REPOSITORY, here)):
            assert {key.split("-")[0] for key in conf_of(again, host)} == wanted
        assert begun.second.passphrase not in again.files["pg1-node1/pgbackrest.conf"] + again.files["compose.yaml"]
    repositories.enter(project, begun, Stage.BOTH)
    both = conf_of(rendering(), REPOSITORY)
    assert (both["repo1-path"], both["repo2-path"]) == ("/pgha/pgbackrest", "/pgha/pgbackrest/2")
    assert (both["repo1-cipher-pass"], both["repo2-cipher-pass"]) == (before.repository, begun.second.passphrase)


def test_what_the_new_one_does_not_reach_is_restored_from_the_former_one(a_project, monkeypatch):
    """Of what neither reaches the former one's refusal is told: it reaches further back."""
    reaches, kept = {0: "new", 1: "old"}, [1]
    monkeypatch.setattr(preparation, "former", lambda project: kept[0])
    monkeypatch.setattr(preparation, "finder", lambda project, found: None)
    monkeypatch.setattr(preparation.catalogue, "read_catalogue", lambda project, repo=0: repo)

    def resolve(request, found, situation, find):
        if request.name != reaches[found]:
            raise BadValue(f"not in {reaches[found]}")
        return Target("lsn", "0/1", None, None, ())

    monkeypatch.setattr(preparation.points, "resolve", resolve)

    def found_in(name):
        return preparation._resolve(a_project, Request(name=name), 0, None).repo

    assert (found_in("new"), found_in("old")) == (0, 1)
    with pytest.raises(BadValue, match="not in old"):
        found_in("neither")
    kept[0] = 0
    with pytest.raises(BadValue, match="not in new"):
        found_in("old")
