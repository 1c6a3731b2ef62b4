"""python -m tests.machines up|down|list|...: the bed by hand. README.md beside this file says what for."""

from __future__ import annotations

import argparse
import shlex
import sys
import time

from pgha.errors import PghaError

from . import engine
from .bed import Bed


def up(bed: Bed, given: argparse.Namespace) -> None:
    bed.up(given.machines, given.base, given.disk)
    show(bed, given)
    print(f'\neval "$(python -m tests.machines env)"   # ssh and docker compose know them in this shell\n'
          f"ssh -F {bed.folder}/ssh_config {bed.machines()[0]} docker version")  # fmt: skip


def show(bed: Bed, given: argparse.Namespace) -> None:
    for name, state in bed.states().items():
        print(name, bed.address(name), state, bed.container(name), sep="\t")


def down(bed: Bed, given: argparse.Namespace) -> None:
    bed.down()


def env(bed: Bed, given: argparse.Namespace) -> None:
    for name, value in bed.environment().items():
        print(f"export {name}={shlex.quote(value)}")


def ship(bed: Bed, given: argparse.Namespace) -> None:
    print("loaded into", *bed.ship(*given.images) or ["none: all have them"])


def cut(bed: Bed, given: argparse.Namespace) -> None:
    (name,) = given.names
    if not given.seconds:
        bed.cut(name, operator=given.operator)
        return
    with bed.cut_off(name, operator=given.operator):
        time.sleep(given.seconds)


def each(work: str):
    def play(bed: Bed, given: argparse.Namespace) -> None:
        for name in given.names or bed.machines():
            getattr(bed, work)(name)

    return play


def at_once(work: str):
    return lambda bed, given: getattr(bed, work)(*(given.names or bed.machines()))


def skew(bed: Bed, given: argparse.Namespace) -> None:
    for name in given.names:
        bed.skew(name, given.seconds)


def fill(bed: Bed, given: argparse.Namespace) -> None:
    for name in given.names:
        bed.fill(name, given.leave)


def gates(bed: Bed, given: argparse.Namespace) -> None:
    from .gates import GATES, Gates, line

    played = Gates(bed, given.dsn)
    print("| gate | machine | containers run | all stream | write gap | lost | notes |\n|---|---|---|---|---|---|---|")
    for _ in range(given.runs):
        for name in given.gates or GATES:
            print(line(GATES[name](played)), flush=True)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.machines", description=__doc__)
    made.add_argument("--name", default="", help="the bed; without it this checkout's")
    verbs = made.add_subparsers(required=True, metavar="VERB")

    def verb(name, work, help, names=""):
        added = verbs.add_parser(name, help=help)
        added.set_defaults(work=work)
        if names:
            added.add_argument("names", nargs=names, metavar="MACHINE")
        return added

    made_up = verb("up", up, "make the machines, or start those that do not run")
    made_up.add_argument("--machines", type=int, default=3)
    made_up.add_argument("--base", default="debian:trixie-slim", help="what they are made of (default: %(default)s)")
    made_up.add_argument("--disk", default="", help="a disk of this size for each engine, such as 6G")
    verb("down", down, "take everything away")
    verb("list", show, "machines, addresses, states")
    verb("env", env, "for eval: ssh and docker compose for these machines")
    verb("ship", ship, "bring images of this host to the machines").add_argument("images", nargs="+")
    verb("kill", at_once("kill"), "the power is lost", "*")
    verb("stop", at_once("stop"), "shut down", "*")
    verb("start", at_once("start"), "start again", "*")
    verb("reboot", at_once("reboot"), "shut down and start", "*")
    cutting = verb("cut", cut, "cut a machine off from the others", 1)
    cutting.add_argument("--seconds", type=float, default=0, help="mend it then (default: until `mend`)")
    cutting.add_argument("--operator", action="store_true", help="from this host, too")
    verb("mend", each("mend"), "take cuts away", "*")
    skewing = verb("skew", skew, "let `date` be off", "+")
    skewing.add_argument("--seconds", type=float, default=0)
    filling = verb("fill", fill, "fill a machine's own disk", "+")
    filling.add_argument("--leave", type=int, default=0, help="bytes (default: none)")
    playing = verb("gates", gates, "play gates on the cluster that runs there, and print a table of seconds")
    playing.add_argument("gates", nargs="*", metavar="GATE", help="see gates.py (default: all)")
    playing.add_argument("--runs", type=int, default=1)
    playing.add_argument("--dsn", default="", help="of all nodes, for a client that writes meanwhile")
    verb("empty", each("empty"), "take the filling away", "*")
    return made


def main() -> int:
    given = parser().parse_args()
    try:
        given.work(Bed(given.name), given)
    except (engine.Failed, PghaError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
