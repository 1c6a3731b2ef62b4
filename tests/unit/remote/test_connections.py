"""Connections to a small SSH server in this process, and to what is none."""

import os
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest

from pgha.errors import Missing, TimedOut, ToolFailed, Unreachable
from pgha.project.keys import ensure_keys, host_key, host_public_key
from pgha.project.record import Record
from pgha.remote import connections, streams
from pgha.remote.connections import Connections
from pgha.remote.streams import Ended
from pgha.tools.command import Command

HOST = "pg1-node1"


class Login(paramiko.ServerInterface):
    """Lets one key in and runs commands in a shell."""

    def __init__(self, allowed):
        self._allowed = allowed
        self._asking = threading.Lock()

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        known = username == "postgres" and key == self._allowed
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self._serve, args=(channel, command.decode()), daemon=True).start()
        return True

    def _serve(self, channel, command):
        # Not before the client was told that its command runs. The thread that tells it also takes this answer.
        with self._asking:
            channel.get_transport().global_request("are you there", wait=True)
        if "vanish" in command:
            channel.get_transport().close()
            return
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(["sh", "-c", command], **pipes) as process:
            threading.Thread(target=Login._feed, args=(channel, process.stdin), daemon=True).start()
            channel.sendall(process.stdout.read())
            channel.sendall_stderr(process.stderr.read())
        channel.send_exit_status(process.returncode)
        channel.close()

    @staticmethod
    def _feed(channel, stdin):
        with suppress(OSError, ValueError), stdin:
            while data := channel.recv(65536):
                stdin.write(data)


class Server:
    """An SSH server on a port of its own; `greet` False: a port that closes at once, None: one that says nothing."""

    def __init__(self, project, host=HOST, greet=True):
        self._key = paramiko.Ed25519Key.from_private_key_file(str(host_key(project, host)))
        self._user = paramiko.Ed25519Key.from_private_key_file(str(project.identity_file))
        self._greet = greet
        self._open = []
        self.accepted = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self._socket.accept()[0]
            except OSError:
                return
            self.accepted += 1
            if self._greet is False:
                client.close()
                continue
            self._open.append(client)
            if self._greet:
                transport = paramiko.Transport(client)
                transport.add_server_key(self._key)
                self._open.append(transport)
                # A client that refuses our key goes away.
                with suppress(paramiko.SSHException, EOFError):
                    transport.start_server(event=threading.Event(), server=Login(self._user))

    def close(self):
        # Closing alone does not wake the thread that accepts.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.hang_up()

    def hang_up(self):
        while self._open:
            self._open.pop().close()


@pytest.fixture
def keyed(a_project):
    ensure_keys(a_project)
    return a_project


@pytest.fixture
def serve(keyed):
    servers = []

    def serve(**more):
        servers.append(Server(keyed, **more))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


@pytest.fixture
def ssh_to(keyed, monkeypatch):
    """Connections to the project's hosts at these ports."""
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 2)
    opened = []

    def ssh_to(**ports):
        keyed.write_record(Record({}, {"ssh": {name.replace("_", "-"): port for name, port in ports.items()}}))
        opened.append(Connections(keyed))
        return opened[-1]

    yield ssh_to
    for ssh in opened:
        ssh.close()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def ssh(ssh_to, server):
    return ssh_to(pg1_node1=server.port)


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def sh(script, **more):
    return Command(("sh", "-c", script), **more)


# Commands ---------------------------------------------------------------------------------------------------


def test_an_answer_has_both_streams_and_the_exit_code(ssh):
    answer = ssh.run(HOST, sh("echo out; echo err >&2; exit 7"))
    assert (answer.stdout, answer.stderr, answer.exit_code) == ("out\n", "err\n", 7)


def test_arguments_arrive_as_they_are(ssh):
    odd = "a 'b' \"c\" $HOME `id` \\ ; *"
    assert ssh.run(HOST, Command(("printf", "%s", odd))).stdout == odd


def test_each_connection_is_opened_once(ssh, server):
    for _ in range(3):
        assert ssh.run(HOST, Command(("true",))).ok
    assert server.accepted == 1


def test_threads_that_ask_at_once_share_a_connection(ssh, server):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: ssh.run(HOST, sh(f"echo {number}")).stdout, range(4)))
    assert answers == ["0\n", "1\n", "2\n", "3\n"]
    assert server.accepted == 1


