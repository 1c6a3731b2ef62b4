"""A replica that is made again, in a cluster that is played by a few lines."""

from dataclasses import replace

import pytest

from pgha.backup import reinit
from pgha.cluster import configuration, quorum, view
from pgha.console import Progress
from pgha.errors import BadValue, NoBackup, NoLeader, NoStanza, Parted, TimedOut, ToolFailed, Unhealthy
from pgha.tools import patronictl, wal
from pgha.tools.repository import Backup, StanzaView

BACKUP = Backup("20261123-053604F", "full", 1, 2, 3, 4, False, "000000010000000000000005", 900)
STANZA = StanzaView(True, "ok", False, (BACKUP,), None, None, False)
LEFT = "clone-from-repository: the archive lacks 000000010000000000000007; basebackup it is"
FAILED = "2026-11-23 08:40:01,000 ERROR: failed to bootstrap from leader 'pg1-node1'"


@pytest.fixture
def played(play, monkeypatch):
    played = play(configuration, reinit, quorum, view, timeout=0.05)
    played.config = {"ttl": 20, "postgresql": {"create_replica_methods": ["pgbackrest", "basebackup"]}}
    monkeypatch.setattr(reinit.engine, "log_since", lambda project, host, since: played.log)
    monkeypatch.setattr(reinit, "require_repository_reaches", lambda project, node, what: None)
    played.history = wal.History(1, ())
    played.stanza = STANZA
    monkeypatch.setattr(reinit, "read_facts", lambda project, leader: played)
    monkeypatch.setattr(reinit, "read_stanza", lambda project: played.stanza)
    return played


def ask(project, node="pg2-node1", source=""):
    return reinit.reinit(project, node, source, Progress())


def test_patroni_takes_the_first_source_that_can_give_it(project, played):
    made = ask(project)
    assert (made.node, made.source, made.method) == ("pg2-node1", "repository", "pgbackrest")
    assert played.commands == ["reinit pgha_cluster pg2-node1 --force"]


def test_the_leader_gives_it_when_it_is_named(project, played):
    played.makes = "INFO: replica has been created using basebackup\n"
    assert ask(project, source="leader").source == "leader"
    assert played.commands == ["reinit pgha_cluster pg2-node1 --force --from-leader"]


@pytest.mark.parametrize(
    ("node", "source", "words", "hint"),
    [
        ("pg1-node1", "", "is the leader", "inv switchover, then inv reinit --node pg1-node1"),
        ("pg9-node9", "", "not a Postgres node", "pg1-node1, pg2-node1, pg3-node1"),
        ("etcd1", "", "not a Postgres node", "pg1-node1"),
        ("", "", "has to be named", "inv reinit --node <name>"),
        ("pg2-node1", "backup", "leader or repository", "inv reinit --node pg2-node1"),
    ],
)
def test_what_cannot_be_made_again_is_refused(project, played, node, source, words, hint):
    with pytest.raises(BadValue, match=words) as caught:
        ask(project, node, source)
    assert hint in caught.value.hint
    assert played.commands == []


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda p: setattr(p, "leader", None), NoLeader, "no leader"),
        (lambda p: p.away.add("pg2-node1"), Unhealthy, "cannot be reached"),
        (lambda p: p.cut.add("pg2-node1"), Unhealthy, "no etcd majority"),
    ],
)
def test_what_cannot_be_done_now_is_refused(project, played, spoil, error, words):
    spoil(played)
    with pytest.raises(error, match=words):
        ask(project)
    assert played.commands == []


def test_without_a_backup_the_repository_can_give_nothing(project, played, monkeypatch):
    played.stanza = replace(STANZA, backups=())
    with pytest.raises(NoBackup, match="no backup yet"):
        ask(project, source="repository")
    played.stanza, played.history = STANZA, wal.History(2, ((1, 800),))
    with pytest.raises(NoBackup, match="no backup of the present history"):
        ask(project, source="repository")
    played.history, played.config = wal.History(1, ()), {"ttl": 20}
    with pytest.raises(NoStanza, match="not made from the repository yet"):
        ask(project, source="repository")

    def cut(project, node, what):
        raise Parted(f"cut off from {node}")

    played.config["postgresql"] = {"create_replica_methods": ["pgbackrest"]}
    monkeypatch.setattr(reinit, "require_repository_reaches", cut)
    with pytest.raises(Parted, match="pg2-node1"):
        ask(project, source="repository")
    assert played.commands == []


def test_a_source_that_could_not_give_it_is_told(project, played):
    played.makes = f"{LEFT}\nINFO: replica has been created using basebackup\n"
    with pytest.raises(ToolFailed, match="made from the leader: the repository could not") as caught:
        ask(project, source="repository")
    assert "the archive lacks" in caught.value.message


def test_one_that_is_being_made_already_is_waited_for(project, played, monkeypatch):
    played.states["pg2-node1"] = patronictl.CREATING
    looks = []

    def log(project, host, since):
        looks.append(since)
        if len(looks) == 20:
            played.states.clear()
            played.log += played.makes
        return played.log

    monkeypatch.setattr(reinit.engine, "log_since", log)
    assert ask(project).method == "pgbackrest"
    assert played.commands == []
    assert len(looks) >= 20, "it takes as long as it is being made"


def test_with_a_source_it_is_begun_again(project, played, monkeypatch):
    played.states["pg2-node1"] = patronictl.CREATING
    played.makes = "INFO: replica has been created using basebackup\n"

    def begun(project, host, since):
        if played.commands:
            played.states.clear()
        return played.log

    monkeypatch.setattr(reinit.engine, "log_since", begun)
    assert ask(project, source="leader").source == "leader"


def test_every_method_failed(project, played):
    played.makes = f"{FAILED}\n{FAILED}\n"
    with pytest.raises(ToolFailed, match="could not make pg2-node1 again") as caught:
        ask(project)
    assert "failed to bootstrap" in caught.value.message
    assert "inv logs --node pg2-node1" in caught.value.hint


def test_one_that_does_not_come_is_not_waited_for_for_ever(project, played):
    played.streaming.discard("pg2-node1")
    with pytest.raises(TimedOut, match="it is starting"):
        ask(project)


def test_what_patroni_refuses_is_an_error(project, played):
    played.deaf = True
    with pytest.raises(ToolFailed, match="status code=503"):
        ask(project)


def test_fewer_standbys_than_a_commit_waits_for_are_told(project, played, capsys):
    ask(project)
    assert "waits for" not in capsys.readouterr().err
    played.streaming.discard("pg3-node1")
    ask(project)
    assert "until pg2-node1 streams a commit waits for no standby, not for 1" in capsys.readouterr().err
