"""Whether a drill may begin, and when the cluster is whole again."""

from __future__ import annotations

from collections.abc import Iterable

from pgha.cluster.configuration import read_config
from pgha.cluster.quorum import require_same_data
from pgha.cluster.rolling import leading_etcd
from pgha.cluster.view import read_view, too_few_synchronous
from pgha.console import Progress
from pgha.drills.scene import as_it_is
from pgha.drills.traffic import require_client
from pgha.errors import Unhealthy
from pgha.failures import broken
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.status.kinds import Kind, Problem
from pgha.status.survey import take
from pgha.tools import postgres
from pgha.tools.patroni import ClusterView
from pgha.waiting import wait_until

TOLERATED = (Kind.BROKEN, Kind.PENDING_RESTART, Kind.SLOT_RETAINS_WAL, Kind.SLOT_NOT_KEPT, Kind.SLOT_MISSING)
"""What does not make a cluster less than whole: a node with a small disk works on it."""


def require_healthy(project: Project) -> None:
    """Raises Missing when the cluster is not healthy, or runs with another durability than the settings say."""
    engine.require_engine(project)
    require_client()
    if broken.still(project, engine.containers(project).values()):
        raise Unhealthy("The cluster is still broken by chaos", "inv chaos.heal")
    found = [problem for problem in take(project).problems if problem.kind not in TOLERATED]
    if found:
        raise Unhealthy(f"The cluster is not healthy: {_sentences(found)}", "inv status")
    running = "quorum" if read_config(project).get("synchronous_mode") else "async"
    wanted = "async" if project.topology.synchronous_node_count == 0 else project.settings.durability
    if running != wanted:
        raise Unhealthy(
            f"The cluster runs with durability {running}, the settings say {wanted}",
            "inv up applies the settings, then inv drill",
        )


def wait_until_whole(project: Project, progress: Progress) -> None:
    """Wait for full redundancy: every member streams, etcd is whole, commits wait for as many standbys as they should.

    Raises TimedOut and names what lacks, and Unhealthy when etcd's members hold different data.
    """
    nudged, project = False, as_it_is(project)

    def lacks() -> list[str]:
        nonlocal nudged
        survey = take(project)
        found = [problem for problem in survey.problems if problem.kind not in TOLERATED]
        if not nudged and survey.seen.leader and any(p.kind == Kind.ARCHIVING_FAILS for p in found):
            # The archiver tries a segment that failed once a minute, or when there is another one.
            connect(project).run(survey.seen.leader, postgres.query("select pg_switch_wal()"))
            nudged = True
        sentences = [problem.sentence for problem in found]
        sentences = sentences or too_few_synchronous(project)
        progress.detail("; ".join(sentences))
        return sentences

    timeout = project.settings.drill_whole_timeout
    wait_until(lacks, lambda found: not found, "The cluster is whole", timeout=timeout, explain="; ".join,
               hint="inv status, inv chaos.heal")  # fmt: skip
    require_same_data(project)


def wait_until_apart(project: Project) -> None:
    """Wait until etcd is led from another data center than Postgres: it takes seconds after either has another leader
    (images/patroni/apart.run), and both lost at once cost seconds more than is promised. Raises TimedOut."""
    timeout = project.settings.drill_whole_timeout
    wait_until(lambda: led_together(project, read_view(project)), lambda found: not found,
               "etcd is led from another data center", timeout=timeout, explain=str, hint="inv status")  # fmt: skip


def led_together(project: Project, view: ClusterView) -> str:
    """Who leads etcd in the data center of Postgres' leader, in words; nothing where etcd has nowhere else to go, or
    nothing moves it."""
    topology, leader = project.topology, view.leader.name if view.leader else ""
    here, etcd = topology.host(leader), topology.host(leading_etcd(project))
    if project.settings.stock or here is None or etcd is None or etcd.site != here.site:
        return ""
    if all(member.site == here.site for member in topology.etcd):
        return ""
    return f"{etcd.name} leads etcd in the data center of {leader}, which leads Postgres"


def _sentences(problems: Iterable[Problem]) -> str:
    return "; ".join(problem.sentence for problem in problems)