def test_threads_that_ask_at_once_share_an_error_and_the_next_one_tries_again(ssh_to, serve):
    mute = serve(greet=None)
    ssh = ssh_to(pg1_node1=mute.port)

    def asked(number):
        with pytest.raises(Unreachable):
            ssh.run(HOST, sh("true"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(asked, range(4)))
    assert mute.accepted == 1
    asked(5)
    assert mute.accepted == 2


def test_lines_are_handed_over(ssh):
    seen = []
    ssh.run(HOST, sh("printf 'one\\r\\ntwo\\n'"), line=seen.append)
    assert seen == ["one", "two"]


def test_a_connection_that_closes_before_the_input_is_handed_on_is_no_error(ssh):
    channel = ssh._connection(HOST).create_session()
    channel.exec_command("true")
    # What closing a connection does between two looks of the thread that hands the input on.
    channel.get_transport().packetizer.close()
    streams._feed(channel, None)


def test_the_remote_side_ends_a_command_that_takes_too_long(ssh):
    with pytest.raises(TimedOut, match=rf"sleep on {HOST} did not end within 0\.1 s"):
        ssh.run(HOST, Command(("sleep", "30"), timeout=0.1))
    assert ssh.run(HOST, Command(("true",))).ok


def test_must_tells_host_and_words(ssh):
    with pytest.raises(ToolFailed) as caught:
        ssh.must(HOST, sh("echo it broke >&2; exit 3"), "The tool failed", "inv status")
    assert caught.value.message == f"The tool failed (on {HOST}, exit code 3)\n  | it broke"


def test_a_connection_that_breaks_meanwhile_is_unreachable(ssh):
    with pytest.raises(Unreachable, match=HOST):
        ssh.run(HOST, Command(("vanish",)))
    assert ssh.run(HOST, Command(("true",))).ok


def test_the_operator_s_own_ssh_config_is_not_read(ssh, tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  User nobody\n  Port 1\n  HostName 192.0.2.1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ssh.run(HOST, Command(("true",))).ok


def test_first_asks_on_until_an_answer_can_be_read(ssh_to, serve, free_port):
    ssh = ssh_to(pg1_node1=free_port, pg1_node2=serve(host="pg1-node2").port)
    assert ssh.first(["pg1-node1", "pg1-node2"], sh("echo 7"), int) == ("pg1-node2", 7)
    with pytest.raises(ToolFailed, match="pg1-node2 gave no answer"):
        ssh.first(["pg1-node1", "pg1-node2"], sh("true"), int)
    with pytest.raises(Unreachable, match="pg1-node1"):
        ssh.first(["pg1-node2", "pg1-node1"], sh("true"), int)


def test_everywhere_keeps_each_host_s_answer_or_error(ssh_to, serve, free_port):
    ssh = ssh_to(pg1_node1=free_port, pg1_node2=serve(host="pg1-node2").port)
    answers = ssh.everywhere({name: sh("echo here") for name in ("pg1-node1", "pg1-node2")})
    assert list(answers) == ["pg1-node1", "pg1-node2"]
    assert isinstance(answers["pg1-node1"], Unreachable)
    assert answers["pg1-node2"].stdout == "here\n"
    assert ssh.everywhere({}) == {}


# This process's own input and output ------------------------------------------------------------------------


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """Let standard input be a file with these bytes."""

    def typed(data):
        (tmp_path / "input").write_bytes(data)
        monkeypatch.setattr("sys.stdin", (tmp_path / "input").open())

    return typed


def test_input_is_handed_on_to_its_end_byte_for_byte(ssh, typed, capfdbinary):
    data = bytes(range(256)) * 20000
    typed(data)
    assert ssh.stream(HOST, sh("cat; echo err >&2; exit 7")) == Ended(7)
    assert tuple(capfdbinary.readouterr()) == (data, b"err\n")


def test_a_program_that_does_not_read_its_input_ends_all_the_same(ssh, typed):
    typed(bytes(10_000_000))
    assert ssh.stream(HOST, sh("exit 3")) == Ended(3)


@pytest.mark.parametrize("stdin", [None, Path("/dev/null")], ids=["closed", "null"])
def test_where_there_is_no_input_the_program_sees_its_end(ssh, monkeypatch, capfdbinary, stdin):
    monkeypatch.setattr("sys.stdin", stdin and stdin.open())
    assert not streams.has_input()
    assert not streams.has_terminal()
    assert ssh.stream(HOST, sh("cat; echo end")) == Ended(0)
    assert capfdbinary.readouterr().out == b"end\n"


def test_an_empty_file_is_an_input(typed):
    typed(b"")
    assert streams.has_input()


def test_a_command_is_fed_a_text_that_is_on_no_line(ssh):
    text = "a secret\n" * 100_000
    answer = ssh.feed(HOST, Command(("sh", "-c", "wc -c; echo no >&2; exit 3")), text)
    assert (answer.stdout.strip(), answer.stderr, answer.exit_code) == (str(len(text)), "no\n", 3)
    assert "secret" not in answer.command.remote_line
    assert ssh.feed(HOST, Command(("true",)), text).ok, "it need not read it"


def test_what_is_fed_ends_and_breaks_as_other_commands_do(ssh):
    with pytest.raises(TimedOut, match="did not end"):
        ssh.feed(HOST, Command(("sleep", "60"), timeout=0.2), "")
    with pytest.raises(Unreachable, match=HOST):
        ssh.feed(HOST, Command(("echo", "vanish")), "")


def test_a_stream_that_breaks_is_unreachable(ssh):
    with pytest.raises(Unreachable, match=HOST):
        ssh.stream(HOST, Command(("vanish",)))
    assert ssh.run(HOST, Command(("true",))).ok


def test_what_takes_no_signal_is_not_said_to_have_ended(ssh, monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE", 0.5)
    threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT]).start()
    assert ssh.stream(HOST, sh("sleep 20; exit 3")) == Ended(None, interrupted=True), "it did not wait for the end"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# What cannot be reached -------------------------------------------------------------------------------------


@pytest.mark.parametrize("greet", [False, None], ids=["closes-at-once", "says-nothing"])
def test_a_port_without_sshd_is_unreachable(ssh_to, serve, monkeypatch, greet):
    ssh = ssh_to(pg1_node1=serve(greet=greet).port)
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 0.3)
    with pytest.raises(Unreachable, match=HOST) as caught:
        ssh.run(HOST, Command(("true",)))
    assert caught.value.exit_code == 5
    assert caught.value.hint


