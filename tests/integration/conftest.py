"""Real stacks for the integration tests; every one is removed at the end, and leftovers at the beginning."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tools import ROOT, Stack

SIX_NODES = [f"pg{dc}-node{n}" for dc in (1, 2, 3) for n in (1, 2)]
TWO_NODES = ["pg1-node1", "pg1-node2"]

# Modules that share a stack stand together; the shapes come when the big stack is gone.
ORDER = [
    "main_job",
    "seed_commands",
    "handover",
    "processes",
    "chaos",
    "drills",
    "closed",
    "restore",
    "second_project",
    "small_stack",
    "restore_stages",
    "shapes",
    "plan_reality",
]


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    places = {here / f"test_{name}.py": index for index, name in enumerate(ORDER)}
    ours = iter(sorted((i for i in items if i.path in places), key=lambda i: places[i.path]))
    items[:] = [next(ours) if item.path in places else item for item in items]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the containers said when a test failed is kept: the next test may remove them."""
    outcome = yield
    report = outcome.get_result()
    bench = getattr(item, "funcargs", {}).get("bench")
    if report.failed and bench is not None:
        kept = ROOT / "build" / "failed" / item.name
        for stack in bench.all:
            stack.keep_logs(kept)
        report.sections.append(("containers' logs", str(kept)))


class Bench:
    """The stacks of this run, at most one of them big at a time."""

    def __init__(self):
        self.main = Stack("pghatest", SIX_NODES)
        self.small = Stack("pghatest2", TWO_NODES)
        self.shape = Stack("pghatest3")
        self.fresh = None
        """What was seen when the main stack had just been made."""

    @property
    def all(self):
        return self.main, self.small, self.shape

    def make_main(self):
        """The first command of the README, from a subdirectory."""
        self.main.clear()
        line = self.main.inv("build", "up", "stanza", "backup", folder="tests/integration")
        self.fresh = SimpleNamespace(line=line, status=self.main.inv("status", "--json"), stanza=self.main.stanza())

    def need_main(self):
        """The main stack, well, whatever an earlier test did to it."""
        if self.fresh is None:
            self.make_main()
        try:
            self.main.wait_well(timeout=40)
        except AssertionError:
            if self.main.try_inv("render").returncode or self.main.try_inv("up").returncode:
                self.make_main()
        return self.main

    def drop_main(self):
        self.main.clear()
        self.fresh = None

    def clear(self):
        for stack in self.all:
            stack.clear()
        self.fresh = None


@pytest.fixture(scope="session")
def bench():
    """A host that can run stacks, also one that had no engine until now."""
    first = Stack("pghatest")
    ready = subprocess.run(
        [sys.executable, "-m", "invoke", "setup", "build"],
        cwd=ROOT,
        env=first.environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    if ready.returncode:
        pytest.fail(f"`inv setup build` cannot make this host ready:\n{ready.stdout}{ready.stderr}", pytrace=False)
    made = Bench()
    made.clear()
    yield made
    made.clear()


@pytest.fixture
def main(bench):
    """Three data centers with two nodes each, streaming, with a stanza and a backup."""
    return bench.need_main()


@pytest.fixture
def fresh(bench, main):
    """What was seen when the main stack had just been made."""
    return bench.fresh
