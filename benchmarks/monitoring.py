"""What the monitoring costs: python benchmarks/monitoring.py [--minutes 2] [--data-centers 3] [--nodes 2]

Processor time of every container (what its control group counts) while nothing else happens: with monitoring off and
with it on, in percent of one core. Uses a project of its own, `pghabench`, and needs the
engine for itself: stop other stacks first.
"""

from __future__ import annotations

import argparse
import sys
import time

from main_job import PROJECT, docker, inv
from rich.console import Console
from rich.table import Table

V2 = "sed -n 's/^usage_usec \\(.*\\)$/\\1000/p' /sys/fs/cgroup/cpu.stat"
ASK = f"cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2> /dev/null || {V2}"
"""Nanoseconds of processor time, of control groups in version 1 or 2."""


def used() -> dict[str, float]:
    """Host -> seconds of processor time since its container was made."""
    names = docker("ps", "--filter", f"label=com.docker.compose.project={PROJECT}", "--format", "{{.Names}}").split()
    return {name.removeprefix(f"{PROJECT}-"): int(docker("exec", name, "sh", "-c", ASK)) / 1e9 for name in names}


def share(minutes: float) -> dict[str, float]:
    """Host -> percent of one core."""
    before, began = used(), time.monotonic()
    time.sleep(60 * minutes)
    after, seconds = used(), time.monotonic() - began
    return {host: 100 * (after[host] - before[host]) / seconds for host in after if host in before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long each is measured")
    parser.add_argument("--data-centers", default="3")
    parser.add_argument("--nodes", default="2")
    given = parser.parse_args()
    seen = {}
    try:
        inv("destroy", "--yes")
        shape = ("render", "-d", given.data_centers, "-p", given.nodes)
        for what in ("off", "on"):
            inv(*(shape if what == "off" else ()), "build", "up", INVOKE_PGHA_MONITORING=what)
            if what == "off":
                inv("stanza", "backup")
            # What follows a start is over.
            time.sleep(60)
            seen[what] = share(given.minutes)
            print(f"{what}: {sum(seen[what].values()):.2f} % of a core", file=sys.stderr)
    finally:
        inv("destroy", "--yes")
    table = Table("Host", "Off", "On", "More", title="percent of one core")
    for host, now in seen["on"].items():
        was = seen["off"].get(host, 0.0)
        table.add_row(host, f"{was:.2f}", f"{now:.2f}", f"{now - was:.2f}")
    total = {what: sum(shares.values()) for what, shares in seen.items()}
    table.add_row("all", f"{total['off']:.2f}", f"{total['on']:.2f}", f"{total['on'] - total['off']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
