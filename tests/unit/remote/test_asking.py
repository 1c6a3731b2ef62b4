"""SQL on a node's own Postgres, by psql's exit code."""

from types import SimpleNamespace

import pytest

from pgha.errors import ConnectionsUsedUp, NoConnection, ToolFailed
from pgha.remote.asking import ask_postgres
from pgha.tools import postgres
from pgha.tools.command import Answer

FAILED = "psql: error: connection to server on socket failed: "


@pytest.mark.parametrize(
    ("words", "code", "error", "sentence"),
    [
        ("FATAL:  sorry, too many clients already", 2, ConnectionsUsedUp, ": sorry, too many clients already"),
        ("FATAL:  remaining connection slots are reserved for roles with x", 2, ConnectionsUsedUp, ": remaining"),
        ("FATAL:  the database system is shutting down", 2, NoConnection, ": the database system is shutting down"),
        ("No such file or directory\n\tIs the server running locally?", 2, NoConnection, "Is the server running"),
        ("", 2, NoConnection, ": psql: error"),
        ("ERROR:  division by zero", 1, ToolFailed, r"psql failed on pg1-node1 \(exit code 1\)"),
    ],
)
def test_why_a_postgres_takes_no_connections_is_told(words, code, error, sentence):
    ssh = SimpleNamespace(run=lambda host, command: Answer(command, "", FAILED + words, code))
    with pytest.raises(ToolFailed, match=sentence) as caught:
        ask_postgres(ssh, "pg1-node1", postgres.query("select 1"))
    assert type(caught.value) is error
    assert "pg1-node1" in caught.value.message


def test_an_answer_is_what_psql_printed():
    ssh = SimpleNamespace(run=lambda host, command: Answer(command, "7\n", "", 0))
    assert ask_postgres(ssh, "pg1-node1", postgres.query("select 7")) == "7\n"
