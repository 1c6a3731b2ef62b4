"""The stages of a recovery: what each does, in which order, and that it is done once."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from pgha.cli import recovering as cli
from pgha.console import Progress
from pgha.errors import HalfDone, LosesData, TimedOut
from pgha.failures import broken
from pgha.failures.broken import Broken
from pgha.project.record import Record as Remembered
from pgha.recover import recovering
from pgha.recover.account import document, take_account
from pgha.recover.record import (
    COMMAND,
    Record,
    Stage,
    enter_stage,
    read_recovered,
    read_recovery,
    refuse_half_recovered,
)
from pgha.tools.command import Answer
from pgha.tools.etcd_alone import Known
from pgha.tools.patroni import ClusterView, Member

GONE = ("etcd1", "etcd2", "pg1-node1", "pg2-node1")


@pytest.fixture
def project(make_project):
    project = make_project(data_centers=3, nodes=1)
    project.write_record(Remembered({}, {}))
    return project


@pytest.fixture
def left(project):
    file = project.folder / "etcd3" / "etcd.yml"
    file.parent.mkdir(parents=True)
    file.write_text("name: etcd3\n")
    return replace(project, gone=GONE)


def record(**changes):
    return replace(Record(1.0, list(GONE), "etcd3", "pg3-node1"), **changes)


# The record -------------------------------------------------------------------------------------------------


def test_a_recovery_comes_back_as_it_was_written_and_refuses_others_meanwhile(project):
    refuse_half_recovered(project)
    enter_stage(project, record(), Stage.NODES)
    assert read_recovery(project) == record(stage=Stage.NODES)
    with pytest.raises(HalfDone, match="A recovery from pg3-node1 and etcd3 is half done") as caught:
        refuse_half_recovered(project)
    assert caught.value.hint == f"{COMMAND} completes it"


# Fencing ----------------------------------------------------------------------------------------------------


def test_the_lost_hosts_are_written_down_before_their_containers_go(project, monkeypatch):
    broken.add(project, [Broken("kill", "pg1-node1"), Broken("kill", "pgbackrest")])
    seen = []

    def remove(left, hosts):
        seen.append((sorted(hosts), project.record().gone))

    there = {name: None for name in GONE if name != "etcd2"}
    monkeypatch.setattr(recovering.engine, "given_up", lambda left: there)
    monkeypatch.setattr(recovering.engine, "remove", remove)
    monkeypatch.setattr(recovering, "render_project", lambda left: seen.append(left.topology.etcd))
    left = recovering._fence(project, record(), Progress())
    assert seen[0] == (["etcd1", "pg1-node1", "pg2-node1"], GONE)
    assert [member.name for member in seen[1]] == ["etcd3"] and left.gone == GONE
    assert [entry.host for entry in broken.read(project)] == ["pgbackrest"]
    # Once more: with what another loss had taken before.
    project.write_record(replace(project.record(), replacing="etcd1"))
    there.clear()
    assert recovering._fence(replace(project, gone=("pg9-node9",)), record(), Progress()).gone == ("pg9-node9", *GONE)
    assert project.record().replacing == ""


# etcd -------------------------------------------------------------------------------------------------------


FORCING = "name: etcd3\nforce-new-cluster: true\nsnapshot-count: 1\n"


@pytest.fixture
def member(left, monkeypatch):
    """etcd3: it commits once it was started with the file that gives the others up, and skips the first key."""
    said = SimpleNamespace(alone=False, works=True, skips=1, members=["etcd3"], mark="", files=[], keys=[])
    file = left.folder / "etcd3" / "etcd.yml"

    def run(command):
        words = list(command.argv)
        if "put" in words and said.alone:
            said.skips -= 1
            if said.skips < 0:
                said.mark = words[-1]
                said.keys.append((file.read_text(), said.mark))
        ok = said.alone and said.skips < (0 if "put" in words else 9)
        return Answer(command, said.mark if "get" in words else "", "", 0 if ok else 1)

    def must(command):
        said.files.append(file.read_text())
        said.alone = said.works
        return Answer(command, "", "", 0)

    def on_any(project, command):
        if "remove" in command.argv:
            said.members = said.members[:1]
        return json.dumps({"members": [{"ID": n, "name": name} for n, name in enumerate(said.members)]})

    monkeypatch.setattr(recovering.engine, "engine_of", lambda *_: SimpleNamespace(run=run, must=must))
    monkeypatch.setattr(recovering, "_on_any", on_any)
    monkeypatch.setattr(recovering, "ETCD_PATIENCE", 2)
    return said


def test_etcd_gives_the_others_up_in_one_start_and_never_again(left, member):
    recovering._make_etcd(left, record(), Progress())
    assert member.files == [FORCING, "name: etcd3\n"]
    assert (left.folder / "etcd3" / "etcd.yml").read_text() == "name: etcd3\n"
    recovering._make_etcd(left, record(), Progress())
    assert len(member.files) == 2, "it is alone already"


def test_what_etcd_skips_is_over_before_anybody_joins(left, member):
    """A key is written until it is answered, and twice more, while every second entry makes a snapshot."""
    member.skips = 3
    recovering._make_etcd(left, record(), Progress())
    assert [file for file, _ in member.keys] == [FORCING, FORCING, FORCING, "name: etcd3\n"]
    assert member.mark == "1.0"


def test_a_recovery_that_was_killed_before_etcd_was_alone_makes_it_so_again(left, member):
    member.alone, member.mark = True, "while it is made alone"
    recovering._make_etcd(left, record(), Progress())
    assert member.files == [FORCING, "name: etcd3\n"] and member.mark == "1.0"


def test_another_recovery_begins_again(left, member):
    recovering._make_etcd(left, record(), Progress())
    recovering._make_etcd(left, record(began=2.0), Progress())
    assert len(member.files) == 4 and member.mark == "2.0"


def test_a_member_whose_removal_was_skipped_is_removed(left, member):
    member.members = ["etcd3", "etcd1"]
    recovering._make_etcd(left, record(), Progress())
    assert member.members == ["etcd3"]


def test_another_machine_hears_of_the_file_that_gives_others_up_and_that_it_is_gone(left, member, monkeypatch):
    told = []
    file = left.folder / "etcd3" / "etcd.yml"
    monkeypatch.setattr(recovering.engine, "deliver", lambda project, hosts: told.append((hosts, file.read_text())))
    recovering._make_etcd(left, record(), Progress())
    assert told == [(["etcd3"], FORCING), *[(["etcd3"], "name: etcd3\n")] * 2]


def test_a_start_that_fails_leaves_no_file_that_gives_others_up(left, member, monkeypatch):
    monkeypatch.setattr(recovering, "ETCD_PATIENCE", 0.05)
    member.works = False
    with pytest.raises(TimedOut, match="etcd3 can commit alone"):
        recovering._make_etcd(left, record(), Progress())
    assert "force" not in (left.folder / "etcd3" / "etcd.yml").read_text()


# The lead ---------------------------------------------------------------------------------------------------


KNOWN = Known("pg1-node1", "pg1-node1", ("pg2-node1", "pg3-node1"), 1, 0, ("pg1-node1", "pg3-node1"), {"ttl": 20})


@pytest.fixture
def asked(left, monkeypatch):
    """The commands that etcd is given."""
    commands = []
    leads = ClusterView((Member("pg3-node1", "leader", "running", 2, None),))
    told = SimpleNamespace(known=KNOWN, commands=commands, view=ClusterView(()))

    def must(host, command, message):
        commands.append(" ".join(command.argv[command.argv.index("etcdctl") + 3 :]))
        told.view = leads
        return Answer(command, "", "", 0)

    monkeypatch.setattr(recovering, "connect", lambda project: SimpleNamespace(must=must))
    monkeypatch.setattr(recovering, "_on_any", lambda project, command: "")
    monkeypatch.setattr(recovering.etcd_alone, "parse_known", lambda text: told.known)
    monkeypatch.setattr(recovering, "read_view", lambda project: told.view)
    return told


def test_the_named_one_is_asked_for_before_the_lost_leaders_lock_goes(left, asked):
    assert recovering._lead(left, record(), Progress()) == []
    keys = [command.replace("/service/pgha_cluster/", "") for command in asked.commands]
    assert keys == [
        '--dial-timeout=1s put failover {"member":"pg3-node1"}',
        "--dial-timeout=1s del members/pg1-node1",
        "--dial-timeout=1s del sync",
        "--dial-timeout=1s del leader",
    ]
    asked.commands.clear()
    recovering._lead(left, record(), Progress())
    assert asked.commands == [], "somebody leads: it is done"


def test_the_lock_of_a_leader_that_is_left_stays(left, asked):
    asked.known = replace(KNOWN, leader="pg3-node1")
    recovering._lead(left, record(), Progress())
    assert not any("del" in command and command.endswith("leader") for command in asked.commands)


def test_maintenance_mode_ends_and_that_is_said(left, asked):
    asked.known = replace(KNOWN, config={"ttl": 20, "pause": True})
    (note,) = recovering._lead(left, record(), Progress())
    assert "maintenance mode" in note
    assert "pause" not in asked.commands[0] and "put /service/pgha_cluster/config" in asked.commands[0]


# As an operator meets it ------------------------------------------------------------------------------------


@pytest.fixture
def operator(lost, a_project, monkeypatch):
    """`inv recover`; what it would do is remembered instead."""
    a_project.write_record(Remembered({}, {}))
    done = []
    report = SimpleNamespace(
        record=record(account={"may_lose": "little"}), leader="pg3-node1", timeline=2, view=ClusterView(()), notes=(),
        seconds=1.0,
    )  # fmt: skip
    monkeypatch.setattr(cli, "recover", lambda project, account, progress: done.append(account.candidate) or report)
    monkeypatch.setattr(cli, "resume", lambda project, record, progress: done.append("resumed") or report)
    return SimpleNamespace(
        done=done, recover=lambda accepted, json=False: cli.recover_site(a_project, accepted, json, Progress())
    )


def test_what_may_be_lost_is_said_and_nothing_is_done_until_it_is_accepted(operator, capsys):
    with pytest.raises(LosesData, match="dc1 and dc2 would be given up for ever") as caught:
        operator.recover(False)
    shown = capsys.readouterr().out
    assert "after 0/5000060 (timeline 1, last commit 1970-01-01 00:00:01Z)" in shown
    assert "archive: has nothing that the survivor has not" in shown
    assert "pg1-node1 led; a commit waited for 1 of pg2-node1, pg3-node1" in shown
    assert (caught.value.hint, caught.value.exit_code, operator.done) == (COMMAND, 2, [])
    operator.recover(True)
    assert operator.done == ["pg3-node1"]


def test_a_program_gets_the_account_in_one_document_with_the_error(operator, capsys):
    with pytest.raises(LosesData) as caught:
        operator.recover(False, json=True)
    assert (capsys.readouterr().out, caught.value.document["account"]["candidate"]) == ("", "pg3-node1")
    operator.recover(True, json=True)
    assert json.loads(capsys.readouterr().out)["leader"] == "pg3-node1"


def test_what_is_half_done_is_completed_without_a_new_look(operator, a_project, lost):
    enter_stage(a_project, record(), Stage.ETCD)
    lost.healthy = ("etcd3",)
    with pytest.raises(LosesData, match="given up already"):
        operator.recover(False)
    operator.recover(True)
    assert operator.done == ["resumed"]


def test_an_account_survives_its_record(lost, a_project):
    """It is written as plain YAML, and read by whoever compares it with what was lost."""
    said = document(take_account(a_project))
    assert yaml.safe_load(yaml.safe_dump(said)) == said
    assert read_recovered(a_project) is None
    enter_stage(a_project, record(account=said), Stage.FOLLOWING)
    recovering.finish(a_project, record(account=said), {"leader": "pg3-node1"})
    assert read_recovered(a_project)["said"]["last_commit"] == 1.0
    assert read_recovery(a_project) is None
