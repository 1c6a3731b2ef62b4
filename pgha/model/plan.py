"""What a topology survives, computed before anything is deployed.

The model is etcd's and Patroni's own rules, applied to hosts that are lost at the same moment:

- etcd commits while a majority of its members is left; without that nobody is promoted.
- A commit is acknowledged when the leader and `synchronous_node_count` standbys have it. With `async` only the
  leader has it for certain.
- Patroni promotes a standby only when it can be sure that those it can ask have every acknowledged commit: when
  fewer standbys than `synchronous_node_count` are lost (patroni/ha.py, `_is_healthiest_node`: the votes of the
  others must reach `sync.quorum`, the number of standbys less `synchronous_node_count`).

Nobody knows which member will lead: each loss is judged for the leader that makes it worst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from pgha.model.dynamic import WAL_SENDER_TIMEOUT
from pgha.model.settings import Settings
from pgha.model.topology import Host, Topology

PROMOTION = 5.0
"""Seconds from a free lock to the first commit under the new leader: the race, the promotion, and the standbys that
have to stream again before a commit is acknowledged. Measured on two cores; docs/drills.md."""

WATCHDOG_MARGIN = 2.0
"""Seconds before the lock's end at which Postgres is ended: `safety_margin` in templates/patroni.conf.j2."""

BLINK = 1.0
"""Seconds a commit may be late when nothing stops writes. Measured; docs/drills.md."""


@dataclass(frozen=True)
class Loss:
    """Hosts that are lost at the same moment."""

    name: str
    hosts: frozenset[Host]
    kind: str
    """`site`, `machine`, `two sites`, `one node` or `two nodes`."""


@dataclass(frozen=True)
class Outcome:
    """What is left after one loss."""

    loss: str
    kind: str
    etcd_quorum: bool
    candidate: bool
    """A member leads, or Patroni may promote one without an operator."""
    acknowledged_safe: bool
    """Every acknowledged write is on a surviving node."""
    backups: bool | None
    """The repository is reachable; None when there is none."""

    @property
    def survived(self) -> bool:
        """Writes go on by themselves, and none that was acknowledged is missing."""
        return self.etcd_quorum and self.candidate and self.acknowledged_safe


@dataclass(frozen=True)
class Outage:
    """One failure, and how long writes stop: seconds, at least and at most."""

    failure: str
    shortest: float
    longest: float | None
    """None: until somebody acts."""
    because: str


@dataclass(frozen=True)
class Plan:
    """The answer of `inv plan`."""

    outcomes: tuple[Outcome, ...]
    outages: tuple[Outage, ...]
    warnings: tuple[str, ...]
    sentence: str


def make_plan(settings: Settings, topology: Topology) -> Plan:
    """Judge every loss of one or two sites and of one or two nodes."""
    copies = 0 if settings.durability == "async" else topology.synchronous_node_count
    outcomes = tuple(_judge(topology, loss, copies) for loss in losses(topology))
    return Plan(
        outcomes,
        tuple(outages(settings, topology, copies, outcomes)),
        tuple(_warnings(settings, topology, copies)),
        _sentence(topology, outcomes),
    )


def losses(topology: Topology) -> Iterator[Loss]:
    """Each machine, each site, each pair of sites, any one node, any two nodes."""
    for machine in topology.machines:
        sites = topology.sites_on(machine)
        hosts = frozenset(host for site in sites for host in topology.at(site))
        yield Loss(f"{machine.name} with {_listed([site.name for site in sites])}", hosts, "machine")
    for count, kind in ((1, "site"), (2, "two sites")):
        # Nothing depends on the monitoring: lost together with another site it changes nothing.
        some = [site for site in topology.sites if count == 1 or site.kind != "monitoring"]
        for sites in combinations(some, count):
            hosts = frozenset(host for site in sites for host in topology.at(site))
            yield Loss(" and ".join(site.name for site in sites), hosts, kind)
    for count, kind in ((1, "one node"), (2, "two nodes")):
        for nodes in combinations(topology.nodes, count):
            yield Loss(" and ".join(node.name for node in nodes), frozenset(nodes), kind)


