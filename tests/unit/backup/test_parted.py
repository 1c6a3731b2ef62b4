"""Hosts that do not reach each other: what is refused for it, before anything waits."""

import pytest

from pgha.backup import backups, members, preparation, stanza, verification
from pgha.console import Progress
from pgha.errors import CutOff, Parted
from pgha.model.topology import REPOSITORY
from pgha.tools import patroni, repository
from pgha.tools.command import Answer
from pgha.tools.docker import Container

LEADER = patroni.Member("pg2-node1", "leader", "running", 2, None)


class Repository:
    """The repository's host, which does not reach some nodes."""

    def __init__(self, *lost):
        self.lost = lost
        self.commands = []

    def must(self, host, command, message, hint=""):
        assert (host, command.argv[3]) == (REPOSITORY, "unreached")
        self.commands.append(command)
        asked = [place.removesuffix(":8432") for place in command.argv[4:]]
        return Answer(command, "".join(f"{name}\n" for name in asked if name in self.lost), "", 0)


@pytest.fixture
def reaching(monkeypatch):
    def reaching(*lost):
        host = Repository(*lost)
        monkeypatch.setattr(stanza, "connect", lambda project: host)
        return host

    return reaching


def test_a_repository_that_is_cut_off_from_the_leader_is_named_with_the_way_on(a_project, reaching):
    reaching("pg1-node1")
    stanza.require_repository_reaches(a_project, "pg2-node1", "no backup can be taken")
    reaching("pg2-node1")
    with pytest.raises(Parted, match=r"pgbackrest\) is cut off from pg2-node1: no backup can be taken") as caught:
        stanza.require_repository_reaches(a_project, "pg2-node1", "no backup can be taken")
    assert (caught.value.exit_code, caught.value.kind) == (3, "parted")
    assert "inv status" in caught.value.hint and "inv chaos.heal" in caught.value.hint


def test_what_wants_the_repository_beside_the_leader_is_refused_before_it_waits(a_project, reaching, monkeypatch):
    reaching("pg2-node1")
    view = repository.StanzaView(True, "ok", False, (), None, None, False, "17-1", "42")
    archiver = type("Archiver", (), {"command": "pgbackrest-archive-push %p"})
    for module in (backups, stanza):
        monkeypatch.setattr(module, "require_leader", lambda project: LEADER)
        monkeypatch.setattr(module, "read_archiver", lambda project, leader: archiver)
        monkeypatch.setattr(module, "read_stanza", lambda project, repo=0: view)
    for task in (
        lambda: backups.run_backup(a_project, "incr", None),
        lambda: backups.set_restore_point(a_project, "before", None),
        lambda: stanza.create_stanza(a_project, None),
    ):
        with pytest.raises(Parted, match="cut off from pg2-node1"):
            task()


def test_a_backup_is_not_restored_where_the_repository_is_not_reached(a_project, reaching, monkeypatch):
    reaching("pg3-node1")
    backup = type("Backup", (), {"label": "20261123-053604F"})
    view = repository.StanzaView(True, "ok", False, (backup,), None, None, False, "17-1", "42")
    monkeypatch.setattr(verification, "read_stanza", lambda project, repo=0: view)
    monkeypatch.setattr(verification, "_read_repository", lambda *given: None)
    monkeypatch.setattr(verification, "choose_node", lambda project: "pg3-node1")
    with pytest.raises(Parted, match="cut off from pg3-node1: no backup can be restored there"):
        verification.verify(a_project, "", None)


@pytest.fixture
def restoring(a_project, reaching, monkeypatch):
    """Whether a restore may begin, with these nodes out of the repository's reach, blind or not running."""

    def restoring(lost=(), blind=(), away=()):
        states = {node.name: "exited" if node.name in away else "running" for node in a_project.topology.nodes}
        containers = {name: Container(name, name, "", state, "", "", (), {}, {}) for name, state in states.items()}
        node = patroni.NodeState("", "replica", "running", 1, None, None, 1, (), "")
        told = {name: patroni.Told(node, None, 0, () if name in blind else ("etcd1",)) for name in states}
        told |= {name: CutOff("cut off") for name in blind[:1]}
        monkeypatch.setattr(members.engine, "containers", lambda project: containers)
        monkeypatch.setattr(members, "read_members", lambda project: told)
        host = reaching(*lost, *away)
        members.require_together(a_project)
        return host

    return restoring


def test_a_restore_takes_every_member_along(restoring):
    restoring()
    with pytest.raises(Parted, match="pg1-node1 and pg1-node2 are cut off, and a restore takes every member along"):
        restoring(lost=["pg1-node1", "pg1-node2"])
    with pytest.raises(Parted, match="pg3-node1 is cut off"):
        restoring(blind=["pg3-node1"])


def test_members_that_do_not_run_are_started_first(restoring):
    host = restoring(away=["pg2-node1"])
    assert "pg2-node1" not in host.commands[0].argv


def test_wal_is_looked_for_where_the_archive_can_be_reached(a_project, monkeypatch):
    asked = []

    class Nodes:
        def run(self, host, command, line=None):
            asked.append(host)
            return Answer(command, "", "", 1)

    monkeypatch.setattr(preparation, "connect", lambda project: Nodes())
    monkeypatch.setattr(preparation, "able_first", lambda project: ["pg2-node1", "pg1-node1"])
    assert preparation._look_into(a_project, patroni.get(a_project.topology.urls, "patroni")) == []
    assert asked == ["pg2-node1"]


@pytest.mark.parametrize(("lost", "where"), [((), REPOSITORY), (("pg1-node1", "pg1-node2"), "pg2-node1")])
def test_the_check_of_the_archive_wants_no_answer_of_a_node_that_is_away(a_project, monkeypatch, lost, where):
    """pgbackrest check on the repository's host fails when one node does not answer."""
    ran = []

    class Hosts(Repository):
        def must(self, host, command, message, hint=""):
            if "unreached" in command.argv:
                return super().must(host, command, message, hint)
            ran.append((host, command.argv[-1]))
            return Answer(command, "", "", 0)

    view = repository.StanzaView(True, "ok", False, (), None, None, False, "17-1", "42")
    archiver = type("Archiver", (), {"command": "pgbackrest-archive-push %p"})
    monkeypatch.setattr(stanza, "connect", lambda project: Hosts(*lost))
    monkeypatch.setattr(stanza, "require_leader", lambda project: LEADER)
    monkeypatch.setattr(stanza, "read_archiver", lambda project, leader: archiver)
    monkeypatch.setattr(stanza, "read_stanza", lambda project, repo=0: view)
    monkeypatch.setattr(stanza, "patch_config", lambda project, wanted: [])
    monkeypatch.setattr(stanza, "create_when_unlocked", lambda project: None)
    assert stanza.create_stanza(a_project, Progress()).leader == "pg2-node1"
    assert [host for host, verb in ran if verb == "check"] == [where]
