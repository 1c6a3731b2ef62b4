"""Hosts that leave on purpose: what would be lost with them is refused, and the lead goes to a member that stays."""

from __future__ import annotations

from collections.abc import Collection

from pgha.cluster.handover import PATIENCE, Handover, hand_over
from pgha.cluster.quorum import require_quorum_in
from pgha.cluster.view import read_view
from pgha.console import Progress
from pgha.errors import LosesQuorum, LosesStandbys, NoLeader, Unhealthy
from pgha.model.words import counted, named
from pgha.project.project import Project
from pgha.tools import patroni
from pgha.tools.etcd import EtcdView
from pgha.waiting import wait_until


def require_quorum_without(view: EtcdView, leaving: Collection[str]) -> None:
    """Raises LosesQuorum when the etcd members that can commit, less those that leave, are no majority.

    NoQuorum when they are none even now: then the leader goes on only while every member answers it (failsafe_mode).
    """
    require_quorum_in(view)
    left = [name for name in view.healthy if name not in leaving]
    if len(left) >= view.quorum:
        return
    away = f" ({named(view.unhealthy, 'does', 'do')} not answer)"
    raise LosesQuorum(
        f"etcd would lose its quorum: without {' and '.join(sorted(set(leaving) & set(view.healthy)))} "
        f"{len(left)} of {view.members} members are left{away if view.unhealthy else ''}, {view.quorum} are needed",
        "inv status; bring back another etcd member first",
    )


def promised(project: Project) -> int:
    """Standbys there have to be: as many as a commit waits for, and one at least that can take over."""
    count = project.topology.synchronous_node_count
    return count if project.settings.durability == "quorum" else min(1, count)


def require_standbys_without(
    project: Project, view: patroni.ClusterView, leaving: Collection[str], *, degraded: bool, usage: str
) -> None:
    """Raises LosesStandbys when too few standbys would be left, unless they may be; NoLeader when nobody leads.

    `usage` is the command that does it all the same. What does not stream now is not lost by leaving.
    """
    if view.leader is None:
        raise NoLeader("The cluster has no leader at the moment", "inv status")
    well = [m.name for m in view.members if m == view.leader or not view.not_streaming([m.name])]
    staying = [name for name in well if name not in leaving]
    if len(staying) == len(well):
        return
    if not staying:
        raise LosesStandbys(
            f"Without {' and '.join(sorted(leaving))} there is no member that could lead",
            "inv stop stops all of it",
        )
    standbys, needed = len(staying) - 1, promised(project)
    if standbys >= needed or degraded:
        return
    what = f"{counted(standbys, 'standby')} would be left beside the leader"
    if standbys == 0:
        what += ": nobody could take over from it"
    if project.settings.durability == "quorum":
        what += f", and a commit would wait for {min(standbys, needed)} of the {needed} that it is promised to wait for"
    raise LosesStandbys(what, f"{usage} does it all the same")


def require_not_paused(view: patroni.ClusterView) -> None:
    """In a pause Patroni leaves its Postgres running when it ends, and starts none. Raises Unhealthy."""
    if view.paused:
        raise Unhealthy(
            "Patroni is paused (maintenance mode): it would neither end a Postgres well nor start one", "inv resume"
        )


def lead_elsewhere(
    project: Project, view: patroni.ClusterView, leaving: Collection[str], progress: Progress
) -> Handover | None:
    """A switchover to a member that stays, if the leader leaves; returns when those that stay are synchronous again.

    Raises LosesStandbys when nobody who stays can take over.
    """
    if view.leader is None or view.leader.name not in leaving:
        return None
    staying = [m for m in view.members if m.name not in leaving and not view.not_streaming([m.name])]
    if not staying:
        raise LosesStandbys(f"{view.leader.name} leads, and no member that stays streams from it", "inv status")
    # Patroni's own choice is quicker by the 2 s that the other standbys would wait, but it may choose one that leaves.
    free = len(staying) == sum(m.streams for m in view.members)
    candidate = "" if free and any(m.is_sync for m in staying) else min(staying, key=lambda m: not m.is_sync).name
    handover = hand_over(project, candidate, progress, only_switchover=True)
    wait_for_synchronous(project, leaving, progress)
    return handover


def wait_for_synchronous(project: Project, leaving: Collection[str], progress: Progress) -> None:
    """With quorum commit: until as many of those that stay are synchronous as shall be, or all of them are.

    A commit would wait for one that ends until Patroni takes it off the list. Raises TimedOut.
    """
    if project.settings.durability != "quorum":
        return

    def lacking(view: patroni.ClusterView) -> int:
        others = [m for m in view.members if m.name not in leaving and m != view.leader and m.streams]
        return min(promised(project), len(others)) - sum(m.is_sync for m in others)

    if lacking(read_view(project)) <= 0:
        return
    with progress.stage("wait until those that stay are synchronous"):
        wait_until(
            lambda: lacking(read_view(project)),
            lambda left: left <= 0,
            "Those that stay are synchronous standbys",
            timeout=PATIENCE,
            explain=lambda left: f"{left} more have to be",
            hint="inv status",
        )
