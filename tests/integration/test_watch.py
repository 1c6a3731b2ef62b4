"""`inv watch` during a switchover: on a terminal, as lines, and as the page's stream."""

import fcntl
import http.client
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading

import pytest
from tools import ROOT, interrupt, until

pytestmark = pytest.mark.integration

HIDE, SHOW, OTHER, BACK = b"\x1b[?25l", b"\x1b[?25h", b"\x1b[?1049h", b"\x1b[?1049l"
"""What hides and shows a terminal's cursor, and what takes its other screen and gives it back (xterm)."""


class Terminal:
    """A terminal with `inv` in it; what that writes is read all the time."""

    def __init__(self, stack, *arguments, columns=100):
        self.child, self.end = pty.fork()
        if self.child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            line = [sys.executable, "-m", "invoke", *arguments]
            os.chdir(ROOT)
            os.execve(line[0], line, {**stack.environment({}), "TERM": "xterm-256color"})
        self.resize(columns)
        self.seen = b""
        self.before = termios.tcgetattr(self.end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.end, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self.seen += data

    @property
    def text(self):
        """Without what moves the cursor and colours."""
        return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.seen).decode(errors="replace")

    def resize(self, columns, lines=40):
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, pattern, what):
        return until(lambda: re.search(pattern, self.text), what, 30, 0.1)

    def type(self, keys):
        os.write(self.end, keys)

    def wait_end(self):
        ended = until(lambda: next(e for e in [os.waitpid(self.child, os.WNOHANG)] if e[0]), "it ends", 30, 0.1)
        self.after = termios.tcgetattr(self.end)
        self._reader.join(0.5)
        return os.waitstatus_to_exitcode(ended[1])


def tables(stack):
    return stack.sql(stack.leader(), "select relname from pg_class where relname like 'pgha\\_watch\\_%'")


def test_a_switchover_is_seen_live_and_the_terminal_is_left_clean(small):
    old = small.wait_synchronous()
    (new,) = small.replicas()
    terminal = Terminal(small, "watch", "--probe")
    terminal.wait_for(rf"{old} leads", "it shows who leads")
    terminal.wait_for(r"writes: .*[1-9]\d*/s", "writes are acknowledged")
    assert re.fullmatch(r"pgha_watch_\w{8}", tables(small))
    terminal.resize(44)
    small.inv("switchover")
    # The lock is free for a moment; a look may see it or not.
    terminal.wait_for(rf"Z leader: ({old}|\(none\)) -> {new}", "the event is shown")
    terminal.resize(100)
    terminal.wait_for(rf"{new} leads  healthy", "it is well again")
    terminal.type(b"\x1a")
    until(lambda: terminal.seen.rstrip().endswith(SHOW) or terminal.seen.count(BACK) == 1, "it stands still", 10)
    os.kill(terminal.child, signal.SIGCONT)
    until(lambda: terminal.seen.count(OTHER) == 2, "it goes on", 10)
    terminal.type(b"\x03")
    assert terminal.wait_end() == 130
    seen = terminal.seen
    assert terminal.after == terminal.before, "the terminal's own settings"
    assert seen.rindex(BACK) > seen.rindex(OTHER) and seen.rindex(SHOW) > seen.rindex(HIDE)
    assert "Traceback" not in terminal.text and "ERROR" not in terminal.text
    # What was seen last stays on the terminal.
    left = seen[seen.rindex(BACK) :].decode()
    assert f"{new}" in left and "leads" in left
    assert tables(small) == ""


def free_port(stack):
    """Of the stack's own ports, the last one."""
    return stack.own["ssh_port"] + 19


class Page:
    """The newest snapshot of the page's stream, as a plain client reads it."""

    def __init__(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/events")
        self._answer = connection.getresponse()
        self.snapshots = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._answer:
            if line.startswith(b"data: "):
                self.snapshots.append(json.loads(line.removeprefix(b"data: ")))

    @property
    def status(self):
        return self.snapshots[-1]["status"]


def core(status):
    """What does not change by itself."""
    members = [{key: m[key] for key in ("name", "data_center", "role", "state", "timeline")} for m in status["members"]]
    return status["project"], status["leader"], members, status["etcd"], status["problems"]


def test_lines_and_the_page_tell_what_status_tells(small):
    old = small.wait_synchronous()
    (new,) = small.replicas()
    port = free_port(small)
    watch = small.begin("watch", "--web", "--port", str(port), "--json")
    try:
        page = until(lambda: Page(port), "the page answers", 30)
        until(lambda: page.status["leader"] == old, "it shows who leads", 30)
        assert "Nothing can listen" in small.refused(3, "watch", "--web", "--port", str(port))
        small.inv("switchover")
        assert small.wait_well() == new
        until(lambda: core(page.status) == core(small.status()), "the page is as status", 30)
        assert page.status["leader"] == new
    finally:
        code, said = interrupt(watch)
    assert code == 130
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert events[0]["kind"] == "begin" and events[0]["after"] == old
    led = [event["after"] for event in events if event["kind"] == "leader"]
    assert led[-1] == new and set(led) <= {None, new}
    assert events == page.snapshots[-1]["events"][: len(events)] or len(events) > len(page.snapshots[-1]["events"])
    # Whoever was shown as the leader was it.
    assert {s["status"]["leader"] for s in page.snapshots} <= {old, None, new}
