"""What a scenario is: what it breaks or changes, what it promises, and what a topology must have for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgha.drills.inquiries import Finding
from pgha.drills.ledger import Verdict, Write
from pgha.drills.scene import Scene
from pgha.model.settings import Settings
from pgha.model.topology import Host, Site, Topology

GOES_ON = "writes go on"

# What a topology must have for a scenario: nothing, or the reason why it cannot be played ---------------------


def always(_: Topology) -> str:
    """Every topology will do."""
    return ""


def whatever(_: Settings) -> str:
    """Any settings will do."""
    return ""


def nodes(count: int) -> Callable[[Topology], str]:
    """So many Postgres nodes at least."""
    return lambda topology: "" if len(topology.nodes) >= count else f"takes {count} Postgres nodes"


def centers(count: int) -> Callable[[Topology], str]:
    """So many data centers at least."""
    return lambda topology: "" if len(topology.data_centers) >= count else f"takes {count} data centers"


def survivors_elsewhere(topology: Topology) -> str:
    """A lost data center must leave enough standbys for a promotion: fewer lost than acknowledge a commit."""
    return centers(2)(topology)


def spare_standbys(topology: Topology) -> str:
    """With a leader and a standby lost Patroni promotes only if fewer standbys are lost than acknowledge a commit."""
    return "" if topology.synchronous_node_count >= 2 else "takes 2 standbys that acknowledge a commit"


def spare_standbys_in_turn(topology: Topology) -> str:
    """One lags and two are lost: the rest must still lead and acknowledge."""
    needed = 3 + 1 + topology.synchronous_node_count
    enough = "" if len(topology.nodes) >= needed else f"takes {needed} Postgres nodes"
    return has_repository(topology) or spare_standbys(topology) or enough


def witness(topology: Topology) -> list[Host]:
    """The hosts of the witness site."""
    return [host for host in topology.hosts if host.site.kind == "witness"]


def has_witness(topology: Topology) -> str:
    """A witness site."""
    return "" if witness(topology) else "takes a witness site (two data centers)"


def has_repository(topology: Topology) -> str:
    """A repository."""
    return "" if topology.repository else "takes a repository (pgbackrest: on)"


def quorum_in_two_centers(topology: Topology) -> str:
    """Three data centers, and wherever the leader is, another one that has etcd's majority together with it."""
    if len(topology.data_centers) < 3:
        return "takes 3 data centers"
    for center in topology.data_centers:
        lost = (center, other_with_etcd(topology, center))
        left = [member for member in topology.etcd if member.site not in lost]
        if not 0 < len(left) < topology.etcd_quorum:
            return f"takes etcd's quorum in two data centers: {lost[0].name} and {lost[1].name} have not"
    return ""


def centers_apart(topology: Topology) -> str:
    """Two data centers, and no machine that is more than one of them: they are cut off by machines."""
    for machine in topology.machines:
        names = [site.name for site in topology.sites_on(machine)]
        if len(names) > 1:
            return f"takes a machine for each site: {' and '.join(names)} are on {machine.name}"
    return centers(2)(topology)


def other_with_etcd(topology: Topology, center: Site) -> Site:
    """The other data center that has the most etcd members."""
    others = [site for site in topology.data_centers if site != center]
    return max(others, key=lambda site: sum(member.site == site for member in topology.etcd))


@dataclass(frozen=True)
class Scenario:
    """One drill. The objective is the setting that bounds its write gap, in seconds."""

    name: str
    breaks: str
    promise: str
    objective: str
    inject: Callable[[Scene], None]
    new_leader: bool = False
    """Service is back only when another member acknowledges."""
    hold: float = 3.0
    """Seconds to look on after service is back and before anything is healed."""
    beyond_ttl: bool = False
    """Look on for `ttl` seconds more: until a lock that is not renewed would have expired."""
    prepare: Callable[[Scene], None] | None = None
    """What has to be there before the clients start."""
    first: Callable[[Scene], None] | None = None
    """What is done under load before the fault that is measured."""
    then: Callable[[Scene], None] | None = None
    """The next fault, once service is back; it has to come back once more."""
    react: Callable[[Scene], None] | None = None
    """What an operator does: without it service does not come back."""
    heals_service: bool = False
    """Service comes back only by healing."""
    inquire: Callable[[Scene], Finding] | None = None
    """What is asked before anything is healed, and once more when all is whole; what is wrong breaks the promise."""
    may_lose: bool = False
    """Acknowledged writes may be lost; `compare` says whether they are those that were said to be."""
    compare: Callable[[Scene, Sequence[Write], Verdict, float], Finding] | None = None
    """What is held against the ledger at the end: the writes, the verdict, and when the clients began (seconds since
    1970)."""
    mend: Callable[[Scene], None] | None = None
    """What brings everything back where `chaos.heal` would not."""
    needs: Callable[[Topology], str] = always
    needs_settings: Callable[[Settings], str] = whatever
    new_history: bool = False
    """Its timelines begin anew, with 1."""
    only_by_name: str = ""
    """Why it is not played among all."""

    one_machine: bool = False
    """It takes what there is not among several machines."""

    def lacking(self, settings: Settings, topology: Topology) -> str:
        """Why it cannot be played here; nothing when it can."""
        if self.one_machine and topology.machines:
            return "takes one machine"
        return self.needs(topology) or self.needs_settings(settings)

    def allowed(self, settings: Settings) -> float:
        """Seconds without an acknowledged write that the settings allow."""
        return float(getattr(settings, self.objective))
