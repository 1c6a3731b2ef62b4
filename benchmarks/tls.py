"""What TLS costs: python benchmarks/tls.py [--seconds 15] [--runs 3] [--nodes 1]

The same stack with the setting `tls` off and on, one after the other and back (off, on, on, off): transactions on
connections that stay, transactions that connect anew each time, and how long nothing is acknowledged in a switchover.
Uses a project of its own, `pghabench`, with three data centers, and needs the engine for itself: stop other stacks
first. pgbench of this host writes; where there is none, the drills' writer does.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

import psycopg
from main_job import inv, seconds
from rich.console import Console
from rich.table import Table
from writer import Writer

CLIENTS = 4


@dataclass
class Measured:
    """Of one setting; a value a turn."""

    staying: list[float] = field(default_factory=list)
    """transactions a second on connections that stay"""
    anew: list[float] = field(default_factory=list)
    """the same with a connection for each"""
    gap: list[float] = field(default_factory=list)
    """seconds without an acknowledged write in a switchover"""
    switchover: list[float] = field(default_factory=list)
    """seconds of `inv switchover`"""


def transactions(dsn: str, length: float, anew: bool) -> float:
    """A second, of the built-in script that reads and writes."""
    if shutil.which("pgbench") is None:
        return _connections(dsn, length) if anew else _writes(dsn, length)
    line = ["pgbench", "-n", "-c", str(CLIENTS), "-T", str(int(length)), *(["-C"] if anew else []), dsn]
    told = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"^tps = ([0-9.]+)", told, re.MULTILINE)
    if found is None:
        raise SystemExit(told)
    return float(found[1])


def _writes(dsn: str, length: float) -> float:
    with Writer(dsn, "staying") as writer:
        time.sleep(length)
    return len(writer.acknowledged) / length


def _connections(dsn: str, length: float) -> float:
    made, end = 0, time.monotonic() + length
    while time.monotonic() < end:
        psycopg.connect(dsn).close()
        made += 1
    return made / length


def hand_over(measured: Measured) -> None:
    with Writer(inv("dsn").strip()) as writer:
        time.sleep(2)
        measured.switchover.append(seconds(lambda: inv("switchover")))
        time.sleep(2)
    if writer.lost():
        raise SystemExit(f"{writer.lost()} acknowledged writes were lost")
    measured.gap.append(writer.longest_gap())


def turn(tls: str, measured: Measured, given: argparse.Namespace) -> None:
    inv("destroy", "--yes")
    inv("render", "-d", "3", "-p", str(given.nodes), "up", INVOKE_PGHA_TLS=tls)
    dsn = inv("dsn").strip()
    with psycopg.connect(dsn) as connection:
        if connection.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone() != (tls == "on",):
            raise SystemExit(f"tls is not {tls}")
    if shutil.which("pgbench"):
        subprocess.run(["pgbench", "-i", "-q", "-s", "10", dsn], check=True, capture_output=True)
    for _ in range(given.runs):
        measured.staying.append(transactions(dsn, given.seconds, anew=False))
        measured.anew.append(transactions(dsn, given.seconds, anew=True))
        hand_over(measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement of transactions")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement in a turn")
    parser.add_argument("--nodes", type=int, default=1, help="Postgres nodes in each of three data centers")
    parser.add_argument("--turns", default="off,on,on,off", help="of the setting; the second half levels out a drift")
    given = parser.parse_args()
    results = {"off": Measured(), "on": Measured()}
    try:
        for tls in given.turns.split(","):
            turn(tls, results[tls], given)
            print(f"tls {tls}: {results[tls]}", file=sys.stderr)
    finally:
        inv("destroy", "--yes")
    table = Table("Median", "tls on", "tls off", "on / off")
    for what, name in (
        ("transactions a second, connections that stay", "staying"),
        ("transactions a second, each on a connection of its own", "anew"),
        ("switchover: longest gap, s", "gap"),
        ("switchover: the command, s", "switchover"),
    ):
        on, off = (statistics.median(getattr(results[tls], name)) for tls in ("on", "off"))
        table.add_row(what, f"{on:.2f}", f"{off:.2f}", f"{on / off:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
