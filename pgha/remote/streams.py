"""A remote program with this process's own input and output, byte for byte: what pipes and Ctrl-C need.

Fabric's runner is made for a terminal's keys: it hands on a hundred of them a second and no end of file, and Ctrl-C
without a terminal only closes the channel, behind which the program goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

CHUNK = 1 << 16

GONE = (OSError, EOFError)
"""What paramiko raises when the channel, or the connection below it, is closed meanwhile."""

PATIENCE = 5
"""Seconds a program has to end after Ctrl-C; psql asks the server to cancel its statement meanwhile."""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    exit_code: int | None
    """None: it was interrupted, and had not ended PATIENCE seconds later."""
    interrupted: bool = False


def has_terminal() -> bool:
    """Whether somebody types at this process's standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def has_input() -> bool:
    """Whether standard input can hold anything: it is neither closed nor /dev/null."""
    if sys.stdin is None:
        return False
    with suppress(OSError):
        return not os.path.samestat(os.fstat(sys.stdin.fileno()), os.stat(os.devnull))  # noqa: PTH116
    return False


def follow(channel: paramiko.Channel) -> Ended:
    """Connect a channel whose program runs to this process's own streams until it ends; Ctrl-C is a SIGINT to it.

    Standard input is handed on unless it is a terminal's: the program sees its end at once then.
    """
    # What earlier tasks of the line printed comes first.
    sys.stdout.flush()
    sys.stderr.flush()
    source = sys.stdin.fileno() if has_input() and not has_terminal() else None
    _thread(lambda: _feed(channel, source))
    errors = _thread(lambda: _copy_errors(channel))
    interrupted = False
    with _one_interrupt():
        try:
            _copy(channel.recv, sys.stdout.buffer)
            channel.status_event.wait()
        except KeyboardInterrupt:
            interrupted = True
            if not _interrupt(channel):
                return Ended(None, interrupted)
        errors.join()
    return Ended(channel.recv_exit_status(), interrupted)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Only the first Ctrl-C is one: timeout(1) sends two at once, and the program needs its time to end."""
    usual = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _thread(work: Callable[[], None]) -> threading.Thread:
    """It ends with its channel; one that waits for somebody's input must not keep the process."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _feed(channel: paramiko.Channel, source: int | None) -> None:
    # A program that ends before it has read all is no error of this side.
    with suppress(*GONE):
        while source is not None and (data := os.read(source, CHUNK)):
            channel.sendall(data)
    with suppress(*GONE):
        channel.shutdown_write()


def _copy(receive: Callable[[int], bytes], target: BinaryIO) -> None:
    while data := receive(CHUNK):
        target.write(data)
        target.flush()


def _copy_errors(channel: paramiko.Channel) -> None:
    with suppress(*GONE):
        _copy(channel.recv_stderr, sys.stderr.buffer)


def _interrupt(channel: paramiko.Channel) -> bool:
    """Hand Ctrl-C on, and show what the program still says; returns whether it ended in time."""
    _send_signal(channel, "INT")
    deadline = time.monotonic() + PATIENCE

    def receive(size: int) -> bytes:
        channel.settimeout(max(0.01, deadline - time.monotonic()))
        return channel.recv(size) if time.monotonic() < deadline else b""

    with suppress(TimeoutError):
        _copy(receive, sys.stdout.buffer)
        return channel.status_event.wait(max(0.0, deadline - time.monotonic()))
    return False


def _send_signal(channel: paramiko.Channel, name: str) -> None:
    """sshd (7.9 or newer) sends it to the program's process group. paramiko has no call for it (RFC 4254, 6.9)."""
    request = paramiko.Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("signal")
    request.add_boolean(False)
    request.add_string(name)
    transport = channel.get_transport()
    transport._send_user_message(request)  # type: ignore[attr-defined]


@contextmanager
def noticing_interrupt(terminal: bool) -> Iterator[threading.Event]:
    """Tell whether Ctrl-C was pressed: with a terminal Fabric hands it to the remote side and says nothing."""
    noticed = threading.Event()
    if not terminal or threading.current_thread() is not threading.main_thread():
        yield noticed
        return
    usual = signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: FrameType | None) -> None:
        noticed.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, notice)
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, usual)


def exchange(channel: paramiko.Channel, text: str) -> tuple[str, str, int]:
    """Give a program that runs a text to read: what it wrote to its two outputs, and its exit code."""
    kept = [b""]

    def keep() -> None:
        with suppress(*GONE):
            while data := channel.recv_stderr(CHUNK):
                kept.append(data)

    errors = _thread(keep)
    # A program that ends before it has read all is no error of this side.
    with suppress(*GONE):
        channel.sendall(text.encode())
        channel.shutdown_write()
    written = b"".join(iter(lambda: channel.recv(CHUNK), b""))
    errors.join()
    code = channel.recv_exit_status()
    channel.close()
    return written.decode(errors="replace"), b"".join(kept).decode(errors="replace"), code


class Lines:
    """A stream that hands over whole lines."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line
        self._rest = ""

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text.replace("\r", "")).split("\n")
        for line in lines:
            self._line(line)

    def flush(self) -> None:
        """Nothing is held back but an unfinished line."""
