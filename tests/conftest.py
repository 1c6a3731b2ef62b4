"""Which tests run side by side, in which order, and how long each may take."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Hundreds of times `inv` begins here, also in copies of the checkout: each would compile the project anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

GROUPS = {
    "unit": (),
    "big": (
        "main_job", "seed_commands", "handover", "processes", "chaos_sites", "majority", "drills_sites", "closed",
        "restore_sites", "second_project",
    ),
    "small": ("small_stack", "settings_of_a_stack", "members_gone", "status", "chaos", "clients"),
    "restore": ("restore", "drills", "scratch"),
    "stages": ("restore_stages",),
    "shape": ("shapes", "plan_reality"),
}  # fmt: skip
"""A group is run by one worker, in this order: its modules share a stack. The longest ones come first."""

ORDER = [module for modules in GROUPS.values() for module in modules]


def module_of(path):
    """The name of a module that shares a stack; nothing for a fast test's."""
    path = Path(path)
    return path.stem.removeprefix("test_") if path.parent.name == "integration" else ""


def group_of(path):
    return next((group for group, modules in GROUPS.items() if module_of(path) in modules), "unit")


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
    """Hand out whole groups, the largest first: the fast tests come while the images are built."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid.split("::")[0])

    return Groups(config, log)


@pytest.fixture
def group(request):
    """The group this test belongs to."""
    return group_of(request.node.path)
