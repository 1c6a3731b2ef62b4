"""What a change of a running cluster takes: python benchmarks/day_two.py [--nodes 2] [--only WHAT ...]

A client writes without a pause meanwhile. Uses a project of its own, `pghabench`, with three data centers, and needs
the engine for itself: stop other stacks first. Beside ours is what a hand-built setup does for such a change: all
containers at once (`up --at-once`).
"""

from __future__ import annotations

import argparse
import sys

from main_job import inv, seconds
from rich.console import Console
from rich.table import Table
from writer import Writer

MORE_SHM = {"INVOKE_PGHA_SHM_SIZE": "300m"}

CHANGES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "restart": (("restart",), {}),
    "up, every node's container": (("up",), MORE_SHM),
    "the same at once": (("up", "--at-once"), {}),
    "rotate passwords": (("rotate", "--what", "passwords"), {}),
    "rotate keys": (("rotate", "--what", "keys"), {}),
    "rotate certificates": (("rotate", "--what", "certificates"), {}),
    "replace an etcd member": (("replace", "--etcd", "etcd3", "--yes"), {}),
    "scale: one node more in each": (("scale", "-p", "+1"), {}),
    "scale: back": (("scale", "-p", "+0", "--yes"), {}),
}
"""What -> the tasks, and the settings they are typed with; `+1` stands for one node more than at the beginning."""


def measure(what: str, nodes: int) -> tuple[float, float, int, int]:
    """Seconds of the command, seconds without an acknowledged write at most, connections that failed, writes lost."""
    tasks, settings = CHANGES[what]
    words = [str(nodes + int(word)) if word.startswith("+") else word for word in tasks]
    with Writer(inv("dsn").strip(), "day_two") as writer:
        took = seconds(lambda: inv(*words, **settings))
    return took, writer.longest_gap(), writer.failures, writer.lost()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2, help="Postgres nodes in each of three data centers")
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES), help="these changes")
    given = parser.parse_args()
    table = Table("Change", "Takes", "Longest gap", "Connections failed", "Writes lost")
    try:
        inv("destroy", "--yes")
        inv("render", "-d", "3", "-p", str(given.nodes), "up", "stanza", "backup")
        for what in given.only:
            took, gap, failed, lost = measure(what, given.nodes)
            table.add_row(what, f"{took:.0f} s", f"{gap:.1f} s", str(failed), str(lost))
            print(f"{what}: {took:.1f} s, gap {gap:.2f} s, {failed} failed, {lost} lost", file=sys.stderr)
    finally:
        inv("destroy", "--yes")
    Console().print(table)


if __name__ == "__main__":
    main()
