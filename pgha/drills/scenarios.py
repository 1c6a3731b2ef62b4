"""The scenarios: what each breaks, what it promises, and how it is done with the tasks an operator has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgha.cluster.handover import hand_over
from pgha.cluster.view import node_names
from pgha.drills.inquiries import Finding, status_agrees
from pgha.drills.scene import Scene
from pgha.failures import containers, disks, networks
from pgha.failures.broken import Mechanism
from pgha.model.settings import Settings
from pgha.model.topology import Host, Topology
from pgha.remote.connections import connect
from pgha.tools import etcd, patroni, postgres
from pgha.waiting import wait_until


def _switch_over(scene: Scene) -> None:
    hand_over(scene.project, "", scene.progress, only_switchover=True)


def _switch_over_to(scene: Scene) -> None:
    hand_over(scene.project, scene.standbys[0].name, scene.progress, only_switchover=True)


def _leader(mechanism: Mechanism, process: str = "") -> Callable[[Scene], None]:
    return lambda scene: _signal(scene, mechanism, [scene.leader], process)


def _signal(scene: Scene, mechanism: Mechanism, hosts: list[Host], process: str = "") -> None:
    containers.signal_hosts(scene.project, mechanism, hosts, process)


def _kill_site(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, list(scene.topology.at(scene.leader.site)))


def _cut_site(scene: Scene) -> None:
    networks.partition(scene.project, scene.leader.site.name)


def _cut_link(scene: Scene) -> None:
    site = scene.leader.site
    other = next(center for center in scene.topology.data_centers if center != site)
    networks.partition(scene.project, site.name, other.name)


def _wipe_standby(scene: Scene) -> None:
    disks.wipe(scene.project, scene.standbys[0].name)


def _limit_disk(scene: Scene) -> None:
    disks.limit_disk(scene.project, scene.leader.name, scene.progress)


def _fill_disk(scene: Scene) -> None:
    disks.fill(scene.project, scene.leader.name, scene.progress)


def _hand_over_from_full_disk(scene: Scene) -> None:
    """What `inv switchover` begins with; the node with the full disk will not stream, so that is not waited for."""
    command = patroni.switchover(scene.leader.name, scene.standbys[0].name)
    # patronictl may give up before the full disk lets go of the lead. Whether writes came back is what is judged.
    connect(scene.project).run(scene.standbys[0].name, command)


def _kill_leader_and_sync(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, [scene.leader, scene.standbys[0]])


BEHIND = 30.0
"""Seconds of writes that the lagging member lacks."""


def _hold_back(scene: Scene) -> None:
    """The member that would be the first candidate receives nothing from the others; the archive goes on."""
    held, ssh = scene.standbys[0].name, connect(scene.project)
    networks.isolate(scene.project, held)
    ssh.must(scene.leader.name, postgres.query("select pg_switch_wal()"), "psql failed")
    wait_until(
        lambda: float(ssh.must(held, postgres.query(postgres.BEHIND), "psql failed").stdout),
        lambda seconds: seconds >= BEHIND,
        f"{held} is {BEHIND:g} s behind",
        timeout=3 * BEHIND,
        explain=lambda seconds: f"{seconds:.0f} s",
    )


def _kill_next_leader(scene: Scene) -> None:
    """In this order: of the timeline that ends here the lagging member has heard nothing, unless from the archive."""
    _signal(scene, Mechanism.KILL, [scene.leader])
    for node in scene.topology.nodes:
        if networks.cuts_of(scene.project, node.name):
            networks.rejoin(scene.project, node.name)


def _kill_etcd_leader(scene: Scene) -> None:
    names = node_names(scene.project)
    name = connect(scene.project).first(
        names, etcd.status(scene.topology), lambda text: etcd.parse_leader(text, scene.topology)
    )[1]
    _signal(scene, Mechanism.KILL, [host for host in scene.topology.etcd if host.name == name])


def _kill_etcd_minority(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, list(scene.topology.etcd[: len(scene.topology.etcd) - scene.topology.etcd_quorum]))


def _kill_etcd_quorum(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, list(scene.topology.etcd[: scene.topology.etcd_quorum]))


def _kill_witness(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, _witness(scene.topology))


def _witness(topology: Topology) -> list[Host]:
    return [host for host in topology.hosts if host.site.kind == "witness"]


def _kill_repository(scene: Scene) -> None:
    assert scene.topology.repository is not None
    _signal(scene, Mechanism.KILL, [scene.topology.repository])
    # A segment that cannot be archived: Postgres keeps it and tries again.
    connect(scene.project).must(scene.leader.name, postgres.query("select pg_switch_wal()"), "psql failed")


def _kill_everything(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, list(scene.topology.hosts))


# What a topology must have for a scenario: nothing, or the reason why it cannot be played ---------------------


def _always(_: Topology) -> str:
    return ""


def _nodes(count: int) -> Callable[[Topology], str]:
    return lambda topology: "" if len(topology.nodes) >= count else f"takes {count} Postgres nodes"


def _centers(count: int) -> Callable[[Topology], str]:
    return lambda topology: "" if len(topology.data_centers) >= count else f"takes {count} data centers"


def _survivors_elsewhere(topology: Topology) -> str:
    """A lost data center must leave enough standbys for a promotion: fewer lost than acknowledge a commit."""
    return _centers(2)(topology)


def _spare_standbys(topology: Topology) -> str:
    """With a leader and a standby lost Patroni promotes only if fewer standbys are lost than acknowledge a commit."""
    return "" if topology.synchronous_node_count >= 2 else "takes 2 standbys that acknowledge a commit"


def _spare_standbys_in_turn(topology: Topology) -> str:
    """One lags and two are lost: the rest must still lead and acknowledge."""
    needed = 3 + 1 + topology.synchronous_node_count
    enough = "" if len(topology.nodes) >= needed else f"takes {needed} Postgres nodes"
    return _has_repository(topology) or _spare_standbys(topology) or enough


def _has_witness(topology: Topology) -> str:
    return "" if _witness(topology) else "takes a witness site (two data centers)"


def _has_repository(topology: Topology) -> str:
    return "" if topology.repository else "takes a repository (pgbackrest: on)"


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
    needs: Callable[[Topology], str] = _always

    def allowed(self, settings: Settings) -> float:
        """Seconds without an acknowledged write that the settings allow."""
        return float(getattr(settings, self.objective))


BY_ITSELF = "another member takes over by itself"
GOES_ON = "writes go on"

SCENARIOS = (
    Scenario("switchover", "nothing: a planned switchover under load", "the lead changes hands", "drill_gap_planned",
             _switch_over, new_leader=True, needs=_nodes(2)),
    Scenario("switchover-candidate", "nothing: a planned switchover to a named member", "the candidate leads",
             "drill_gap_planned", _switch_over_to, new_leader=True, needs=_nodes(2)),
    Scenario("leader-stopped", "the leader's container is stopped (SIGTERM)", BY_ITSELF, "drill_gap_stopped",
             _leader(Mechanism.STOP), new_leader=True, needs=_nodes(2)),
    Scenario("postgres-killed", "the leader's Postgres is killed", "it or another member leads again",
             "drill_gap_process", _leader(Mechanism.KILL, "postgres")),
    Scenario("patroni-killed", "the leader's Patroni is killed", GOES_ON, "drill_gap_process",
             _leader(Mechanism.KILL, "patroni")),
    Scenario("patroni-hung", "the leader's Patroni hangs (SIGSTOP), its Postgres does not",
             "its Postgres is ended before the lock expires; it or another member leads again", "drill_gap_hung",
             _leader(Mechanism.PAUSE, "patroni"), hold=10.0, beyond_ttl=True),
    Scenario("leader-killed", "the leader's container is killed (SIGKILL)", BY_ITSELF, "drill_gap_lost",
             _leader(Mechanism.KILL), new_leader=True, needs=_nodes(2)),
    Scenario("leader-paused", "the leader's container is frozen (SIGSTOP)", BY_ITSELF, "drill_gap_lost",
             _leader(Mechanism.PAUSE), new_leader=True, needs=_nodes(2)),
    Scenario("site-killed", "every container of the leader's data center is killed", BY_ITSELF, "drill_gap_lost",
             _kill_site, new_leader=True, needs=_survivors_elsewhere),
    Scenario("site-cut", "the leader's data center is cut off from all others",
             f"{BY_ITSELF}, and inv status says what the majority says", "drill_gap_lost",
             _cut_site, new_leader=True, inquire=status_agrees, needs=_survivors_elsewhere),
    Scenario("link-cut", "the link between the leader's data center and another one; the rest sees both", GOES_ON,
             "drill_gap_link", _cut_link, hold=10.0, beyond_ttl=True, needs=_centers(2)),
    Scenario("replica-wiped", "the data directory of a standby is gone", f"{GOES_ON}, the standby is cloned again",
             "drill_gap_bystander", _wipe_standby, needs=_nodes(2)),
    Scenario("disk-full", "the leader's disk is full", "nothing acknowledged is lost; a switchover brings writes back",
             "drill_gap_operator", _fill_disk, new_leader=True, prepare=_limit_disk, react=_hand_over_from_full_disk,
             needs=_nodes(2)),
    Scenario("leader-and-standby-killed", "the leader and one synchronous standby are killed together", BY_ITSELF,
             "drill_gap_lost", _kill_leader_and_sync, new_leader=True, needs=_spare_standbys),
    Scenario("lagging-candidate", "a member is 30 s behind; leader and next leader are killed in turn",
             f"{BY_ITSELF} each time, and every timeline has one beginning", "drill_gap_lost",
             _leader(Mechanism.KILL), new_leader=True, first=_hold_back, then=_kill_next_leader,
             needs=_spare_standbys_in_turn),
    Scenario("etcd-leader-killed", "the etcd member that leads is killed", GOES_ON, "drill_gap_bystander",
             _kill_etcd_leader, hold=10.0),
    Scenario("etcd-minority-killed", "as many etcd members as may fail are killed", GOES_ON, "drill_gap_bystander",
             _kill_etcd_minority, hold=10.0),
    Scenario("etcd-quorum-killed", "etcd loses its quorum and gets it back", f"{GOES_ON} (failsafe_mode)",
             "drill_gap_bystander", _kill_etcd_quorum, hold=5.0, beyond_ttl=True),
    Scenario("witness-killed", "the witness site is killed", GOES_ON, "drill_gap_bystander", _kill_witness,
             hold=10.0, needs=_has_witness),
    Scenario("repository-killed", "the repository is killed while WAL is archived", GOES_ON, "drill_gap_bystander",
             _kill_repository, hold=5.0, needs=_has_repository),
    Scenario("sshd-stopped", "sshd on the leader does not answer", GOES_ON, "drill_gap_bystander",
             _leader(Mechanism.STOP, "sshd"), hold=5.0),
    Scenario("cold-start", "every container is killed at once and started again", "everything comes back",
             "drill_gap_operator", _kill_everything, heals_service=True),
)  # fmt: skip

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
