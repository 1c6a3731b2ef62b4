"""Every runbook for changes and for the repository is followed on a real stack: one data center with two nodes."""

import pytest
from reader import follow, restored_to_health
from situations import DAY_TWO

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture
def stack(small):
    yield small
    restored_to_health(small)


@pytest.mark.parametrize("name", DAY_TWO)
def test_a_runbook_does_what_it_says(stack, name, tmp_path):
    follow(stack, name, tmp_path)
