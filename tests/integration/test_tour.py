"""The tour's commands, typed in their order from nothing, print what docs/tour.md shows."""

import re
from contextlib import suppress

import pytest
from markdown_blocks import blocks
from reader import OURS, typed
from runbook import SAME, console_steps
from tools import ROOT, until

pytestmark = [pytest.mark.integration, pytest.mark.long]

STEPS = [
    step
    for info, content in blocks((ROOT / "docs" / "tour.md").read_text()) if info == "console"
    for step in console_steps(content)
]  # fmt: skip

PASSED_OVER = re.compile(r"[│|].*|.*: done in .*|.* \.\.\.|\s*")
"""Rows of tables, which say who leads, and progress, which says how much was there already."""

DIFFERS = (*SAME, (r"\bpg\d-node\d\b", "<node>"), (r"\d+|<number>", "<n>"), (r"[━─-]+", "-"))


def compared(text):
    """What has to be the same, whoever leads and wherever the checkout is."""
    lines = [line for line in text.replace(str(ROOT), "/srv/pgha").splitlines() if not PASSED_OVER.fullmatch(line)]
    for pattern, word in DIFFERS:
        lines = [re.sub(pattern, word, line) for line in lines]
    return [line.strip() for line in lines]


@pytest.fixture
def newcomer(bench):
    """A project that is not there yet."""
    stack = bench.stacks["second"]
    stack.clear()
    yield stack
    stack.clear()


def test_the_tour_prints_what_it_shows(newcomer, tmp_path):
    """Every step that differs is told at the end."""
    wrong = []
    for step in STEPS:
        command, shown = OURS.sub(newcomer.name, step.command), compared("\n".join(step.shown))
        last = []
        if command == "inv failover pg1-node1" and newcomer.leader() == "pg1-node1":
            # In the tour it does not lead by chance.
            newcomer.inv("switchover")
            until(lambda: newcomer.status()["healthy"], "every member streams again")

        def agrees(command=command, shown=shown, last=last):
            last[:] = typed(newcomer, command, tmp_path)
            return last[0] == 0 and compared(last[1]) == shown

        def agrees_in_the_end(agrees=agrees, command=command):
            # The last standby becomes synchronous a moment after it streams.
            with suppress(AssertionError):
                return until(agrees, f"what the tour shows of {command}", 30, 1)

        if not (agrees_in_the_end() if step.looks else agrees()):
            told = "\n".join(step.shown)
            wrong.append(f"$ {command}\n{last[1]}\nexit code {last[0]}, and the tour shows:\n{told}")
    assert not wrong, "\n\n".join(wrong)
