"""Real stacks for the integration tests; every one is removed at the end, and leftovers at the beginning."""

import fcntl
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import psycopg
import pytest
from far import FarStack
from tools import PATIENCE, ROOT, STACKS, Stack, docker, told

SIX_NODES = [f"pg{dc}-node{n}" for dc in (1, 2, 3) for n in (1, 2)]
THREE_NODES = [f"pg{dc}-node1" for dc in (1, 2, 3)]
TWO_NODES = ["pg1-node1", "pg1-node2"]

FAILED = ROOT / "build" / "failed"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the containers said when a test failed is kept: the next test may remove them."""
    outcome = yield
    report = outcome.get_result()
    bench = item.session.stash.get(BENCH, None)
    if not report.failed or bench is None:
        return
    folder = FAILED / item.path.stem / f"{item.name}-{report.when}"
    shutil.rmtree(folder, ignore_errors=True)
    stacks = [bench.stacks[name] for name in bench.names] if bench.group else []
    for stack in stacks:
        try:
            stack.keep(folder)
        except Exception as error:  # the report of the failure matters more
            report.sections.append((f"{stack.name} could not be asked", repr(error)))
    if folder.exists():
        report.sections.append(("logs and state of the containers", str(folder)))
    if item.config.option.keep:
        bench.keeps = True
        for stack in stacks:
            settings = {"project": stack.name, **stack.own}
            line = " ".join(f"INVOKE_PGHA_{key.upper()}={value}" for key, value in settings.items())
            report.sections.append(("kept", f"{line} inv status"))


BENCH = pytest.StashKey()


class Bench:
    """The stacks of this worker. They stay until another group's test comes, or the end."""

    def __init__(self):
        self.stacks = {name: Stack(name) for name in STACKS}
        self.stacks["big"].nodes = SIX_NODES
        self.stacks["sites"].nodes = THREE_NODES
        self.stacks["machines"] = FarStack("machines", THREE_NODES)
        for name in ("second", "small", "daily", "restore", "stages"):
            self.stacks[name].nodes = TWO_NODES
        self.fresh = None
        """What was seen when the big stack had just been made."""
        self.group = None
        self.keeps = False

    def __getattr__(self, name):
        return self.stacks[name]

    def enter(self, group):
        """The stacks of a group of tests; those of the last one go."""
        if self.group == group:
            return
        self.leave()
        self.group = group
        for name in self.names:
            self.stacks[name].clear()

    @property
    def names(self):
        return {"big": ("big", "second")}.get(self.group, (self.group,))

    def leave(self):
        if self.group is not None:
            for name in self.names:
                self.stacks[name].clear()
        self.fresh = self.group = None

    def make_big(self):
        """The first command of the README, from a subdirectory."""
        self.big.clear()
        line = self.big.inv("build", "up", "stanza", "backup", folder="tests/integration")
        self.fresh = SimpleNamespace(line=line, status=self.big.inv("status", "--json"), stanza=self.big.stanza())

    def make(self, stack, data_centers, nodes):
        stack.clear()
        stack.inv("render", "-d", data_centers, "-p", nodes, "up", "stanza", "backup")

    def need(self, stack, make):
        """A stack that is well, whatever an earlier test did to it."""
        if not (stack.folder / "compose.yaml").exists():
            make()
        try:
            if stack.well():
                return stack
            stack.wait_well(timeout=40)
        except (AssertionError, psycopg.Error):
            # The failure was another test's; this one gets a stack that works.
            stack.try_inv("chaos.heal")
            if stack.try_inv("up").returncode:
                make()
        return stack


@pytest.fixture(scope="session")
def ready(tmp_path_factory):
    """A host that can run stacks, also one that had no engine until now: made so by the first worker that asks."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "ready.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = shared / "ready"
        if not result.exists():
            result.write_text(made_ready())
    if result.read_text():
        pytest.fail(f"`inv setup build` cannot make this host ready:\n{result.read_text()}", pytrace=False)


def made_ready():
    """Nothing, or what `inv` said when it could not."""
    line = [sys.executable, "-m", "invoke", "setup", "build"]
    answer = subprocess.run(
        line, cwd=ROOT, env=Stack("big").environment({}), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=500 * PATIENCE, check=False,
    )  # fmt: skip
    return (told(answer) or "nothing") if answer.returncode else ""


@pytest.fixture(scope="session")
def all_stacks(request, ready):
    made = request.session.stash[BENCH] = Bench()
    yield made
    if not made.keeps:
        made.leave()


@pytest.fixture
def bench(all_stacks, group):
    """The stacks of this test's group; at the first one's beginning there are none."""
    all_stacks.enter(group)
    return all_stacks


@pytest.fixture
def main(bench):
    """Three data centers with two nodes each, streaming, with a stanza and a backup."""
    return bench.need(bench.big, bench.make_big)


@pytest.fixture
def fresh(bench, main):
    """What was seen when the main stack had just been made."""
    return bench.fresh


@pytest.fixture
def sites(bench):
    """Three data centers with one node each, streaming, with a stanza and a backup."""
    return bench.need(bench.stacks["sites"], lambda: bench.make(bench.stacks["sites"], "3", "1"))


@pytest.fixture
def small(bench):
    """One data center with two nodes, streaming, with a stanza and a backup; in a project of the module's group."""
    stack = bench.stacks[bench.group]
    bench.need(stack, lambda: bench.make(stack, "1", "2"))
    if "pgbackrest" not in stack.dynamic_configuration()["postgresql"]["parameters"].get("archive_command", ""):
        stack.inv("stanza", "backup")
    return stack


@pytest.fixture
def without(request):
    """Kill or stop containers of the test's stack; they run again afterwards."""
    stack = request.getfixturevalue("main" if "main" in request.fixturenames else "small")
    gone = []

    def without(*hosts, how="kill"):
        gone.extend(hosts)
        docker(how, *(stack.container(host) for host in hosts))
        return stack

    yield without
    docker("start", *(stack.container(host) for host in gone))
    stack.wait_well()
