"""`inv watch` without a terminal: a line a change, and its ends."""

import json
import os
import signal
import sys

import pytest
from invoke.exceptions import Exit

from pgha.cli import watching
from pgha.errors import BadValue, NotReady, Unreachable
from pgha.status.document import error_document
from pgha.watch.events import changes
from pgha.watch.stream import Snapshot

AWAY = error_document(Unreachable("pg1-node1 cannot be reached"))
SEEN = Snapshot(1_795_000_000.0, AWAY, tuple(changes(None, AWAY, 1_795_000_000.0)), ())


class Probed:
    """A probe whose table cannot be dropped."""

    ended = 0

    def end(self):
        self.ended += 1
        return "the table is left"


@pytest.fixture
def watch(monkeypatch):
    """Two looks, then what ends them."""

    def watch(end, as_json=False, probe=None):
        def look_at(reopen, probe, over):
            yield SEEN
            end()

        monkeypatch.setattr(watching, "look_at", look_at)
        monkeypatch.setattr(watching, "Probe", lambda: probe)
        with pytest.raises(Exit) as ended:
            watching.watch_project(lambda: None, probe is not None, False, "", as_json)
        return ended.value.code

    return watch


def interrupt():
    raise KeyboardInterrupt


def test_a_line_a_change_until_ctrl_c(watch, capsys):
    assert watch(interrupt) == 130
    told = capsys.readouterr()
    assert told.out == "2026-11-18 11:06:40Z pg1-node1 cannot be reached\n"
    assert told.err == ""


def test_an_object_a_change(watch, capsys):
    watch(interrupt, as_json=True)
    assert json.loads(capsys.readouterr().out)["kind"] == "unseen"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_in_order(watch, capsys, number, code):
    probe, usual = Probed(), signal.getsignal(number)
    assert watch(lambda: os.kill(os.getpid(), number), probe=probe) == code
    assert (probe.ended, signal.getsignal(number)) == (1, usual)
    assert "the table is left" in capsys.readouterr().err


def test_a_pipe_that_is_closed_ends_it_with_the_probes_table_dropped(watch, monkeypatch):
    probe = Probed()
    monkeypatch.setattr(watching, "event_line", lambda event: (_ for _ in ()).throw(BrokenPipeError))
    monkeypatch.setattr(watching, "look_at", lambda *given: iter([SEEN]))
    monkeypatch.setattr(watching, "Probe", lambda: probe)
    with pytest.raises(BrokenPipeError):
        watching.watch_project(lambda: None, True, False, "", False)
    assert probe.ended == 1


@pytest.mark.parametrize("given", [("8800", False), ("http", True), ("80", True), ("70000", True), ("²", True)])
def test_a_port_that_cannot_be_is_refused(given):
    port, serving = given
    with pytest.raises(BadValue):
        watching.watch_project(lambda: None, False, serving, port, False)


@pytest.mark.parametrize(
    ("flags", "lacks", "extra"), [((True, False), "psycopg", "drill"), ((False, True), "starlette", "web")]
)
def test_what_an_extra_has_is_named(monkeypatch, flags, lacks, extra):
    monkeypatch.setitem(sys.modules, lacks, None)
    with pytest.raises(NotReady) as caught:
        watching.watch_project(lambda: None, *flags, "", False)
    assert caught.value.hint == f"pip install -e '.[{extra}]'"