def _judge(topology: Topology, loss: Loss, copies: int) -> Outcome:
    left = [host for host in topology.hosts if host not in loss.hosts]
    nodes_left = [node for node in topology.nodes if node in left]
    nodes_lost = len(topology.nodes) - len(nodes_left)
    quorum = sum(member in left for member in topology.etcd) >= topology.etcd_quorum
    # When any node is lost, the worst leader is one of the lost ones; the others that are lost are standbys.
    standbys_lost = max(0, nodes_lost - 1)
    safe = nodes_lost == 0 or (bool(nodes_left) and standbys_lost < copies)
    promotable = bool(nodes_left) and (copies == 0 or standbys_lost < copies)
    return Outcome(
        loss=loss.name,
        kind=loss.kind,
        etcd_quorum=quorum,
        candidate=quorum and (nodes_lost == 0 or promotable),
        acknowledged_safe=safe,
        backups=topology.repository in left if topology.repository else None,
    )


def outages(settings: Settings, topology: Topology, copies: int, outcomes: tuple[Outcome, ...]) -> list[Outage]:
    """How long writes stop in each failure of this topology, from Patroni's settings; `copies` standbys acknowledge.

    In a switchover to a candidate every other standby waits 2 s before it follows (`patroni/ha.py`,
    `process_unhealthy_cluster`), and a commit waits for it; without a candidate all that are as far as any race. The
    lock of a leader that is gone expires `ttl` seconds after its last renewal, and it is renewed every `loop_wait`.
    """
    found = [
        Outage("leader's Postgres killed", 0.0, settings.loop_wait + PROMOTION, "Patroni looks every loop_wait"),
        Outage("leader's Patroni killed", 0.0, BLINK, "Postgres goes on; Patroni is back before ttl"),
        Outage("leader's Patroni hung", 0.0, WATCHDOG_MARGIN + PROMOTION, "its watchdog ends Postgres before ttl"),
        Outage("etcd without a majority", 0.0, BLINK, "failsafe_mode: the leader asks every member"),
    ]
    if len(topology.nodes) == 1:
        return [*found, Outage("the node lost or stopped, or its disk full", 0.0, None, "nobody can be promoted")]
    follow = 2.0 if copies else 0.0
    named = "the other standbys follow 2 s later" if copies else "the leader hands over"
    lock = (settings.ttl - settings.loop_wait, settings.ttl + PROMOTION)
    rebooted = [Outage("leader's machine rebooted", 0.0, PROMOTION, "its containers are stopped first: as above")]
    centers = [center.name for center in topology.data_centers]
    needed = [o.loss for o in outcomes if o.loss in centers and not (o.etcd_quorum and o.candidate)]
    lost = "leader's container or host lost" if needed else "leader's container, host or data center lost"
    found = [
        Outage("switchover", 0.0, PROMOTION, "the leader hands over"),
        Outage("switchover to a candidate", follow, follow + PROMOTION, named),
        Outage("leader stopped", 0.0, PROMOTION, "Patroni releases the lock on SIGTERM"),
        *(rebooted if topology.machines else []),
        *found,
        Outage(f"{lost}, or frozen", *lock, "the lock expires after ttl"),
        Outage("leader's disk full", 0.0, None, "it keeps the lead: inv switchover, then up to ttl"),
    ]
    if len(centers) == 1:
        return found
    if needed:
        because = "without it nobody can be promoted"
        found += [Outage(f"{name} lost or cut off", 0.0, None, because) for name in needed]
        because = "the lock expires after ttl, if the leader is there"
        others = [name for name in centers if name not in needed]
        return [*found, *(Outage(f"{name} lost or cut off", 0.0, lock[1], because) for name in others)]
    return [*found, *_cut_outages(settings, topology, copies, lock)]


def _cut_outages(settings: Settings, topology: Topology, copies: int, lock: tuple[float, float]) -> list[Outage]:
    """What cuts between data centers cost. A leader that is cut off gives up when etcd has not answered for
    `retry_timeout`, at the next look, and neither have the members (2 s, failsafe_mode)."""
    goes_on = settings.retry_timeout + settings.loop_wait + 2.0
    if copies:
        cut = Outage("leader's data center cut off", *lock, "the lock expires after ttl")
    else:
        cut = Outage("leader's data center cut off", max(0.0, lock[0] - goes_on), lock[1] - settings.retry_timeout,
                     "it acknowledges until retry_timeout is over; those writes are lost")  # fmt: skip
    left = len(topology.nodes) - 1 - len(topology.nodes) // len(topology.data_centers)
    if left >= copies:
        other = Outage("another data center lost or cut off", 0.0, BLINK, "enough standbys are left for a commit")
    else:
        other = Outage("another data center lost or cut off", 0.0, WAL_SENDER_TIMEOUT + settings.loop_wait,
                       "a commit waits for its standbys until wal_sender_timeout")  # fmt: skip
    return [cut, other]


