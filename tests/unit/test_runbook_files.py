"""The runbooks' files: each has a situation, is found, and can be followed."""

import re

import pytest
from markdown_blocks import blocks
from runbook import INDEX, agrees, runbooks, steps
from situations import SITUATIONS


def test_every_runbook_has_a_situation_and_is_in_the_index():
    assert set(runbooks()) == set(SITUATIONS)
    linked = re.findall(r"\]\(([a-z-]+)\.md(?:#[a-z-]+)?\)", INDEX.read_text())
    assert sorted(set(linked)) == sorted(runbooks())


def test_the_index_quotes_what_a_runbook_tells():
    """What is between backticks in the first column stands in the runbook beside it; `...` is for any words."""
    quoted = 0
    for symptom, where in re.findall(r"^\| (.*?) \| (.*\]\(.*\)) \|$", INDEX.read_text(), re.MULTILINE):
        told = "".join(runbooks()[name].read_text() for name in re.findall(r"\]\(([a-z-]+)\.md", where))
        for words in re.findall(r"`([^`]+)`", symptom):
            pattern = re.escape(words).replace(r"\.\.\.", ".*").replace(r"\ ", r"\s+")
            assert re.search(pattern, told), f"{where}: {words}"
            quoted += 1
    assert quoted > 20


@pytest.mark.parametrize("name", runbooks())
def test_a_runbook_begins_with_what_status_shows_and_goes_on_with_commands(name):
    first, *rest = steps(runbooks()[name].read_text())
    assert first.command == "inv status" and first.shown
    assert rest and all(step.command for step in rest)
    # A block of another kind would look like a command and never be run.
    assert {info for info, _ in blocks(runbooks()[name].read_text())} == {"console"}


def test_what_differs_between_clusters_is_passed_over_and_nothing_else():
    shown = ("...", "etcd: 2 of 3 healthy, quorum 2, 0 more may fail", "! pg1-node2: container exited", "...")
    printed = "a\netcd: 2 of 3 healthy, quorum 2, 0 more may fail\n! pg1-node2: container exited\n"
    assert agrees(shown, printed)
    assert not agrees(shown, printed.replace("2 of 3", "3 of 3"))
    assert not agrees(shown, printed.replace("node2", "node1"))
    assert not agrees(shown[1:], printed)
    assert agrees(("leads after 1.8 s",), "leads after 12.7 s\n")
    assert agrees(("2 segments (16.0MB) wait",), "3 segments (48MB) wait\n")
    assert agrees(("│ a │ 3  │ 50551 │",), "│ a    │ 12 │ 10240         │")
    assert agrees(("INVOKE_PGHA_PROJECT=pgha inv up at 2026-11-23 08:30:00Z",), "inv up at 2026-11-26 09:00:01Z")
    assert agrees((), "anything")
