"""Runs commands on this host. The counterpart of `connections`, which runs them in the containers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pgha.errors import Missing, NotReady, TimedOut, ToolFailed
from pgha.tools.command import Answer, Command


def run(
    command: Command,
    *,
    environment: Mapping[str, str] | None = None,
    line: Callable[[str], None] | None = None,
    given: bytes = b"",
) -> Answer:
    """Run to the end, with something `given` to read; with `line`, hand over each line of output as it comes (stdout
    and stderr together).

    Raises Missing when the program is not there, TimedOut after `command.timeout` seconds (0: never).
    """
    env = {**os.environ, **environment} if environment else None
    try:
        process: subprocess.Popen[Any] = subprocess.Popen(
            command.argv,
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if line else subprocess.PIPE,
            text=not given,
            errors=None if given else "replace",
            env=env,
            # Ctrl-C reaches this process alone; it then ends the child in its own order.
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise _not_runnable(command, error) from None
    try:
        if line:
            return _follow(process, command, line)
        if given:
            written = process.communicate(given, timeout=command.timeout or None)
            stdout, stderr = (stream.decode(errors="replace") for stream in written)
        else:
            stdout, stderr = process.communicate(timeout=command.timeout or None)
        return Answer(command, stdout, stderr, process.returncode)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"{command.argv[0]} did not end within {command.timeout:g} s: {command}") from None
    finally:
        _end(process)


def _follow(process: subprocess.Popen[str], command: Command, line: Callable[[str], None]) -> Answer:
    assert process.stdout is not None
    seen = []
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _end(process)

    timer = threading.Timer(command.timeout, expire)
    if command.timeout:
        timer.start()
    try:
        for text in process.stdout:
            seen.append(text)
            line(text.rstrip())
        process.wait()
    finally:
        timer.cancel()
    if expired.is_set():
        raise subprocess.TimeoutExpired(command.argv, command.timeout)
    return Answer(command, "".join(seen), "", process.returncode)


def _end(process: subprocess.Popen[Any]) -> None:
    """Leave nothing running behind an interrupt or a timeout."""
    if process.poll() is not None:
        return
    for number, patience in ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def must(command: Command, message: str, hint: str = "", **options: object) -> Answer:
    """Run, and raise ToolFailed with the tool's words when it fails."""
    answer = run(command, **options)  # type: ignore[arg-type]
    if not answer.ok:
        raise ToolFailed(message, answer.words, hint)
    return answer


def pipe(source: Command, target: Command, environment: Mapping[str, str]) -> Answer:
    """Let one command read what another one writes; the environment is the reader's. The answer is the reader's, or the
    writer's when that fails. Raises Missing, TimedOut after the reader's time."""
    try:
        writer = subprocess.Popen(source.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  start_new_session=True)  # fmt: skip
    except (FileNotFoundError, PermissionError) as error:
        raise _not_runnable(source, error) from None
    assert writer.stdout is not None and writer.stderr is not None
    try:
        reader = subprocess.Popen(target.argv, stdin=writer.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env={**os.environ, **environment}, start_new_session=True)  # fmt: skip
        # The writer notices when the reader ends.
        writer.stdout.close()
        try:
            stdout, stderr = reader.communicate(timeout=target.timeout or None)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"{target.argv[0]} did not end within {target.timeout:g} s: {target}") from None
        finally:
            _end(reader)
        said = writer.stderr.read()
        code = writer.wait(source.timeout or None)
        if code and not reader.returncode:
            return Answer(source, "", said.decode(errors="replace"), code)
        return Answer(target, stdout.decode(errors="replace"), stderr.decode(errors="replace"), reader.returncode)
    finally:
        _end(writer)


def attach(command: Command, environment: Mapping[str, str] | None = None) -> int:
    """Run with this terminal's own input and output; returns the exit code."""
    try:
        return subprocess.run(command.argv, check=False, env={**os.environ, **(environment or {})}).returncode
    except (FileNotFoundError, PermissionError) as error:
        raise _not_runnable(command, error) from None


def _not_runnable(command: Command, error: OSError) -> Missing:
    if isinstance(error, PermissionError):
        return NotReady(f"{command.argv[0]} may not be run by this user", "inv setup --check")
    return NotReady(f"{command.argv[0]} is not installed on this host", "inv setup")