def _warnings(settings: Settings, topology: Topology, copies: int) -> list[str]:
    """Shapes that do not survive what they seem to promise."""
    found = []
    centers = topology.data_centers
    if len(centers) == 1:
        found.append("one data center: its loss is the loss of the cluster; only the repository is outside it")
    for site in topology.sites:
        members = sum(member.site == site for member in topology.etcd)
        if len(centers) > 1 and members >= topology.etcd_quorum:
            found.append(f"{site.name} holds {members} of {len(topology.etcd)} etcd members, a majority: without it "
                         "nobody can be promoted")  # fmt: skip
    found += _warnings_of_machines(topology)
    if len(centers) > 2 and len(centers) % 2 == 0:
        found.append(f"{len(centers)} data centers: no more of them may be lost than with {len(centers) - 1}")
    if len(topology.nodes) == 1:
        found.append("one Postgres node: there is nobody to fail over to")
    elif copies == 0:
        found.append("durability is async: acknowledged writes can be lost with the leader")
    if topology.repository is None:
        found.append("no repository: there are no backups")
    return found


def _warnings_of_machines(topology: Topology) -> list[str]:
    """Sites of one machine that are there to survive each other."""
    found = []
    for machine in topology.machines:
        kinds = {site.name: site.kind for site in topology.sites_on(machine)}
        centers = [name for name, kind in kinds.items() if kind == "data center"]
        with_etcd = [name for name, kind in kinds.items() if kind != "backup"]
        if len(with_etcd) > 1:
            found.append(f"{_listed(with_etcd)} are on {machine.name}, and lost together with it")
        if centers and len(kinds) > len(with_etcd):
            found.append(f"the backups are on {machine.name} with {_listed(centers)}, and lost together with it")
    return found


def _sentence(topology: Topology, outcomes: tuple[Outcome, ...]) -> str:
    """What an operator wants to hear: what is survived, and what is not."""
    kinds = {site.name: site.kind for site in topology.sites}
    good: list[str] = []
    bad: list[str] = []

    def tell(all_words: str, members: list[Outcome]) -> None:
        """One word for all of them when they agree, else one each."""
        fine = [o for o in members if o.survived]
        if len(fine) in (0, len(members)) and len(members) > 1:
            (good if fine else bad).append(all_words)
        else:
            for outcome in members:
                (good if outcome.survived else bad).append(outcome.loss)

    sites = [o for o in outcomes if o.kind == "site"]
    tell("any one data center", [o for o in sites if kinds[o.loss] == "data center"])
    for outcome in sites:
        if kinds[outcome.loss] != "data center":
            (good if outcome.survived else bad).append(f"the {outcome.loss} site")
    tell("any one node", [o for o in outcomes if o.kind == "one node"])
    two_nodes = [o for o in outcomes if o.kind == "two nodes"]
    if two_nodes:
        (good if all(o.survived for o in two_nodes) else bad).append("any two nodes")
    survived = {o.loss for o in sites if o.survived}
    # A pair is worth a word when each of the two alone is survived.
    pairs = [o for o in outcomes if o.kind == "two sites" and set(o.loss.split(" and ")) <= survived]
    for words, wanted in (
        ("any two data centers", {"data center"}),
        ("a data center and the witness", {"data center", "witness"}),
        ("a data center and the backup site", {"data center", "backup"}),
    ):
        of_kind = [o for o in pairs if {kinds[name] for name in o.loss.split(" and ")} == wanted]
        if of_kind and not all(o.survived for o in of_kind):
            bad.append(words)
    survives = "Survives the loss of " + _listed(good) if good else "Survives no loss"
    return f"{survives}; not of {_listed(bad, 'or')}." if bad else f"{survives}."


def _listed(words: list[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan for `--json`."""
    return {
        "sentence": plan.sentence,
        "warnings": list(plan.warnings),
        "losses": [{**asdict(outcome), "survived": outcome.survived} for outcome in plan.outcomes],
        "write_outage_seconds": [asdict(outage) for outage in plan.outages],
    }
