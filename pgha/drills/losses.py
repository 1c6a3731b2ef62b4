"""Two data centers of three that are gone for good: what `recover` says before, beside what the clients lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from pgha.drills import shape
from pgha.drills.inquiries import Finding
from pgha.drills.ledger import Verdict, Write
from pgha.drills.scenario import Scenario, other_with_etcd, quorum_in_two_centers
from pgha.drills.scene import Scene
from pgha.errors import HasQuorum, Unhealthy
from pgha.failures import containers, networks
from pgha.failures.broken import Mechanism
from pgha.model.topology import Site
from pgha.model.words import time_of, time_text
from pgha.recover.account import Account, take_account
from pgha.recover.record import read_recovered
from pgha.recover.recovering import recover
from pgha.remote.connections import connect
from pgha.tools import postgres
from pgha.waiting import wait_until

QUORUM_PATIENCE = 15
"""Seconds until the etcd members that are left notice that they are too few."""


BEHIND = 1.0
"""Seconds of writes that those who are left lack: so there is something to lose."""


def _lost_sites(scene: Scene) -> tuple[Site, Site]:
    return scene.leader.site, other_with_etcd(scene.topology, scene.leader.site)


def _left(scene: Scene) -> list[str]:
    return [node.name for node in scene.topology.nodes if node.site not in _lost_sites(scene)]


def _fall_behind(scene: Scene) -> None:
    """Those who will be left receive nothing any more, and the others go on."""
    for name in _left(scene):
        networks.isolate(scene.project, name)
    ask = postgres.query(postgres.BEHIND)
    for name in _left(scene):
        wait_until(
            lambda node=name: float(connect(scene.project).must(node, ask, "psql failed").stdout),  # type: ignore[misc]
            lambda seconds: seconds >= BEHIND,
            f"{name} is {BEHIND:g} s behind",
            timeout=30 * BEHIND,
            interval=0.1,
            explain=lambda seconds: f"{seconds:.1f} s",
        )


def _lose(scene: Scene) -> None:
    """In this order: with its line back a member would get what it lacks."""
    hosts = [host for host in scene.topology.hosts if host.site in _lost_sites(scene)]
    containers.signal_hosts(scene.project, Mechanism.KILL, hosts)
    for name in _left(scene):
        networks.rejoin(scene.project, name)


def _recover(scene: Scene) -> None:
    """`inv recover --site-lost`, and with what it says accepted."""

    def look() -> Account | None:
        with suppress(HasQuorum):
            return take_account(scene.project)
        return None

    account = wait_until(look, lambda seen: seen is not None, "etcd has lost its quorum", timeout=QUORUM_PATIENCE)
    assert account is not None
    scene.progress.note(f"may be lost: {account.may_lose}")
    recover(scene.project, account, scene.progress)


def _bring_back(scene: Scene) -> None:
    shape.give_back(scene.project, scene.progress)


def compare(scene: Scene, writes: Sequence[Write], verdict: Verdict, began_at: float) -> Finding:
    """What was said to be lost at most, beside what the clients lost. A write that was acknowledged before the last
    commit of the survivor had to be there; and all of them, where nothing was said to be lost.

    Raises Unhealthy when nothing was said.
    """
    recovered = read_recovered(scene.project)
    if recovered is None or recovered["began"] < began_at:
        raise Unhealthy("recover has not said what may be lost")
    said = recovered["said"]
    times = {write.number: began_at + write.ended for write in writes}
    lost = sorted((times[number], number) for number in verdict.lost)
    words = f"recover had said that may be lost: {said['may_lose']}; lost: {len(lost)} of {verdict.acknowledged}"
    if lost:
        words += f", acknowledged from {_time(lost[0][0])} to {_time(lost[-1][0])}"
    wrong = []
    if lost and said["lossless"]:
        wrong.append(f"{len(lost)} acknowledged writes are lost, and recover had said none would be")
    until = said["last_commit"]
    early = [number for at, number in lost if until is not None and at < until]
    if early:
        wrong.append(
            f"{len(early)} writes are lost that were acknowledged before {_time(until)}, which recover had named"
        )
    return Finding(words, tuple(wrong))


def _time(seconds: float) -> str:
    when: datetime = time_of(seconds)
    return time_text(when, "milliseconds")


PROMISE = "inv recover brings writes back on the third, and loses nothing but what it had said"

BREAKS = "the leader's data center and another one, with etcd's quorum, for good; the third is a second behind"

LOSSES = (
    Scenario("site-lost-for-good", BREAKS, PROMISE, "drill_gap_recovery", _lose, new_leader=True, first=_fall_behind,
             react=_recover, may_lose=True, compare=compare, mend=_bring_back, needs=quorum_in_two_centers,
             one_machine=True),
)  # fmt: skip
