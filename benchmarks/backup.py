"""Backup and restore in numbers, beside other settings: python benchmarks/backup.py [pgbench scale]

The other settings ("seed") are those of the hand-built setup this project began with: it compresses with gz, does not
bundle, starts 16 processes, waits for a spread checkpoint, always reads the leader, and restores without delta. Uses a
project of its own, `pghabench`, and needs the engine for itself.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from pgha import ROOT

PROJECT = "pghabench"
DATA = "/pgdata/17"
STANZA = "--stanza=pg_ha_db"
SCALE = sys.argv[1] if len(sys.argv) > 1 else "70"
"""pgbench's; 70 is about 1 GB."""

SEED_REPOSITORY = ("--repo1-path=/pgha/pgbackrest/seed", "--repo1-cipher-type=none", "--lock-path=/tmp/seed")
"""A second repository beside the cluster's own, with locks of its own: archiving goes on into the first."""

SEED_CONFIG = "[global]\nrepo1-path=/pgha/pgbackrest/seed\n"
"""What a node asks the repository host to read instead of its configuration, which says that all is encrypted."""

NO_ARCHIVE_CHECK = "--archive-check=n"
"""The second repository gets no WAL, so neither backup waits for it."""

SEED = (*SEED_REPOSITORY, "--compress-type=gz", "--process-max=16", "--no-repo1-bundle", "--backup-standby=n",
        "--no-start-fast", "--repo1-retention-full=2")  # fmt: skip
SEED_FROM_NODE = ("--repo1-host-config=/tmp/seed.conf", "--lock-path=/tmp/seed")
SEED_RESTORE = (*SEED_FROM_NODE, "--process-max=16", "--no-delta")
SEED_PUSH = (*SEED_FROM_NODE, "--compress-type=gz", "--no-archive-async")

rows: list[tuple[str, str, str, str, str]] = []


def inv(*tasks: str) -> str:
    env = {**os.environ, "INVOKE_PGHA_PROJECT": PROJECT}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *tasks], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def inside(host: str, *command: str, check: bool = True) -> str:
    line = ["docker", "exec", "--user", "postgres", f"{PROJECT}-{host}", *command]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def sql(host: str, query: str) -> str:
    return inside(host, "psql", "-XAtqc", query).strip()


def seconds(work: Callable[[], object]) -> float:
    os.sync()
    started = time.monotonic()
    work()
    return time.monotonic() - started


def row(what: str, ours: float, seed: float, aim: str, unit: str = "s", more_is_better: bool = False) -> None:
    ratio = ours / seed if more_is_better else seed / ours
    rows.append((what, f"{ours:.1f} {unit}", f"{seed:.1f} {unit}", f"{ratio:.1f} x", aim))
    print(*rows[-1], sep=" | ", file=sys.stderr)


def change(leader: str, percent: int) -> None:
    """Touch this part of the rows, in one place, as a table that is written by time would be."""
    accounts = int(SCALE) * 100_000
    first = accounts // 3
    last = first + accounts * percent // 100
    sql(leader, f"update pgbench_accounts set abalance = abalance + 1 where aid between {first} and {last}")
    sql(leader, "checkpoint")


def ours_backup(type: str) -> float:
    return seconds(lambda: inside("pgbackrest", "pgbackrest", STANZA, NO_ARCHIVE_CHECK, f"--type={type}", "backup"))


def seed_backup(type: str) -> float:
    return seconds(
        lambda: inside("pgbackrest", "pgbackrest", STANZA, *SEED, NO_ARCHIVE_CHECK, f"--type={type}", "backup")
    )


def backups(leader: str) -> None:
    row("full backup", ours_backup("full"), seed_backup("full"), "3 x")
    change(leader, 5)
    row("diff after changing 5 %", ours_backup("diff"), seed_backup("diff"), "")
    change(leader, 1)
    row("incr after changing 1 %", ours_backup("incr"), seed_backup("incr"), "5 x")


