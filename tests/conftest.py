"""Tests run side by side by their groups, in order, and for so long at most."""

import os
import sys

import pytest
from groups import ORDER, group_of, module_of

# Hundreds of times `inv` begins here, also in copies of the checkout: each would compile the project again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TEST_TIMEOUT = 600
"""Seconds a test may take, the making of its stack and of the images included."""


def pytest_addoption(parser):
    parser.addoption("--keep", action="store_true", help="end at the first failure and keep its stacks")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.option.timeout is None:
        config.option.timeout = TEST_TIMEOUT * float(os.environ.get("PGHA_TEST_PATIENCE", "1"))
    if config.option.keep:
        config.option.maxfail = 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: ORDER.index(module_of(item.path)) if module_of(item.path) in ORDER else -1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out whole groups in their order: the fast tests come while the images are built."""
    from xdist.scheduler import LoadScopeScheduling

    # By itself it takes the group with the most tests first, and the longest ones have few.
    config.option.loadscopereorder = False

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid.split("::")[0])

    return Groups(config, log)


@pytest.fixture
def group(request):
    """The group this test belongs to."""
    return group_of(request.node.path)
