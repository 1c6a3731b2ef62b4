"""The words of a line: what stands without its flag, and what is none of ours."""

import pytest
from invoke import Program
from invoke.parser import Parser

import tasks
from pgha.cli.line import understand

CORE = Program().initial_context


def understood(*words):
    contexts = Parser(contexts=tasks.namespace.to_contexts(), initial=CORE).contexts
    return understand(words, contexts, CORE)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (["failover", "pg1-node1"], ["failover", "--candidate", "pg1-node1"]),
        (["switchover", "pg2-node1", "status"], ["switchover", "--candidate", "pg2-node1", "status"]),
        (["ssh", "my-pg2-node1"], ["ssh", "--node", "my-pg2-node1"]),
        (["ssh", "pg1-node1", "patronictl list"], ["ssh", "--node", "pg1-node1", "--command", "patronictl list"]),
        (["logs", "etcd3", "--follow"], ["logs", "--node", "etcd3", "--follow"]),
        (["replace", "etcd3"], ["replace", "--etcd", "etcd3"]),
        (["replace", "pg1-node2", "--yes"], ["replace", "--node", "pg1-node2", "--yes"]),
        (["stop", "dc2", "start", "dc2"], ["stop", "--dc", "dc2", "start", "--dc", "dc2"]),
        (["chaos.partition", "witness"], ["chaos.partition", "--dc", "witness"]),
        (["chaos.kill", "pgbackrest"], ["chaos.kill", "--node", "pgbackrest"]),
        (["psql", "select 1"], ["psql", "--command", "select 1"]),
        (["psql", "--standby", "select\n1"], ["psql", "--standby", "--command", "select\n1"]),
        (["psql", r"\l"], ["psql", "--command", r"\l"]),
        (
            ["psql", "checkpoint;", "psql", "vacuum;"],
            ["psql", "--command", "checkpoint;", "psql", "--command", "vacuum;"],
        ),
        (["backup", "diff"], ["backup", "--type", "diff"]),
        (["database", "app", "--owner", "app_owner"], ["database", "--name", "app", "--owner", "app_owner"]),
        (["restore-point", "before_migration", "backup"], ["restore-point", "--name", "before_migration", "backup"]),
        (["drill", "leader-killed", "status"], ["drill", "--name", "leader-killed", "status"]),
        (["drill", "switchover", "switchover"], ["drill", "--name", "switchover", "switchover"]),
        (["upgrade", "18", "--plan"], ["upgrade", "--major", "18", "--plan"]),
        (["rotate", "passwords"], ["rotate", "--what", "passwords"]),
        (["rotate", "--plan", "keys", "keys"], ["rotate", "--plan", "--what", "keys", "keys"]),
        (["restore", "2026-11-23 08:30:00Z"], ["restore", "--time", "2026-11-23 08:30:00Z"]),
    ],
)
def test_a_value_goes_to_the_flag_it_looks_like(line, meant):
    assert understood(*line).words == meant
    assert understood(*line).stranger == ""


@pytest.mark.parametrize(
    "line",
    [
        "build up",
        "psql status",
        "render -d 3 -p 2 up status",
        "failover --candidate pg1-node1 status",
        "ssh --node=pg1-node1 psql",
        "config --set ttl=30 --set postgresql.parameters.work_mem=8MB",
        "-f my.yaml chaos.heal status --json",
        "restore-point --name backup stanza",
        "rotate --what passwords certificates",
        "database status",
        "keys certificates",
        "test --module chaos -k up",
        "--help status",
    ],
)
def test_a_line_with_its_flags_stays_as_it_is(line):
    assert (understood(*line.split()).words, understood(*line.split()).stranger) == (line.split(), "")


@pytest.mark.parametrize(
    ("line", "stranger", "task"),
    [
        ("statsu", "statsu", ""),
        ("up statsu", "statsu", "up"),
        ("psql statsu", "statsu", "psql"),
        ("database statsu", "statsu", "database"),
        ("database app other", "other", "database"),
        ("failover pg1-node1 pg2-node1", "pg2-node1", "failover"),
        ("failover --candidate pg1-node1 pg2-node1", "pg2-node1", "failover"),
        ("up pg1-node1", "pg1-node1", "up"),
        ("backup --typ full", "--typ", "backup"),
        ("--nothing status", "--nothing", ""),
    ],
)
def test_what_is_none_of_ours_stays_none(line, stranger, task):
    """A task that is mistyped must not become a value, and a second value not another task's."""
    found = understood(*line.split())
    assert (found.stranger, found.task) == (stranger, task)
