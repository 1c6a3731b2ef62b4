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
        "main_job", "seed_commands", "handover", "processes", "chaos_sites", "drills_sites", "closed",
        "restore_sites", "second_project",
    ),
    "small": ("small_stack", "members_gone", "chaos"),
    "backup": ("restore", "restore_stages", "drills"),
    "shape": ("shapes", "plan_reality"),
}  # fmt: skip
"""A group is run by one worker, in this order: its modules share a stack. The longest ones come first."""

PLACES = {
    HERE / "integration" / f"test_{module}.py": (position, group)
    for position, (group, module) in enumerate((group, m) for group, modules in GROUPS.items() for m in modules)
}

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
    items.sort(key=lambda item: PLACES.get(item.path, (-1, ""))[0])
    for item in items:
        item.add_marker(pytest.mark.xdist_group(PLACES.get(item.path, (-1, "unit"))[1]))
