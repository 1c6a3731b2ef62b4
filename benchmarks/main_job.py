"""The main job in numbers, on this machine: python benchmarks/main_job.py [--beside CHECKOUT]

Uses a project of its own, `pghabench`, and needs the engine for itself: stop other stacks first. It removes the
images of the default release to time a cold build.

With --beside it measures `inv --list`, `status` and `up` here and in another checkout, such as one of an older commit.
Checkouts share the names of their images: each builds its own before its turn, and this one's are there at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from writer import Writer

from pgha import ROOT
from pgha.model.settings import Settings

PROJECT = "pghabench"
SEED = {"INVOKE_PGHA_TTL": "30", "INVOKE_PGHA_LOOP_WAIT": "10", "INVOKE_PGHA_RETRY_TIMEOUT": "10"}
SEED_IMAGE_BYTES = 1206e6
"""548 + 314 + 344 MB: `docker images` in the document of the hand-built setup."""
RELEASE = Settings().release
IMAGES = (RELEASE.etcd_image, RELEASE.patroni_image, RELEASE.pgbackrest_image)


def inv(*tasks: str, checkout: Path = ROOT, **environment: str) -> str:
    """Run `inv` of a checkout; returns its stdout."""
    env = {**os.environ, "INVOKE_PGHA_PROJECT": PROJECT, "PYTHONPATH": str(checkout), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *tasks], cwd=checkout, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def median(work: Callable[[], object], runs: int = 5) -> float:
    return statistics.median(seconds(work) for _ in range(runs))


def remove_images() -> None:
    names = [RELEASE.base_image, RELEASE.shared_image, *IMAGES]
    names += [name.split(":")[0] for name in names if name.startswith("pgha-")]
    subprocess.run(["docker", "rmi", "--force", *names], check=False, capture_output=True)
    docker("image", "prune", "--force")
    subprocess.run(["docker", "builder", "prune", "--force"], check=False, capture_output=True)


def unique_image_bytes() -> int:
    """Bytes of the three images, the layers they share counted once (images/: what stands on what)."""
    names = [*IMAGES, RELEASE.shared_image, RELEASE.base_image]
    *images, shared, base = (entry["Size"] for entry in json.loads(docker("image", "inspect", *names)))
    return sum(images) - shared - base


def memory_bytes() -> float:
    """What the containers of the idle stack use together, without the page cache, as `docker stats` counts it."""
    names = docker("ps", "--filter", f"label=com.docker.compose.project={PROJECT}", "--format", "{{.Names}}").split()
    units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    total = 0.0
    for line in docker("stats", "--no-stream", "--format", "{{.MemUsage}}", *names).splitlines():
        used = line.split("/")[0].strip()
        unit = next(u for u in ("KiB", "MiB", "GiB", "B") if used.endswith(u))
        total += float(used.removesuffix(unit)) * units[unit]
    return total


def failover_gap(**environment: str) -> float:
    """Longest gap between acknowledged writes while the leader changes, median of three."""
    gaps = []
    for _ in range(3):
        status = json.loads(inv("status", "--json"))
        candidate = next(m["name"] for m in status["members"] if m["state"] == "streaming")
        with Writer(inv("dsn").strip()) as writer:
            time.sleep(2)
            inv("failover", "--candidate", candidate, **environment)
            time.sleep(2)
        if writer.lost():
            raise SystemExit(f"{writer.lost()} acknowledged writes were lost")
        gaps.append(writer.longest_gap())
    return statistics.median(gaps)


def fresh_up(**environment: str) -> float:
    inv("destroy", "--yes")
    return seconds(lambda: inv("up", **environment))


def seconds_of(checkout: Path) -> dict[str, float]:
    """`up` of a new project until all stream, `status` and `inv --list`: the medians of this checkout, in seconds."""

    def here(*tasks: str) -> str:
        return inv(*tasks, checkout=checkout)

    def fresh() -> float:
        here("destroy", "--yes")
        return seconds(lambda: here("up"))

    try:
        here("build")
        up = statistics.median(fresh() for _ in range(3))
        here("stanza")
        return {"up": up, "status": median(lambda: here("status"), 9), "inv --list": median(lambda: here("--list"), 9)}
    finally:
        here("destroy", "--yes")


def compare(other: Path) -> None:
    # The other one first and last: a machine whose speed drifts would favor one of them.
    rounds = [seconds_of(checkout) for checkout in (other, ROOT, ROOT, other)]
    inv("build")
    table = Table("What", "Ours", other.name, "Ours is")
    for what in rounds[0]:
        theirs, ours = (statistics.mean(rounds[n][what] for n in pair) for pair in ((0, 3), (1, 2)))
        table.add_row(what, f"{ours:.2f} s", f"{theirs:.2f} s", f"{ours / theirs:.2f}")
    Console().print(table)


def main() -> None:
    rows: list[tuple[str, str, str, str]] = []

    def row(what: str, ours: str, seed: str = "", aim: str = "") -> None:
        rows.append((what, ours, seed, aim))
        print(f"{what}: {ours} {seed and f'(seed: {seed})'}", file=sys.stderr)

    try:
        inv("destroy", "--yes")
        remove_images()
        row("cold build, no registry", f"{seconds(lambda: inv('build')):.0f} s", aim="100 s")
        row("rebuild, nothing changed", f"{seconds(lambda: inv('build')):.1f} s", aim="3 s")
        row("image bytes, unique layers", f"{unique_image_bytes() / 1e6:.0f} MB", f"{SEED_IMAGE_BYTES / 1e6:.0f} MB",
            "half")  # fmt: skip
        seed = statistics.median(fresh_up(**SEED) for _ in range(3))
        ours = statistics.median(fresh_up() for _ in range(3))
        row("up until all stream, median of 3", f"{ours:.1f} s", f"{seed:.1f} s ({seed / ours:.1f} x)", "15 s, 2 x")
        row("memory of the idle stack", f"{memory_bytes() / 2**30:.2f} GiB", aim="1 GB")
        inv("stanza")
        row("status", f"{median(lambda: inv('status')):.2f} s", aim="1 s")
        row("inv --list", f"{median(lambda: inv('--list')):.2f} s", aim="0.6 s")
        row("full backup (empty database)", f"{seconds(lambda: inv('backup')):.1f} s")
        quorum = failover_gap()
        inv("up", INVOKE_PGHA_DURABILITY="async")
        asynchronous = failover_gap(INVOKE_PGHA_DURABILITY="async")
        row("longest write gap in failover, quorum", f"{quorum:.1f} s", aim="2 s")
        row("longest write gap in failover, async", f"{asynchronous:.1f} s", aim="2 s")
    finally:
        inv("destroy", "--yes")
    table = Table("What", "Ours", "Seed's settings", "Aim")
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="measure against another checkout")
    given = parser.parse_args().beside
    if given is None:
        main()
    else:
        compare(given.resolve())
