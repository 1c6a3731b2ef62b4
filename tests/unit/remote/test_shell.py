import os
import sys
import time

import pytest

from pgha.errors import Missing, TimedOut, ToolFailed
from pgha.remote import shell
from pgha.tools.command import Command


def sh(script, timeout=10.0):
    return Command(("sh", "-c", script), timeout=timeout)


def is_gone(pid):
    """Whether the process ended; init may take a moment to collect it."""
    for _ in range(3000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_an_answer_has_both_streams_and_the_exit_code():
    answer = shell.run(sh("echo out; echo err >&2; exit 7"))
    assert (answer.stdout, answer.stderr, answer.exit_code, answer.ok) == ("out\n", "err\n", 7, False)
    assert answer.words == "err"


def test_bytes_that_are_no_text_do_not_hurt():
    assert "a" in shell.run(sh(r"printf 'a\377b'")).stdout


def test_nobody_waits_for_input():
    assert shell.run(Command(("cat",), timeout=5)).stdout == ""


def test_more_environment_is_added_to_the_present_one():
    answer = shell.run(sh('echo "$EXTRA $PATH"'), environment={"EXTRA": "more"})
    assert answer.stdout == f"more {os.environ['PATH']}\n"


def test_lines_are_handed_over_while_the_command_runs():
    seen = []
    answer = shell.run(sh("echo one; echo two >&2; echo three"), line=seen.append)
    assert seen == ["one", "two", "three"]
    assert answer.stdout == "one\ntwo\nthree\n"


@pytest.mark.parametrize("run", [shell.run, shell.attach])
def test_a_missing_program_is_named(run):
    with pytest.raises(Missing, match="no-such-program is not installed") as caught:
        run(Command(("no-such-program",)))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("run", [shell.run, shell.attach])
def test_a_file_that_may_not_be_run_is_named(tmp_path, run):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(Missing, match="may not be run"):
        run(Command((str(program),)))


@pytest.mark.parametrize("line", [None, lambda text: None], ids=["quiet", "with-lines"])
def test_a_command_that_takes_too_long_is_ended(tmp_path, line):
    pid = tmp_path / "pid"
    with pytest.raises(TimedOut, match=r"did not end within 2 s"):
        shell.run(sh(f"echo $$ > {pid}; exec sleep 3600", timeout=2), line=line)
    assert is_gone(int(pid.read_text()))


def test_nothing_is_left_of_a_pipeline_that_took_too_long(tmp_path):
    pid = tmp_path / "pid"
    with pytest.raises(TimedOut):
        shell.run(sh(f"sh -c 'echo $$ > {pid}; exec sleep 60' | cat", timeout=2))
    assert is_gone(int(pid.read_text()))


def test_a_child_is_ended_when_we_are_interrupted(tmp_path):
    pid = tmp_path / "pid"

    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shell.run(sh(f"echo $$ > {pid}; echo begun; exec sleep 60"), line=interrupt)
    assert is_gone(int(pid.read_text()))


def test_must_tells_the_tool_s_words():
    with pytest.raises(ToolFailed) as caught:
        shell.must(sh("echo it broke >&2; exit 1"), "The tool failed", "inv status")
    assert caught.value.message == "The tool failed\n  | it broke"
    assert caught.value.hint == "inv status"
    assert shell.must(sh("echo fine"), "The tool failed").stdout == "fine\n"


def test_attach_gives_the_exit_code(capfd):
    assert shell.attach(Command((sys.executable, "-c", "print('here'); exit(3)"))) == 3
    assert capfd.readouterr().out == "here\n"


def test_a_command_reads_what_it_is_given_byte_for_byte():
    answer = shell.run(Command(("sha256sum",), timeout=5), given=bytes(range(256)))
    assert answer.stdout.startswith("40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880")


def test_one_command_reads_what_another_one_writes():
    answer = shell.pipe(sh("printf 'a\\000b'"), sh("wc -c; echo $EXTRA"), {"EXTRA": "more"})
    assert (answer.stdout.split(), answer.ok) == (["3", "more"], True)


def test_the_words_are_those_of_the_one_that_failed():
    first = shell.pipe(sh("echo no image >&2; exit 3"), sh("cat > /dev/null"), {})
    assert (first.exit_code, first.words) == (3, "no image")
    second = shell.pipe(sh("yes"), sh("head -1; echo no room >&2; exit 4"), {})
    assert (second.exit_code, second.words) == (4, "no room")


def test_a_reader_that_does_not_end_is_ended_with_its_writer():
    with pytest.raises(TimedOut, match=r"sh did not end within 0\.1 s"):
        shell.pipe(sh("sleep 60"), sh("cat", timeout=0.1), {})
