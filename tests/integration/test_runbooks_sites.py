"""Every runbook for several data centers is followed on a real stack of three, with one node in each."""

import pytest
from reader import follow, restored_to_health
from situations import THREE_SITES

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture
def stack(sites):
    yield sites
    restored_to_health(sites)


@pytest.mark.parametrize("name", THREE_SITES)
def test_a_runbook_does_what_it_says(stack, name, tmp_path):
    follow(stack, name, tmp_path)
