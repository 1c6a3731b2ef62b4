"""Databases of applications, in a cluster that is played by a few lines."""

import re

import pytest

from pgha.cluster import clients, quorum, view
from pgha.cluster import databases as room
from pgha.cluster.clients import Login, printed_string
from pgha.cluster.databases import list_databases, make_database
from pgha.console import Progress
from pgha.errors import BadValue, NoLeader, NotRendered, ToolFailed
from pgha.project.passwords import kept_passwords
from pgha.project.record import Record
from pgha.remote.postgres_client import NoLibpq, Refusal
from pgha.tools import databases


@pytest.fixture
def project(make_project, write_down_passwords):
    project = make_project(data_centers=3, nodes=1)
    names = [node.name for node in project.topology.nodes]
    project.write_record(Record({}, {"postgres": {name: 5000 + i for i, name in enumerate(names)}, "ssh": {}}))
    write_down_passwords(project)
    return project


@pytest.fixture
def served(play, monkeypatch):
    served = play(clients, quorum, room, view)
    served.refusals, served.logins = [], []

    def log_in(conninfo):
        served.logins.append(conninfo)
        return served.refusals.pop(0) if served.refusals else None

    monkeypatch.setattr(room.postgres_client, "log_in", log_in)
    return served


def make(project, name="app", owner=""):
    return make_database(project, name, owner, Progress())


def test_a_database_has_a_role_and_a_password_of_its_own(project, served):
    made = make(project)
    secret = kept_passwords(project).roles["app"]
    assert served.databases["app"] == ["app", False]
    assert made.done == (
        'create role "app" login', 'create database "app" owner "app"',
        'revoke connect, temporary on database "app" from public',
    )  # fmt: skip
    assert served.run_in[-2:-1] == [("app", "revoke create on schema public from public;")]
    assert re.fullmatch(r"SCRAM-SHA-256\$4096:[^$:]{24}\$[^$:]{44}:[^$:]{44}", served.verifiers["app"])
    assert project.role_pgpass.read_text().splitlines()[1:] == [f"*:*:*:app:{secret}"]
    assert project.role_pgpass.stat().st_mode & 0o777 == 0o600
    assert f"passfile={project.role_pgpass}" in made.dsn
    assert "user=app dbname=app" in served.logins[-1]
    for text in (made.dsn, *made.done, *served.logins, *(line for _, line in served.run_in)):
        assert secret not in text and "SCRAM" not in text


def test_what_is_as_it_should_be_stays(project, served):
    make(project)
    secret, seen = kept_passwords(project).roles["app"], list(served.run_in)
    assert make(project).done == ()
    assert kept_passwords(project).roles["app"] == secret
    assert served.run_in == seen
    second = make(project, "other", "app")
    assert second.owner == "app" and "create role" not in " ".join(second.done)


def test_an_interrupted_command_is_completed_with_the_same_password(project, served):
    served.fails = "revoke connect"
    with pytest.raises(ToolFailed, match="cannot revoke"):
        make(project)
    secret = kept_passwords(project).roles["app"]
    served.fails = ""
    assert make(project).done == ('revoke connect, temporary on database "app" from public',)
    assert kept_passwords(project).roles["app"] == secret


def test_a_password_that_somebody_changed_is_set_back(project, served):
    make(project)
    served.refusals = [Refusal("password authentication failed", True), None]
    assert make(project).done == ('alter role "app" login',)


def test_success_is_judged_by_a_login(project, served):
    served.refusals = [Refusal("no pg_hba.conf entry", False)]
    with pytest.raises(ToolFailed, match="no pg_hba"):
        make(project)


def test_without_libpq_here_a_node_logs_in_with_the_passfile(project, served, monkeypatch):
    def none(conninfo):
        raise NoLibpq

    monkeypatch.setattr(room.postgres_client, "log_in", none)
    make(project)
    assert served.run_in[-1] == ("log in", project.role_pgpass.read_text())


@pytest.mark.parametrize(
    ("name", "owner", "words", "hint"),
    [
        ("My-App", "", "'My-App' is not the name of a database", "inv database --name my_app"),
        ("9", "", "'9' is not the name", "inv database --name app"),
        ("a" * 64, "", "is not the name", ""),
        ('a";drop', "", "is not the name", ""),
        ("postgres", "app", "every cluster's own", ""),
        ("template1", "app", "every cluster's own", ""),
        ("app", "postgres", "cannot own", "--owner app_owner"),
        ("app", "replicator", "cannot own", ""),
        ("app", "pg_monitor", "cannot own", ""),
        ("app", "App", "'App' is not the name of a role", ""),
        ("app", "strong", "strong is a superuser, or nearly", "--owner <role>"),
        ("app", "member", "member is a member of pg_write_server_files", ""),
        ("app", "byhand", "its password is not known here", "drop role byhand"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(project, served, name, owner, words, hint):
    with pytest.raises(BadValue, match=re.escape(words)) as caught:
        make(project, name, owner)
    assert hint in caught.value.hint
    assert served.run_in == []
    assert kept_passwords(project).roles == {}


def test_a_database_of_somebody_else_stays_theirs(project, served):
    make(project)
    with pytest.raises(BadValue, match="belongs to app, not to other"):
        make(project, "app", "other")


def test_a_role_that_may_not_log_in_is_told(project, served):
    make(project, "app", "nologin")
    with pytest.raises(BadValue, match="may not log in"):
        make(project, "app", "nologin")


def test_without_a_leader_or_passwords_nothing_is_made(project, served):
    served.leader = None
    with pytest.raises(NoLeader):
        make(project)
    served.leader = "pg1-node1"
    (project.folder / "passwords.yaml").unlink()
    with pytest.raises(NotRendered):
        make(project)
    assert served.run_in == []


def test_what_there_is_is_listed(project, served):
    make(project)
    assert [(e.database.name, e.database.owner, e.known) for e in list_databases(project)] == [
        ("postgres", "postgres", False), ("app", "app", True),
    ]  # fmt: skip


def test_its_string_names_the_passfile_on_this_host_only(project, served):
    make(project)
    here, _ = printed_string(project, Login("app", "app"), standby=False)
    assert f"passfile={project.role_pgpass}" in here
    for login in (Login("app", "app", inside=True), Login("app", "app", address="192.0.2.9")):
        string, notes = printed_string(project, login, standby=False)
        assert "passfile" not in string
        assert "the password is in build/pgha/roles.pgpass" in notes[-1]
    assert "passfile" not in printed_string(project, Login("nobody", "app"), standby=False)[0]


@pytest.mark.parametrize("text", ["", "{}", '{"databases": [{"name": 1}], "roles": []}'])
def test_an_answer_that_is_none_is_told(text):
    with pytest.raises(ToolFailed, match="databases"):
        databases.parse_there(text)
