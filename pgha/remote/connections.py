"""The only module that speaks SSH: Fabric connections to the containers, each opened once and checked strictly."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import fabric
import paramiko
from invoke.exceptions import CommandTimedOut, ThreadException, UnexpectedExit
from paramiko.ssh_exception import NoValidConnectionsError

from pgha.errors import Missing, NotRendered, OtherKeys, PghaError, TimedOut, ToolFailed, Unreachable
from pgha.project.keys import require_user_key
from pgha.project.project import Project
from pgha.remote import streams
from pgha.remote.known_hosts import OneOf, keys_of
from pgha.tools.command import Answer, Command

T = TypeVar("T")

CONNECT_TIMEOUT = 5
"""Seconds to wait for a connection, and again for the SSH greeting and the authentication."""

TIMEOUT_EXIT = 124
"""timeout(1)'s exit code when it ended the command."""

_open: dict[str, Connections] = {}


# What paramiko's threads say of a failed connection reaches the operator as one of our errors.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


def connect(project: Project) -> Connections:
    """The project's connections; the same ones for every task of a command line."""
    if project.name not in _open:
        _open[project.name] = Connections(project)
    return _open[project.name]


def close_all() -> None:
    """Close every connection: at the end, and when containers were made again."""
    while _open:
        _open.popitem()[1].close()