def test_nothing_listening_is_unreachable(ssh_to, free_port):
    with pytest.raises(Unreachable, match=f"{HOST} .*{free_port}") as caught:
        ssh_to(pg1_node1=free_port).run(HOST, Command(("true",)))
    assert caught.value.exit_code == 5


def test_another_host_key_is_refused(ssh_to, serve):
    ssh = ssh_to(pg1_node1=serve(host="pg2-node1").port)
    with pytest.raises(Unreachable, match=f"{HOST} .* another host key") as caught:
        ssh.run(HOST, Command(("true",)))
    assert "inv up" in caught.value.hint


@pytest.mark.parametrize("shown", [HOST, "pg2-node1"])
def test_a_host_may_show_any_of_its_known_keys(keyed, ssh_to, serve, shown):
    """It has two while they are exchanged."""
    other = f"{HOST} {host_public_key(keyed, 'pg2-node1')}\n"
    keyed.known_hosts.write_text(keyed.known_hosts.read_text() + other)
    assert ssh_to(pg1_node1=serve(host=shown).port).run(HOST, Command(("true",))).ok
    with pytest.raises(Unreachable, match="another host key"):
        ssh_to(pg1_node1=serve(host="pg3-node1").port).run(HOST, Command(("true",)))


def test_an_unknown_host_is_not_trusted(keyed, ssh):
    lines = keyed.known_hosts.read_text().splitlines(keepends=True)
    keyed.known_hosts.write_text("".join(line for line in lines if not line.startswith(HOST)))
    with pytest.raises(Unreachable):
        ssh.run(HOST, Command(("true",)))


def test_a_refused_user_key_is_named(keyed, ssh):
    # The server has read the former keys already; the host's own key stays.
    former = host_key(keyed, HOST).read_bytes()
    ensure_keys(keyed, rotate=True)
    host_key(keyed, HOST).write_bytes(former)
    ensure_keys(keyed)
    with pytest.raises(Unreachable, match=f"{HOST} .* refuses the key id_ed25519") as caught:
        ssh.run(HOST, Command(("true",)))
    assert "inv up" in caught.value.hint


def test_a_host_whose_container_is_known_not_to_run_is_not_tried(ssh):
    with ssh.leaving_out({HOST: "paused"}), pytest.raises(Unreachable, match=f"{HOST} .* its container is paused"):
        ssh.run(HOST, Command(("true",)))
    assert ssh.run(HOST, Command(("true",))).ok


def test_a_host_that_was_never_rendered_is_missing(ssh):
    with pytest.raises(Missing, match="pg3-node2") as caught:
        ssh.run("pg3-node2", Command(("true",)))
    assert caught.value.hint == "inv render, or inv up"


def test_missing_known_hosts_lead_to_keys(keyed, ssh):
    keyed.known_hosts.unlink()
    with pytest.raises(Missing) as caught:
        ssh.run(HOST, Command(("true",)))
    assert caught.value.hint == "inv keys"


@pytest.mark.parametrize(
    "spoil", [lambda path: path.unlink(), lambda path: path.write_text("damaged")], ids=["missing", "damaged"]
)
def test_an_unusable_user_key_is_named_and_leads_to_keys(keyed, ssh, spoil):
    spoil(keyed.identity_file)
    with pytest.raises(Missing, match="id_ed25519") as caught:
        ssh.run(HOST, Command(("true",)))
    assert caught.value.hint.startswith("inv keys")


def test_one_set_of_connections_per_project(make_project):
    one, other = make_project(project="one"), make_project(project="other")
    assert connections.connect(one) is connections.connect(one)
    assert connections.connect(one) is not connections.connect(other)
    connections.close_all()
