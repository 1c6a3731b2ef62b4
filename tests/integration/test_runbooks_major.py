"""The runbook for another major version is followed on a real stack of an older one."""

import pytest
from reader import follow
from situations import AN_OLDER_MAJOR

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture
def stack(bench):
    stack = bench.stacks[bench.group]
    stack.clear()
    stack.inv("render", "-d", "1", "-p", "2", "-v", "15", "build", "up", "stanza", "backup", timeout=600)
    yield stack
    stack.clear()


@pytest.mark.parametrize("name", AN_OLDER_MAJOR)
def test_a_runbook_does_what_it_says(stack, name, tmp_path):
    follow(stack, name, tmp_path)
