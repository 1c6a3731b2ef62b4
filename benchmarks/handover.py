"""For how long writes stop when the lead changes: python benchmarks/handover.py [--runs 5] [--beside CHECKOUT]

The drills play the same faults on new projects named `pghabench`: with our departures from stock Patroni, pgBackRest
and PostgreSQL (docs/deviations.md), with `stock: on`, and with --beside in another checkout, such as one of an older
commit. It needs the engine for itself: stop other stacks first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pgha import ROOT

PROJECT = "pghabench"
SCENARIOS = ("switchover", "switchover-candidate", "leader-stopped", "postgres-killed", "leader-killed", "site-killed")
KEPT = (0, 7)
"""Exit codes of a drill that was played; 7 says that a promise was missed, which is what is to be seen here."""


def inv(*tasks: str, checkout: Path, settings: dict[str, str], allowed: tuple[int, ...] = (0,)) -> str:
    """Run `inv` of a checkout; returns its stdout."""
    env = {**os.environ, "INVOKE_PGHA_PROJECT": PROJECT, "PYTHONPATH": str(checkout), **settings}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *tasks], cwd=checkout, env=env, stdout=subprocess.PIPE, text=True
    )
    if done.returncode not in allowed:
        raise SystemExit(f"inv {' '.join(tasks)} in {checkout} ended with {done.returncode}")
    return done.stdout


def play(checkout: Path, settings: dict[str, str], scenarios: list[str], runs: int) -> dict[str, dict[str, Any]]:
    """Scenario -> what its runs came to, in a cluster made for it."""

    def here(*tasks: str, allowed: tuple[int, ...] = (0,)) -> str:
        return inv(*tasks, checkout=checkout, settings=settings, allowed=allowed)

    try:
        here("destroy", "--yes")
        here("build", "up", "stanza", "backup")
        played = {}
        for name in scenarios:
            told = here("drill", "--name", name, "--runs", str(runs), "--json", allowed=KEPT)
            # An older commit says what was missed in a second document.
            document, _ = json.JSONDecoder().raw_decode(told)
            played[name] = document["scenarios"][0]
        return played
    finally:
        here("destroy", "--yes")


def cell(found: dict[str, Any]) -> str:
    """Seconds without an acknowledged write, median / worst, what was lost, and whether the promise was missed."""
    gap = found["write_gap_seconds"]
    lost = f", {found['lost']} lost" if found["lost"] else ""
    return f"{gap['median']:.1f} / {gap['worst']:.1f}{lost}{', missed' if found['missed'] else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="how often each fault is played")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="measure another checkout, too")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="these faults")
    given = parser.parse_args()
    sides: dict[str, tuple[Path, dict[str, str]]] = {"Ours": (ROOT, {}), "Stock": (ROOT, {"INVOKE_PGHA_STOCK": "on"})}
    if given.beside:
        sides[given.beside.name] = (given.beside.resolve(), {})
    played = {}
    for side, (checkout, settings) in sides.items():
        played[side] = play(checkout, settings, given.only, given.runs)
        print(f"{side}: { ({name: cell(found) for name, found in played[side].items()}) }", file=sys.stderr)
    if given.beside:
        inv("build", checkout=ROOT, settings={})
    table = Table(
        "Fault", *(f"{side}" for side in sides), "Stock / ours", title="seconds without a write, median / worst"
    )
    for name in given.only:
        ours, stock = (played[side][name]["write_gap_seconds"]["median"] for side in ("Ours", "Stock"))
        table.add_row(name, *(cell(played[side][name]) for side in sides), f"{stock / ours:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
