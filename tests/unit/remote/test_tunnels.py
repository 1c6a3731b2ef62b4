"""The way to another machine's engine: sockets that answer, or do not, and an ssh that is played."""

import socket
import stat
import threading

import pytest

from pgha.errors import MachineUnreachable, NotReady
from pgha.model.machines import Machine
from pgha.remote import tunnels
from pgha.tools.command import Answer

MACHINE = Machine("db-a", "ssh://root@db-a:2222", "10.0.1.9")


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    """Where the sockets are kept."""
    monkeypatch.setattr(tunnels, "folder", lambda: tmp_path)
    monkeypatch.setattr(tunnels, "PATIENCE", 0.2)
    monkeypatch.setattr(tunnels, "_away", {})
    return tmp_path


@pytest.fixture
def serve(sockets):
    """An engine at this machine's socket, which says this to every ping; silent when it is None."""
    servers = []

    def serve(answer=b"HTTP/1.1 200 OK\r\n\r\n"):
        path = tunnels._socket(MACHINE)
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        servers.append(server)
        held = []

        def run():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                held.append(client)
                client.recv(1000)
                if answer is not None:
                    client.sendall(answer)
                    client.close()

        threading.Thread(target=run, daemon=True).start()

    yield serve
    for server in servers:
        server.close()


@pytest.fixture
def ssh(monkeypatch):
    """The ssh commands that were run; `ssh.then` is what the first one brings about, `ssh.answer` how it ends."""

    class Played:
        def __init__(self):
            self.ran, self.then, self.answer = [], lambda: None, (0, "")

        def run(self, command, **options):
            self.ran.append("exit" if "exit" in command.argv else "open")
            if self.ran[-1] == "exit":
                return Answer(command, "", "", 0)
            self.then()
            return Answer(command, "", self.answer[1], self.answer[0])

    played = Played()
    monkeypatch.setattr(tunnels.shell, "run", played.run)
    return played


def test_an_engine_that_answers_is_taken_as_it_is(serve, ssh):
    serve()
    assert tunnels.reach(MACHINE) == tunnels._socket(MACHINE)
    assert ssh.ran == []


def test_a_connection_is_opened_where_there_is_none(serve, ssh):
    ssh.then = serve
    assert tunnels.reach(MACHINE).exists()
    assert ssh.ran == ["exit", "open"]


def test_a_machine_that_cannot_be_reached_is_named_with_the_words_of_ssh(sockets, ssh):
    ssh.answer = (255, "first\nHost key verification failed.\n")
    with pytest.raises(MachineUnreachable, match=r"^Machine db-a is unreachable: Host key verification failed\.$") as e:
        tunnels.reach(MACHINE)
    assert e.value.hint == "ssh -p 2222 root@db-a docker version tells more"
    assert e.value.exit_code == 5


def test_a_machine_that_was_away_is_not_asked_again_by_everybody(sockets, ssh):
    ssh.answer = (255, "No route to host")
    for _ in range(3):
        with pytest.raises(MachineUnreachable):
            tunnels.reach(MACHINE)
    assert ssh.ran.count("open") == 1


def test_a_machine_that_was_away_is_asked_again_later(serve, ssh, monkeypatch):
    ssh.answer = (255, "No route to host")
    with pytest.raises(MachineUnreachable):
        tunnels.reach(MACHINE)
    ssh.answer, ssh.then = (0, ""), serve
    monkeypatch.setattr(tunnels.time, "monotonic", lambda: float("inf"))
    assert tunnels.reach(MACHINE)


def test_a_machine_that_stopped_answering_costs_one_wait(serve, ssh):
    serve(None)
    with pytest.raises(MachineUnreachable, match="no answer within"):
        tunnels.reach(MACHINE)
    assert ssh.ran == ["exit"]


def test_a_machine_without_an_engine_is_told_from_one_that_is_away(sockets, ssh):
    with pytest.raises(MachineUnreachable, match="answers, but no container engine does there"):
        tunnels.reach(MACHINE)


def test_the_sockets_are_kept_from_others(tmp_path, monkeypatch):
    monkeypatch.setattr(tunnels, "_base", lambda: tmp_path)
    made = tunnels.folder()
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert tunnels.folder() == made
    made.chmod(0o755)
    with pytest.raises(NotReady, match="not a folder of this user's alone"):
        tunnels.folder()
