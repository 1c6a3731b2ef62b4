"""Another shape for a running cluster: what is new joins, what stays is told, what goes is drained first.

Each step looks at what is there and does what lacks, so that the same command completes what was interrupted, and one
with the old shape takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgha.cluster.gates import require_open
from pgha.cluster.leaving import require_not_paused
from pgha.cluster.quorum import read_etcd
from pgha.cluster.view import read_view
from pgha.errors import BadSettings, BadValue, HalfDone, LosesStandbys, NoLeader, NotUp, SubnetTaken, Unhealthy
from pgha.model import rules
from pgha.model.addresses import block_of, fits
from pgha.model.topology import Host
from pgha.project.project import Project
from pgha.project.running import SHAPE, as_it_runs
from pgha.remote import engine
from pgha.stack.fit import shape_flags
from pgha.stack.images import require_images
from pgha.stack.maintenance import require_undisturbed
from pgha.tools import docker, patroni
from pgha.tools.etcd import EtcdView


@dataclass(frozen=True)
class Change:
    """What a new shape means for the hosts."""

    create: tuple[str, ...]
    move: tuple[str, ...]
    """etcd members that stand at another site afterwards"""
    again: tuple[str, ...]
    """Postgres nodes that are made again, one at a time, because the etcd members are others"""
    remove: tuple[str, ...]
    """hosts that go, with their data"""
    anew: tuple[str, ...] = ()
    """hosts that were given up and of which something is left: that goes before they are made"""

    @property
    def is_nothing(self) -> bool:
        return not (self.create or self.move or self.again or self.remove or self.anew)


@dataclass(frozen=True)
class Checked:
    """A shape the cluster can take."""

    target: Project
    change: Change
    before: patroni.ClusterView
    known: tuple[str, ...]
    """nodes of the shape that the clients' strings are of"""


@dataclass(frozen=True)
class Report:
    """The cluster in its new shape."""

    change: Change
    before: patroni.ClusterView
    after: patroni.ClusterView
    etcd: EtcdView
    notes: tuple[str, ...]
    seconds: float


def target_of(project: Project, data_centers: str, nodes: str) -> Project:
    """The project with the shape that is asked for: the flags', else that of a scale that is half done, else the
    settings'. Raises BadSettings."""
    asked = {"data_centers": data_centers, "nodes": nodes}
    wrong = [f"{key}: {value!r} is not a whole number" for key, value in asked.items() if value and not value.isdigit()]
    if wrong:
        raise BadSettings(wrong)
    kept = shape_flags(project) | project.record().scaling
    centers, count = (int(asked[key] or kept[key]) for key in SHAPE)
    settings = replace(project.settings, data_centers=centers, nodes=count)
    wrong = rules.find_wrong(settings)
    if wrong:
        raise BadSettings(wrong)
    target = replace(project, settings=settings, running=None, gone=())
    return replace(target, flags={**project.flags, **shape_flags(target)})


def check(project: Project, data_centers: str, nodes: str) -> Checked:
    """Whether the cluster can take this shape now; nothing is touched. The caller holds the lock.

    `project` is as the settings say. Raises BadSettings, NotUp, Unhealthy, HalfDone while a host is being replaced,
    SubnetTaken when the block has no room for the networks, LosesStandbys when nobody would be left, and what the gates
    refuse with when nodes are made again.
    """
    if project.topology.machines:
        raise BadValue(
            "Among several machines the shape is not changed: the hosts there would not find the new ones",
            "inv destroy --keep-repository, then inv up restore with the other shape",
        )
    engine.require_engine(project)
    target, runs = target_of(project, data_centers, nodes), as_it_runs(project)
    record = project.record()
    if runs.running is None:
        raise NotUp(f"Project {project.name} is not up", "inv render with that shape, then inv up")
    others = {key: words for key, words in runs.running.differs.items() if key not in SHAPE}
    if others:
        raise Unhealthy(
            f"The settings differ from what runs: {'; '.join(others.values())}", "inv up applies them first"
        )
    if record.replacing:
        raise HalfDone(f"{record.replacing} is being replaced, and not whole again", "inv replace, then the same again")
    if not fits(target.topology, block_of(record.subnet)):
        raise SubnetTaken(f"{record.subnet} has no room for the networks of this shape", "docs/settings.md, Addresses")
    require_images(target)
    view = _require_well(runs, half_done=bool(record.scaling))
    staying = [m for m in view.members if target.topology.host(m.name) and (m == view.leader or m.streams)]
    if not staying:
        raise LosesStandbys("No member of the new shape has the data", "inv status")
    change = change_of(runs, target)
    if change.again and not record.scaling:
        # In the middle it would stop for the same reasons.
        require_open(runs, change.again)
    return Checked(target, change, view, tuple(node.name for node in runs.topology.nodes))


def _require_well(project: Project, *, half_done: bool) -> patroni.ClusterView:
    """The cluster's view. Raises Unhealthy unless every member streams and every etcd member is healthy, but for those
    that an interrupted command left on their way."""
    containers = engine.containers(project)
    require_undisturbed(project, containers)
    still = [
        f"{host.name} is {_state(containers, host)}" for host in project.topology.hosts if _state(containers, host)
    ]
    if still and not half_done:
        raise Unhealthy(f"Not every container runs: {', '.join(still)}", "inv up")
    view, etcd = read_view(project), read_etcd(project)
    require_not_paused(view)
    if view.leader is None:
        raise NoLeader("The cluster has no leader at the moment", "inv status")
    unwell = [*view.not_streaming([node.name for node in project.topology.nodes]), *etcd.unhealthy]
    if unwell and not half_done:
        raise Unhealthy(f"Not well: {', '.join(unwell)}", "inv status")
    return view


def _state(containers: dict[str, docker.Container], host: Host) -> str:
    """What a host's container does instead of running; nothing when it runs."""
    state = containers[host.name].state if host.name in containers else "missing"
    return "" if state == "running" else state


def change_of(runs: Project, target: Project) -> Change:
    """What is there, by the engine, beside what shall be."""
    containers, topology = engine.containers(runs), target.topology
    left = set(engine.given_up(runs)) if runs.gone else set()
    volumes = {volume.name.removeprefix(f"{runs.name}_") for volume in engine.volumes(runs)}
    there = {*containers, *volumes, *left}
    move = tuple(host.name for host in topology.etcd if _is_elsewhere(target, host, containers))
    create = tuple(host.name for host in topology.hosts if host.name not in containers)
    remove = tuple(sorted(name for name in there if topology.host(name) is None))
    changed = runs.topology.etcd != topology.etcd
    again = tuple(node.name for node in topology.nodes if changed and node.name in containers)
    anew = tuple(host.name for host in topology.hosts if host.name in runs.gone and host.name in {*volumes, *left})
    return Change(create, move, again, remove, anew)


def _is_elsewhere(project: Project, host: Host, containers: dict[str, docker.Container]) -> bool:
    return host.name in containers and f"{project.name}_{host.site.name}" not in containers[host.name].networks
