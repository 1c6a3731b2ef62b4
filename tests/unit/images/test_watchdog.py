"""Patroni's watchdog: what it reads from the FIFO, when it has expired, and whom it ends."""

import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pgha import ROOT

SCRIPT = ROOT / "images" / "patroni" / "watchdog"


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("watchdog_script", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def watchdog(script):
    return script.Watchdog()


def test_it_is_armed_by_the_first_words_of_a_leader_and_kept_up_by_each_byte(watchdog):
    assert not watchdog.expired(1e9)
    watchdog.read("Ctimeout=15\n", now=100)
    assert not watchdog.expired(114.9) and watchdog.expired(115)
    watchdog.read("1", now=110)
    assert not watchdog.expired(124.9) and watchdog.expired(125)


def test_a_leader_that_gives_up_disarms_it(watchdog):
    watchdog.read("Ctimeout=15\n1V", now=100)
    assert not watchdog.expired(1e9)
    watchdog.read("Ctimeout=15\n", now=200)
    assert watchdog.expired(215)


def test_words_that_come_in_pieces_are_put_together(watchdog):
    watchdog.read("Ctime", now=100)
    assert not watchdog.expired(1e9)
    watchdog.read("out=7\n11", now=101)
    assert watchdog.timeout == 7
    assert watchdog.expired(108) and not watchdog.expired(107.9)


def test_after_a_sleep_of_the_whole_host_patroni_gets_a_moment(script, watchdog):
    watchdog.read("Ctimeout=15\n", now=100)
    watchdog.woke(late=60, now=160)
    assert not watchdog.expired(160) and watchdog.expired(160 + script.GRACE)


def test_a_tick_that_is_a_little_late_gives_nobody_more_time(watchdog):
    watchdog.read("Ctimeout=15\n", now=100)
    watchdog.woke(late=0.5, now=114.9)
    assert watchdog.expired(115)


def test_a_sleep_does_not_shorten_what_is_left(watchdog):
    watchdog.read("Ctimeout=15\n", now=100)
    watchdog.woke(late=3, now=103)
    assert not watchdog.expired(114.9)


def test_it_stays_until_the_leader_of_a_stopping_container_has_given_up(watchdog):
    watchdog.read("Ctimeout=15\n", now=100)
    assert not watchdog.ends
    watchdog.stop()
    assert not watchdog.ends
    watchdog.read("V", now=101)
    assert watchdog.ends


# The program ------------------------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path):
    """The program with a FIFO, a data directory, an s6-svc that notes what it was asked, and a process `postgres`."""
    data, bin_folder = tmp_path / "data", tmp_path / "bin"
    for folder in (data, bin_folder):
        folder.mkdir()
    os.mkfifo(tmp_path / "fifo")
    (bin_folder / "s6-svc").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (bin_folder / "s6-svc").chmod(0o755)
    shutil.copy(shutil.which("sleep"), bin_folder / "postgres")
    program = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path / "fifo"), str(data), "/service/patroni"],
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    servers = []

    def server():
        # What was started in the background of a shell inherits an ignored SIGQUIT.
        process = subprocess.Popen(
            [str(bin_folder / "postgres"), "60"], preexec_fn=lambda: signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        )
        servers.append(process)
        (data / "postmaster.pid").write_text(f"{process.pid}\n{data}\n")
        return process

    yield tmp_path, server, program
    for process in (program, *servers):
        process.kill()
        process.wait()


def words(folder, text):
    """What Patroni writes: its first words, and keepalives."""
    with (folder / "fifo").open("w") as fifo:
        fifo.write(text)


def asked(folder, patience=20.0):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not (folder / "asked").exists():
        time.sleep(0.05)
    return (folder / "asked").read_text() if (folder / "asked").exists() else ""


def test_a_patroni_that_is_silent_is_killed_and_its_postgres_ended(running):
    folder, server, program = running
    postgres = server()
    words(folder, "Ctimeout=1\n1")
    assert asked(folder) == "-k /service/patroni\n"
    assert postgres.wait(timeout=20) == -signal.SIGQUIT
    assert "Patroni has not renewed its lock for 1 s" in program.stdout.readline()


def test_on_a_standby_it_ends_when_the_container_stops(running):
    folder, _, program = running
    words(folder, "V")
    program.terminate()
    assert program.wait(timeout=20) == 0
    assert not (folder / "asked").exists()


def test_a_postgres_that_somebody_started_since_is_left_alone(running):
    folder, server, _ = running
    first = server()
    words(folder, "Ctimeout=2\n1")
    time.sleep(0.5)
    first.kill()
    first.wait()
    second = server()
    assert asked(folder) == "-k /service/patroni\n"
    time.sleep(0.5)
    assert second.poll() is None
