"""Machines that do not answer: all that was on one is away together, and has one reason."""

from __future__ import annotations

from collections.abc import Iterator

from pgha.remote.engines import UNREACHABLE
from pgha.status.kinds import Kind, Problem
from pgha.status.seen import Seen


def is_on_one_away(seen: Seen, host: str) -> bool:
    """Whether a host's machine does not answer, so nobody knows how the host is."""
    return seen.state_of(host) == UNREACHABLE


def machines(seen: Seen) -> Iterator[Problem]:
    """One for each machine, with what is on it."""
    away: dict[str, list[str]] = {}
    for host, machine in seen.machines.items():
        if is_on_one_away(seen, host):
            away.setdefault(machine, []).append(host)
    for machine, hosts in away.items():
        sentence = f"machine {machine} is unreachable, with {', '.join(hosts)}"
        yield Problem(Kind.MACHINE_UNREACHABLE, machine, sentence, "inv setup --check tells what lacks")
