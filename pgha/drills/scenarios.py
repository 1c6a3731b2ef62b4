"""The scenarios: what each breaks, what it promises, and how it is done with the tasks an operator has."""

from __future__ import annotations

from collections.abc import Callable

from pgha.cluster.handover import hand_over
from pgha.cluster.view import node_names
from pgha.drills.changes import CHANGES
from pgha.drills.inquiries import status_agrees
from pgha.drills.losses import LOSSES
from pgha.drills.scenario import (
    GOES_ON,
    Scenario,
    centers_apart,
    has_repository,
    has_witness,
    nodes,
    spare_standbys,
    spare_standbys_in_turn,
    survivors_elsewhere,
    witness,
)
from pgha.drills.scene import Scene
from pgha.drills.upgrades import UPGRADES
from pgha.failures import containers, disks, networks
from pgha.failures.broken import Mechanism
from pgha.model.topology import Host
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
    _signal(scene, Mechanism.KILL, witness(scene.topology))


def _kill_repository(scene: Scene) -> None:
    assert scene.topology.repository is not None
    _signal(scene, Mechanism.KILL, [scene.topology.repository])
    # A segment that cannot be archived: Postgres keeps it and tries again.
    connect(scene.project).must(scene.leader.name, postgres.query("select pg_switch_wal()"), "psql failed")


def _kill_everything(scene: Scene) -> None:
    _signal(scene, Mechanism.KILL, list(scene.topology.hosts))


BY_ITSELF = "another member takes over by itself"

FAILURES = (
    Scenario("switchover", "nothing: a planned switchover under load", "the lead changes hands", "drill_gap_planned",
             _switch_over, new_leader=True, needs=nodes(2)),
    Scenario("switchover-candidate", "nothing: a planned switchover to a named member", "the candidate leads",
             "drill_gap_planned", _switch_over_to, new_leader=True, needs=nodes(2)),
    Scenario("leader-stopped", "the leader's container is stopped (SIGTERM)", BY_ITSELF, "drill_gap_stopped",
             _leader(Mechanism.STOP), new_leader=True, needs=nodes(2)),
    Scenario("postgres-killed", "the leader's Postgres is killed", "it or another member leads again",
             "drill_gap_process", _leader(Mechanism.KILL, "postgres")),
    Scenario("patroni-killed", "the leader's Patroni is killed", GOES_ON, "drill_gap_process",
             _leader(Mechanism.KILL, "patroni")),
    Scenario("patroni-hung", "the leader's Patroni hangs (SIGSTOP), its Postgres does not",
             "its Postgres is ended before the lock expires; it or another member leads again", "drill_gap_hung",
             _leader(Mechanism.PAUSE, "patroni"), hold=10.0, beyond_ttl=True),
    Scenario("leader-killed", "the leader's container is killed (SIGKILL)", BY_ITSELF, "drill_gap_lost",
             _leader(Mechanism.KILL), new_leader=True, needs=nodes(2)),
    Scenario("leader-paused", "the leader's container is frozen (SIGSTOP)", BY_ITSELF, "drill_gap_lost",
             _leader(Mechanism.PAUSE), new_leader=True, needs=nodes(2)),
    Scenario("site-killed", "every container of the leader's data center is killed", BY_ITSELF, "drill_gap_lost",
             _kill_site, new_leader=True, needs=survivors_elsewhere),
    Scenario("site-cut", "the leader's data center is cut off from all others",
             f"{BY_ITSELF}, and inv status says what the majority says", "drill_gap_lost",
             _cut_site, new_leader=True, inquire=status_agrees, needs=survivors_elsewhere),
    Scenario("link-cut", "the link between the leader's data center and another one; the rest sees both", GOES_ON,
             "drill_gap_link", _cut_link, hold=10.0, beyond_ttl=True, needs=centers_apart),
    Scenario("replica-wiped", "the data directory of a standby is gone", f"{GOES_ON}, the standby is cloned again",
             "drill_gap_bystander", _wipe_standby, needs=nodes(2)),
    Scenario("disk-full", "the leader's disk is full", "nothing acknowledged is lost; a switchover brings writes back",
             "drill_gap_operator", _fill_disk, new_leader=True, prepare=_limit_disk, react=_hand_over_from_full_disk,
             needs=nodes(2)),
    Scenario("leader-and-standby-killed", "the leader and one synchronous standby are killed together", BY_ITSELF,
             "drill_gap_lost", _kill_leader_and_sync, new_leader=True, needs=spare_standbys),
    Scenario("lagging-candidate", "a member is 30 s behind; leader and next leader are killed in turn",
             f"{BY_ITSELF} each time, and every timeline has one beginning", "drill_gap_lost",
             _leader(Mechanism.KILL), new_leader=True, first=_hold_back, then=_kill_next_leader,
             needs=spare_standbys_in_turn, one_machine=True),
    Scenario("etcd-leader-killed", "the etcd member that leads is killed", GOES_ON, "drill_gap_bystander",
             _kill_etcd_leader, hold=10.0),
    Scenario("etcd-minority-killed", "as many etcd members as may fail are killed", GOES_ON, "drill_gap_bystander",
             _kill_etcd_minority, hold=10.0),
    Scenario("etcd-quorum-killed", "etcd loses its quorum and gets it back", f"{GOES_ON} (failsafe_mode)",
             "drill_gap_bystander", _kill_etcd_quorum, hold=5.0, beyond_ttl=True),
    Scenario("witness-killed", "the witness site is killed", GOES_ON, "drill_gap_bystander", _kill_witness,
             hold=10.0, needs=has_witness),
    Scenario("repository-killed", "the repository is killed while WAL is archived", GOES_ON, "drill_gap_bystander",
             _kill_repository, hold=5.0, needs=has_repository),
    Scenario("sshd-stopped", "sshd on the leader does not answer", GOES_ON, "drill_gap_bystander",
             _leader(Mechanism.STOP, "sshd"), hold=5.0),
    Scenario("cold-start", "every container is killed at once and started again", "everything comes back",
             "drill_gap_operator", _kill_everything, heals_service=True),
)  # fmt: skip

SCENARIOS = (*FAILURES, *CHANGES, *UPGRADES, *LOSSES)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