def restores(leader: str, replica: str) -> None:
    """On a member whose Patroni is stopped; only pgBackRest's part, no recovery."""
    inside(replica, "s6-svc", "-wd", "-d", "/service/patroni")
    ours = ("pgbackrest", STANZA, "--type=none", "restore")
    seed = ("pgbackrest", STANZA, *SEED_RESTORE, "--type=none", "restore")
    in_place, empty = [], []
    for command, delta in ((ours, True), (seed, False)):
        inside(replica, *ours)
        scramble(replica)
        in_place.append(seconds(functools.partial(restore, replica, command, wipe_first=not delta)))
    row("restore in place after changing 5 %", *in_place, "5 x")
    for command in (ours, seed):
        wipe(replica)
        empty.append(seconds(functools.partial(restore, replica, command)))
    row("restore to an empty volume", *empty, "")
    inside(replica, "sh", "-c", f"rm -rf {DATA}")
    inside(replica, "s6-svc", "-u", "/service/patroni")
    inv("up")


def wipe(replica: str) -> None:
    inside(replica, "sh", "-c", f"rm -rf {DATA}/*")


def restore(replica: str, command: tuple[str, ...], *, wipe_first: bool = False) -> None:
    """Without delta what is there has to go first."""
    if wipe_first:
        wipe(replica)
    inside(replica, *command)


def scramble(replica: str) -> None:
    """Change 5 % of the largest files' blocks behind pgBackRest's back, as five percent of updates would."""
    script = (
        "for f in $(find $0/base -type f -size +1M); do blocks=$(($(stat -c %s $f) / 8192)); "
        "dd if=/dev/urandom of=$f bs=8192 seek=$((blocks / 3)) count=$((blocks / 20 + 1)) conv=notrunc; done"
    )
    inside(replica, "sh", "-c", script, DATA)


def archiving(leader: str) -> None:
    """pgbench's transactions per second with each archive_command, the median of three, in turns."""
    commands = {
        "ours": f"pgbackrest {STANZA} archive-push %p",
        "seed": f"pgbackrest {STANZA} {' '.join(SEED_PUSH)} archive-push %p",
        "none": "/bin/true",
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3):
        for name, command in commands.items():
            sql(leader, f"alter system set archive_command = '{command}'")
            sql(leader, "select pg_reload_conf()")
            sql(leader, "checkpoint")
            told = inside(leader, "pgbench", "-n", "-c", "8", "-j", "2", "-T", "20", "postgres")
            found[name].append(next(float(line.split()[2]) for line in told.splitlines() if line.startswith("tps")))
            waiting = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'"
            left = sql(leader, waiting)
            print(f"{name}: {found[name][-1]:.0f} tps, {left} segments waiting", file=sys.stderr)
            while sql(leader, waiting) != "0":
                time.sleep(1)
    sql(leader, "alter system reset archive_command")
    sql(leader, "select pg_reload_conf()")
    middle = {name: sorted(values)[1] for name, values in found.items()}
    row("pgbench while archiving", middle["ours"], middle["seed"], "", "tps", more_is_better=True)
    share = middle["ours"] / middle["none"]
    rows.append(("the same without archiving", f"{middle['none']:.1f} tps", "", f"ours is {share:.2f}", "0.9"))


def main() -> None:
    try:
        inv("destroy", "--yes")
        inv("render", "-d", "1", "-p", "2", "up", "stanza")
        status = json.loads(inv("status", "--json"))
        leader = status["leader"]
        replica = next(m["name"] for m in status["members"] if m["name"] != leader)
        # Before there is anything to archive: the lock of archive-push on the nodes is one for both repositories.
        inside("pgbackrest", "pgbackrest", STANZA, *SEED_REPOSITORY, "stanza-create")
        inside("pgbackrest", "sh", "-c", f"printf '{SEED_CONFIG}' > /tmp/seed.conf")
        inside(leader, "pgbench", "-i", "-q", "-s", SCALE, "postgres")
        size = sql(leader, "select pg_size_pretty(pg_database_size('postgres'))")
        backups(leader)
        restores(leader, replica)
        archiving(leader)
    finally:
        inv("destroy", "--yes")
    table = Table("What", "Ours", "Seed's settings", "Ratio", "Aim", title=f"database of {size}")
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)


if __name__ == "__main__":
    main()
