"""Every runbook is followed on a real stack: one data center with two nodes."""

import pytest
from reader import follow, restored_to_health
from situations import TWO_NODES

pytestmark = pytest.mark.integration

SHORT = "node-gone"
"""In the landing set: the others wait longer for what they are for to show itself."""


@pytest.fixture
def stack(small):
    yield small
    restored_to_health(small)


@pytest.mark.parametrize(
    "name", [name if name == SHORT else pytest.param(name, marks=pytest.mark.long) for name in TWO_NODES]
)
def test_a_runbook_does_what_it_says(stack, name, tmp_path):
    follow(stack, name, tmp_path)
