"""The way to the engines of other machines: one SSH connection each, and a socket here that leads to the one there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pgha.errors import MachineUnreachable, NotReady, TimedOut
from pgha.model.machines import Machine, destination
from pgha.remote import shell
from pgha.tools import ssh
from pgha.tools.command import Answer

PATIENCE = 2
"""Seconds for an engine to answer a ping."""

REMEMBERED = 10
"""Seconds after which a machine that did not answer is asked again: all that want it meanwhile hear so at once."""

PING = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"

_away: dict[str, tuple[float, MachineUnreachable]] = {}
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def reach(machine: Machine) -> Path:
    """The socket that leads to a machine's engine, which has just answered there.

    Raises MachineUnreachable, and NotReady where sockets cannot be kept.
    """
    with _locks[machine.engine]:
        until, error = _away.get(machine.engine, (0.0, None))
        if error and time.monotonic() < until:
            raise error
        try:
            found = _reach(machine)
        except MachineUnreachable as away:
            _away[machine.engine] = (time.monotonic() + REMEMBERED, away)
            raise
        _away.pop(machine.engine, None)
        return found


def _reach(machine: Machine) -> Path:
    here = _socket(machine)
    said = ping(here)
    if said == "ok":
        return here
    if said == "silent":
        # The connection is there, and the machine is not, or not reached. With a new one it would be the same.
        _close(machine)
        raise _unreachable(machine, f"no answer within {PATIENCE} s")
    with _alone(machine):
        # Another command may have opened it meanwhile.
        if ping(here) == "ok":
            return here
        _close(machine)
        answer = _open(machine)
        if not answer.ok:
            raise _unreachable(machine, answer.last_words)
        if ping(here) != "ok":
            place, _ = destination(machine)
            raise MachineUnreachable(
                f"Machine {machine.name} answers, but no container engine does there ({ssh.ENGINE_SOCKET})",
                f"inv setup --check tells more; ssh {place} docker version",
            )
    return here


def ping(path: Path) -> str:
    """What an engine says at this socket: `ok`, `silent`, or `nothing` where nobody listens."""
    with socket.socket(socket.AF_UNIX) as asked, suppress(OSError):
        asked.settimeout(PATIENCE)
        try:
            asked.connect(str(path))
            asked.sendall(PING)
            return "ok" if asked.recv(12).startswith(b"HTTP/1.") else "nothing"
        except TimeoutError:
            return "silent"
    return "nothing"


def _open(machine: Machine) -> Answer:
    command = ssh.open_master(machine, str(_control(machine)), str(_socket(machine)))
    try:
        return shell.run(command)
    except TimedOut as error:
        return Answer(command, "", error.message, 1)


def _close(machine: Machine) -> None:
    with suppress(TimedOut):
        shell.run(ssh.close_master(machine, str(_control(machine))))


def _unreachable(machine: Machine, words: str) -> MachineUnreachable:
    place, port = destination(machine)
    way = f"ssh {f'-p {port} ' if port else ''}{place} docker version"
    return MachineUnreachable(f"Machine {machine.name} is unreachable: {words}", f"{way} tells more")


def _control(machine: Machine) -> Path:
    return folder() / f"{_short(machine)}.ctl"


def _socket(machine: Machine) -> Path:
    return folder() / f"{_short(machine)}.sock"


def _short(machine: Machine) -> str:
    """A socket's path has at most 107 bytes, and ssh appends 17 of its own to the one it makes first."""
    return hashlib.sha256(machine.engine.encode()).hexdigest()[:12]


def folder() -> Path:
    """Where the sockets are, of all projects: this user's alone. Raises NotReady when somebody else made it."""
    path = _base() / f"pgha-{os.geteuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise NotReady(f"{path} is not a folder of this user's alone", f"ls -ld {path}; then remove it")
    return path


def _base() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(given) if len(given) in range(1, 50) and Path(given).is_dir() else Path("/tmp")


@contextmanager
def _alone(machine: Machine) -> Iterator[None]:
    """One process at a time opens the connection to a machine."""
    with (folder() / f"{_short(machine)}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
