import ctypes
import socket
import struct
import threading

import pytest

from pgha.remote.postgres_client import Client, NoLibpq, find, log_in


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


# Logging in -------------------------------------------------------------------------------------------------


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


ASKS = message(b"R", struct.pack("!I", 3))
REFUSES = message(b"E", b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")
GREETS = message(b"R", struct.pack("!I", 0)) + message(b"Z", b"I")


@pytest.fixture
def served(tmp_path):
    """A server of Postgres' protocol that answers the startup, and then each message, with these bytes; a string that
    leads to it."""
    try:
        ctypes.CDLL("libpq.so.5")
    except OSError:
        pytest.skip("no libpq on this host")
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:postgres:secret\n")
    passfile.chmod(0o600)

    def served(*answers):
        def serve():
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    # TLS and GSS are asked for first, and declined.
                    while connection.recv(4096)[4:8] in (struct.pack("!I", 80877103), struct.pack("!I", 80877104)):
                        connection.sendall(b"N")
                    connection.sendall(answer)
                connection.recv(4096)

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        port = listener.getsockname()[1]
        return f"host=127.0.0.1 port={port} user=postgres dbname=postgres passfile={passfile} connect_timeout=2"

    yield served
    for thread in threads:
        thread.join(10)
    listener.close()


def test_a_login_that_goes_well_says_nothing(served):
    assert log_in(served(ASKS, GREETS)) is None


def test_a_password_that_is_refused_comes_with_the_server_s_words(served):
    refusal = log_in(served(ASKS, REFUSES))
    assert refusal.asked
    assert "password authentication failed" in refusal.words


def test_a_server_that_refuses_before_it_asks_is_no_matter_of_the_password(served):
    refusal = log_in(served(REFUSES))
    assert (refusal.asked, "FATAL" in refusal.words) == (False, True)


def test_where_nothing_listens_no_password_is_refused(served):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert log_in(f"host=127.0.0.1 port={port} user=postgres").asked is False


def test_without_a_libpq_nobody_logs_in(monkeypatch):
    def none(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", none)
    with pytest.raises(NoLibpq):
        log_in("host=127.0.0.1")