class Connections:
    """SSH to the containers of one project, by host name."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._held: dict[str, Future[fabric.Connection]] = {}
        """One a host. Who asks while it is being opened waits for the same one, and for the same error."""
        self._away: Mapping[str, str] = {}
        self.informed = ""
        """The member that knew what the majority knows when all were asked; it is asked first the next time."""

    def run(self, host: str, command: Command, line: Callable[[str], None] | None = None) -> Answer:
        """Run a command on a host, whatever its exit code; with `line`, hand over each line as it comes.

        Raises Unreachable when the host cannot be reached or refuses, TimedOut when the command took too long.
        """
        connection = self._connection(host)
        options: dict[str, Any] = {"hide": True, "warn": True, "in_stream": False}
        if command.terminal:
            options["pty"] = True
        elif command.timeout:
            # The remote side ends it first; this is for a host that vanishes meanwhile.
            options["timeout"] = command.timeout + 10
        if line:
            options["out_stream"] = streams.Lines(line)
        try:
            with streams.noticing_interrupt(command.terminal) as interrupted:
                result = connection.run(command.remote_line, **options)
        except CommandTimedOut:
            self._drop(host, connection)
            raise TimedOut(f"{host} did not answer within {command.timeout:g} s: {command}") from None
        except (OSError, EOFError, paramiko.SSHException, ThreadException) as error:
            self._drop(host, connection)
            raise Unreachable(f"The connection to {host} broke: {_words(error)}", "inv status") from None
        if interrupted.is_set():
            raise KeyboardInterrupt
        if result.exited == -1 and not connection.is_connected:
            # paramiko's exit code for a channel that closed without one.
            self._drop(host, connection)
            raise Unreachable(f"The connection to {host} broke while {command.argv[0]} ran", "inv status")
        if result.exited == TIMEOUT_EXIT and not command.terminal:
            raise TimedOut(f"{command.argv[0]} on {host} did not end within {command.timeout:g} s: {command}")
        return Answer(command, result.stdout, result.stderr, result.exited)

    def must(self, host: str, command: Command, message: str, hint: str = "") -> Answer:
        """As `run`. Raises ToolFailed with the tool's words when the exit code is not 0."""
        answer = self.run(host, command)
        if not answer.ok:
            raise ToolFailed(f"{message} (on {host}, exit code {answer.exit_code})", answer.words, hint)
        return answer

    def first(self, hosts: Iterable[str], command: Command, parse: Callable[[str], T]) -> tuple[str, T]:
        """The first answer that can be parsed, and the host that gave it.

        Raises the last host's error when none does.
        """
        error: PghaError = Missing("There is no host to ask")
        for host in hosts:
            try:
                answer = self.run(host, command)
                if not answer.stdout.strip():
                    raise ToolFailed(f"{command.argv[0]} on {host} gave no answer", answer.words)
                return host, parse(answer.stdout)
            except (Unreachable, TimedOut, ToolFailed) as failure:
                error = failure
        raise error

    def everywhere(self, commands: Mapping[str, Command]) -> dict[str, Answer | PghaError]:
        """Run one command per host, all at once; a host that fails has its error as the answer."""

        def one(host: str) -> Answer | PghaError:
            try:
                return self.run(host, commands[host])
            except PghaError as error:
                return error

        with ThreadPoolExecutor(max_workers=max(1, len(commands))) as pool:
            return dict(zip(commands, pool.map(one, commands), strict=True))

    def interactive(self, host: str, command: Command | None) -> int:
        """Give this terminal to a shell or a command on the host; returns its exit code."""
        connection = self._connection(host)
        try:
            result = connection.run(str(command), pty=True) if command else connection.shell()
        except UnexpectedExit as ended:
            result = ended.result
        return int(result.exited)

    def stream(self, host: str, command: Command) -> streams.Ended:
        """Give this process's input and output to a command; how it ended.

        Raises Unreachable when the connection breaks meanwhile.
        """
        connection = self._connection(host)
        try:
            channel = connection.create_session()
            channel.exec_command(command.remote_line)
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._drop(host, connection)
            raise Unreachable(f"The connection to {host} broke: {_words(error)}", "inv status") from None
        try:
            ended = streams.follow(channel)
        finally:
            channel.close()
        if ended.exit_code == -1 and not connection.is_connected:
            self._drop(host, connection)
            raise Unreachable(f"The connection to {host} broke while its program ran", "inv status")
        return ended

    def feed(self, host: str, command: Command, text: str) -> Answer:
        """As `run`, with a text for the command to read: a secret belongs on no command line."""
        connection = self._connection(host)
        try:
            channel = connection.create_session()
            channel.settimeout(command.timeout + 10)
            channel.exec_command(command.remote_line)
            answer = Answer(command, *streams.exchange(channel, text))
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._drop(host, connection)
            raise Unreachable(f"The connection to {host} broke: {_words(error)}", "inv status") from None
        if answer.exit_code == -1 and not connection.is_connected:
            self._drop(host, connection)
            raise Unreachable(f"The connection to {host} broke while {command.argv[0]} ran", "inv status")
        if answer.exit_code == TIMEOUT_EXIT:
            raise TimedOut(f"{command.argv[0]} on {host} did not end within {command.timeout:g} s")
        return answer

    def close(self) -> None:
        for host, held in list(self._held.items()):
            if held.done():
                self._drop(host, held.result())

    def _drop(self, host: str, connection: fabric.Connection) -> None:
        with self._lock:
            held = self._held.get(host)
            # Another thread may have opened the next one already.
            if held is not None and held.done() and held.result() is connection:
                del self._held[host]
        with suppress(Exception):
            connection.close()

    @contextmanager
    def leaving_out(self, away: Mapping[str, str]) -> Iterator[None]:
        """Do not try hosts whose container does not run, each with its state: the port of one that is frozen takes a
        connection all the same, and every try would wait for an answer."""
        self._away = away
        try:
            yield
        finally:
            self._away = {}

    def is_left_out(self, host: str) -> bool:
        """Whether the host's container is known not to run: whoever asks it otherwise waits, too."""
        return host in self._away

    def _connection(self, host: str) -> fabric.Connection:
        if host in self._away:
            raise Unreachable(f"{host} cannot be reached over SSH: its container is {self._away[host]}", "inv up")
        with self._lock:
            held = self._held.get(host)
            theirs = held is not None and (not held.done() or held.result().is_connected)
            if held is None or not theirs:
                held = self._held[host] = Future()
        if not theirs:
            self._open(host, held)
        return held.result()

    def _open(self, host: str, held: Future[fabric.Connection]) -> None:
        try:
            held.set_result(self._opened(host))
        except BaseException as error:
            with self._lock:
                del self._held[host]
            held.set_exception(error)

    def _opened(self, host: str) -> fabric.Connection:
        connection = self._new(host)
        name = f"{host} ({connection.host}:{connection.port})"
        try:
            connection.open()
        except paramiko.AuthenticationException:
            raise OtherKeys(
                f"{name} refuses the key {self._project.identity_file.name}",
                "the container still has other keys: `inv up` gives it the present ones",
            ) from None
        except paramiko.BadHostKeyException:
            raise OtherKeys(
                f"{name} shows another host key than {self._project.known_hosts.name} says",
                "`inv up` gives the container the present key; if it has that, something else answers there",
            ) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise Unreachable(f"{name} cannot be reached over SSH: {_words(error)}", "inv up") from None
        return connection

    def _new(self, host: str) -> fabric.Connection:
        project = self._project
        where = project.topology.host(host)
        try:
            port = project.ports["ssh"][host]
        except KeyError:
            raise NotRendered(
                f"Project {project.name} is not up: nothing is rendered for {host}", "inv render, or inv up"
            ) from None
        require_user_key(project)
        connection = fabric.Connection(
            where.found_at(project.settings.client_address) if where else project.settings.client_address,
            user="postgres",
            port=port,
            # Never the operator's own ~/.ssh/config, agent or keys.
            config=fabric.Config(overrides={"load_ssh_configs": False}, lazy=True),
            connect_timeout=CONNECT_TIMEOUT,
            connect_kwargs={
                "key_filename": str(project.identity_file),
                "allow_agent": False,
                "look_for_keys": False,
                "banner_timeout": CONNECT_TIMEOUT,
                "auth_timeout": CONNECT_TIMEOUT,
            },
        )
        connection.client.set_missing_host_key_policy(OneOf(keys_of(project, host)))
        return connection


def _words(error: Exception) -> str:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"no answer within {CONNECT_TIMEOUT} s"
    if isinstance(error, NoValidConnectionsError):
        return "nothing listens there"
    if isinstance(error, EOFError):
        return "the other side closed the connection"
    return (str(error) or type(error).__name__).splitlines()[0]
