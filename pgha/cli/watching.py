"""`inv watch`: one stream of snapshots, shown on a terminal, as lines, or as a page."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from rich.live import Live
from rich.text import Text

from pgha import console
from pgha.cli.executor import exit_with
from pgha.cli.show_watch import event_line, picture
from pgha.errors import BadValue, Interrupted
from pgha.project.project import Project
from pgha.watch import web
from pgha.watch.probe import Probe
from pgha.watch.stream import Snapshot, look_at

View = Callable[[Snapshot], None]

LEFT = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGHUP: 128 + signal.SIGHUP}
"""Signals after which this ends as after Ctrl-C -> its exit code, as a shell tells it."""


class _Told(Exception):
    """A signal of LEFT came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


def watch_project(reopen: Callable[[], Project], probing: bool, serving: bool, port: str, as_json: bool) -> None:
    """Until Ctrl-C. Changes nothing but the probe's table, which is dropped at the end; takes no lock.

    Raises BadValue, NotReady, PortTaken, and what keeps the first look from seeing anything.
    """
    if port and not serving:
        raise BadValue("--port is the page's", f"inv watch --web --port {port}")
    if port and not (port.isascii() and port.isdigit()):
        raise BadValue(f"--port {port} is not a port between 1024 and 65535", f"inv watch --web --port {web.PORT}")
    code, last, failed = 0, None, ""
    probe = Probe() if probing else None
    over = threading.Event()
    try:
        with _told_to_end(), ExitStack() as stack:
            hub, url = stack.enter_context(web.served(int(port or web.PORT))) if serving else (None, "")
            view = stack.enter_context(_view(url, as_json))
            for last in look_at(reopen, probe, over):
                if hub:
                    hub.publish(last)
                view(last)
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    except _Told as told:
        code = LEFT[told.number]
    finally:
        over.set()
        failed = probe.end() if probe else ""
    if last and on_terminal() and not as_json:
        _leave_behind(last)
    if failed:
        console.Progress().note(failed)
    exit_with(code)


def on_terminal() -> bool:
    """Whether there is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def _view(url: str, as_json: bool) -> Iterator[View]:
    if on_terminal() and not as_json:
        with _drawn(url) as view:
            yield view
        return
    if url:
        console.Progress().note(f"the page: {url}")

    def lines(snapshot: Snapshot) -> None:
        for event in snapshot.events:
            print(json.dumps(event.as_document()) if as_json else event_line(event), flush=True)

    yield lines


@contextmanager
def _drawn(url: str) -> Iterator[View]:
    """On the terminal's other screen, so that what stood there comes back, whatever its size was meanwhile."""
    screen = console.out()
    screen.soft_wrap = False
    live = Live(Text("looking ..."), console=screen, screen=True, auto_refresh=False, transient=True)

    def show(snapshot: Snapshot) -> None:
        width, height = screen.size
        live.update(picture(snapshot, url, width, height), refresh=True)

    with live, _suspended(live):
        live.refresh()
        yield show


@contextmanager
def _suspended(live: Live) -> Iterator[None]:
    """Ctrl-Z gives the terminal back as it was, and `fg` takes it again."""

    def suspend(number: int, frame: FrameType | None) -> None:
        live.stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here it goes on.
        signal.signal(signal.SIGTSTP, suspend)
        live.start(refresh=True)

    usual = signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, usual)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """A signal that would end this process where it stands ends it in order instead."""

    def tell(number: int, frame: FrameType | None) -> None:
        raise _Told(number)

    usual = {number: signal.signal(number, tell) for number in LEFT}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _leave_behind(snapshot: Snapshot) -> None:
    """What was seen last stays on the terminal."""
    screen = console.out()
    with suppress(OSError):  # a terminal that is gone
        screen.print(picture(snapshot, "", screen.width, len(snapshot.document.get("members", ())) + 20))
