"""What a drill asks while something is broken, and holds against what it knows otherwise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pgha.cluster.quorum import QUICK
from pgha.cluster.view import freshness
from pgha.drills.scene import Scene
from pgha.errors import PghaError, TimedOut
from pgha.remote.connections import connect
from pgha.status import survey
from pgha.tools import etcd, patroni
from pgha.waiting import Stopwatch, wait_until


@dataclass(frozen=True)
class Finding:
    """What was asked and answered, and what of it is not as it should be."""

    words: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answer:
    """Who leads, and which etcd members can commit, as one party says it."""

    party: str
    leader: str | None
    etcd: etcd.EtcdView
    seconds: float = 0

    @property
    def quorum(self) -> str:
        word = "quorum" if self.etcd.has_quorum else "QUORUM LOST"
        return f"etcd {len(self.etcd.healthy)} of {self.etcd.members}, {word}"


def status_agrees(scene: Scene) -> Finding:
    """Whether `inv status`, asked from outside, says what the members beyond the leader's first site say by themselves.

    For a moment after a change they may differ by when they were asked: what differs for longer than a member may take
    to look at the DCS is wrong. Raises PghaError when one of them cannot be asked.
    """
    beyond = [node.name for node in scene.topology.nodes if node.site != scene.leader.site]
    seen: list[Finding] = []

    def look() -> Finding:
        seen[:] = [_compare(scene, beyond)]
        return seen[0]

    with suppress(TimedOut):
        wait_until(look, lambda finding: not finding.wrong, "inv status agrees with the majority",
                   timeout=freshness(scene.project.settings))  # fmt: skip
    # What cannot be asked at all is looked at once more, for its own error.
    return seen[0] if seen else _compare(scene, beyond)


def _compare(scene: Scene, beyond: list[str]) -> Finding:
    majority, status = _of_the_majority(scene, beyond), _of_status(scene)
    wrong = []
    if status.leader != majority.leader:
        wrong.append(f"inv status says that {status.leader or 'nobody'} leads, "
                     f"{majority.party} says {majority.leader or 'nobody'}")  # fmt: skip
    if (status.etcd.healthy, status.etcd.has_quorum) != (majority.etcd.healthy, majority.etcd.has_quorum):
        wrong.append(f"inv status says {status.quorum}, {majority.party} says {majority.quorum}")
    words = f"inv status says that {status.leader or 'nobody'} leads, {status.quorum}, in {status.seconds:.1f} s"
    return Finding(words, tuple(wrong))


def _of_status(scene: Scene) -> _Answer:
    """What `inv status --json` shows: the same survey."""
    clock = Stopwatch()
    seen = survey.take(scene.project).seen
    if isinstance(seen.etcd, PghaError):
        raise seen.etcd
    return _Answer("inv status", seen.leader, seen.etcd, clock.seconds)


def _of_the_majority(scene: Scene, beyond: list[str]) -> _Answer:
    """What Patroni and etcdctl say on a node there, none of the survey's reasoning in between."""
    ssh, topology = connect(scene.project), scene.topology
    party, view = ssh.first(beyond, patroni.get(topology.urls, "cluster"), patroni.parse_cluster)
    health = ssh.first([party], etcd.health(topology, QUICK), lambda text: etcd.parse_health(text, topology))[1]
    return _Answer(party, view.leader.name if view.leader else None, health)
