import pytest

from pgha.remote.postgres_client import Client, find


@pytest.mark.parametrize(
    ("psql", "libpq", "balances"),
    [("15.18", 15, False), ("17.5", 17, True), ("15.18", 18, False), ("18beta1", 15, False), ("", 15, False),
     ("16.1", 0, True), ("14.2", 0, False), ("", 0, True)],
)  # fmt: skip
def test_the_older_of_psql_and_libpq_counts(psql, libpq, balances):
    assert Client(psql, libpq).balances is balances


def test_a_host_without_psql_has_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find().psql == ""


def test_the_psql_that_is_found_is_asked(monkeypatch, tmp_path):
    psql = tmp_path / "psql"
    psql.write_text("#!/bin/sh\necho 'psql (PostgreSQL) 14.9'\n")
    psql.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find().psql == "14.9"
    assert "psql 14.9" in find().text
