"""The stack's life: up, stop, start; removal.py has its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pgha.cluster.configuration import apply_settings
from pgha.cluster.etcd_members import replace_lost
from pgha.cluster.role_passwords import set_back_passwords
from pgha.cluster.rolling import Rolled
from pgha.cluster.rollout import NOT_THERE, Plan
from pgha.cluster.rollout_record import forget_rollout
from pgha.cluster.slots import await_slots, warnings_of_new_slots
from pgha.cluster.view import wait_until_well
from pgha.console import Progress
from pgha.errors import BadValue, NotRendered, NotUp, PortTaken, SubnetTaken, ToolFailed, Unhealthy
from pgha.failures import broken
from pgha.project import maintenance
from pgha.project.project import Project
from pgha.project.running import note_running
from pgha.remote import apart, connections, engine, networks, readiness, shell
from pgha.stack import crontab, ownership, probing, remaking, rolling, silencing, transport
from pgha.stack.delivery import deliver_keys
from pgha.stack.fit import fitting_passwords
from pgha.stack.images import require_images
from pgha.stack.maintenance import stopped
from pgha.stack.rollout import GONE, Rollout, plan, without_network
from pgha.stack.rotating import refuse_half_rotated
from pgha.stack.shipping import ship_images
from pgha.stack.writing import RenderReport, preview_project, render_project
from pgha.tools import docker, ipam, patroni
from pgha.waiting import Stopwatch


@dataclass(frozen=True)
class UpReport:
    """The running cluster, and what `up` had to do."""

    view: patroni.ClusterView
    seconds: float
    notes: tuple[str, ...]
    rolled: Rolled | None = None
    """the containers that were made again one after another"""


def up(project: Project, progress: Progress, *, take_over: bool = False, at_once: bool = False) -> UpReport:
    """Create and start everything, and return when every member streams. The caller holds the lock.

    Containers that run and have to be made again are, one after another; with `at_once`, or where that cannot be, all
    together. With `take_over` the project is this checkout's from then on, if the settings fit its data.

    Raises Missing for what has to be there first, OtherTransport when TLS is switched on or off and not `at_once`,
    TimedOut when a member does not come.
    """
    _require_all(project, at_once=at_once)
    if take_over:
        ownership.take_over(project)
    clock = Stopwatch()
    report = _render(project, progress, at_once=at_once)
    planned = _compare(project, report)
    probing.require_reach(project, planned.create, report.ports, progress)
    way = rolling.choose_way(project, planned, at_once=at_once, stopped=_stopped(project))
    _announce(project, way, progress)
    notes = list(report.moved)
    rolled = rolling.roll_out(project, way, progress) if way.turns else None
    if rolled:
        planned = _compare(project, report).without(way.left_out)
        if planned.interrupted:
            changed = ", ".join(planned.interrupted)
            raise Unhealthy(f"Something changed meanwhile: {changed} would have to be made again once more", "inv up")
    with progress.stage(planned.title):
        _compose_up(project, planned, progress, way.left_out)
    maintenance.remove(project, [name for name in _names(project) if name not in way.left_out])
    note_running(project)
    back = networks.reconnect(project)
    notes += [f"{name} was not on all its networks at its own addresses: it is again" for name in back]
    connections.close_all()
    transport.complete(project, progress)
    view = _wait_until_well(project, progress, notes.append, way.nodes(project))
    silencing.settle(project, [name for name in _names(project) if name not in way.left_out], progress)
    deliver_keys(project)
    lost = replace_lost(project, progress, way.left_out)
    notes += [f"{name} had lost its data: etcd took it out and in again" for name in lost]
    record = project.record()
    if record.replacing:
        # Its container is there, and streams: `up` has completed what `inv replace` began.
        project.write_record(replace(record, replacing=""))
    if record.scheduled:
        crontab.install(project, running(project))
    for warning in warnings_of_new_slots(project):
        progress.note(warning)
    notes += [f"dynamic configuration: {line}" for line in apply_settings(project)]
    notes += await_slots(project, progress)
    forget_rollout(project, rolling.VERB)
    return UpReport(view, clock.seconds, tuple(notes), rolled)


def plan_up(project: Project, *, at_once: bool = False, newer: Mapping[str, str] | None = None) -> Plan:
    """What `up` would do to which container, and why it would not begin now; nothing is changed.

    With `newer` as if these hosts had newer images: host -> why. Raises as `up` does before it begins, and Damaged when
    a key would have to be made first.
    """
    _require_all(project, at_once=at_once)
    if not engine.containers(project):
        return Plan(rolling.VERB, remaking.ACTION, first=dict.fromkeys(_names(project), NOT_THERE))
    planned = _compare(project, preview_project(project)).with_again(newer or {})
    way = rolling.choose_way(project, planned, at_once=at_once, stopped=_stopped(project))
    return rolling.plan_of(project, way, gates=True)


def _render(project: Project, progress: Progress, *, at_once: bool) -> RenderReport:
    ship_images(project, progress)
    if at_once:
        transport.begin(project, progress)
    return render_project(project, at_once=at_once)


def _names(project: Project) -> list[str]:
    return [host.name for host in project.topology.hosts]


def _require_all(project: Project, *, at_once: bool) -> None:
    engine.require_engine(project)
    if not at_once:
        transport.require_same(project)
    refuse_half_rotated(project)
    if not project.topology.machines:
        readiness.require_fitting_compose()
    fitting_passwords(project)
    require_images(project)


def _compare(project: Project, report: RenderReport) -> Rollout:
    return plan(project, report.services, report.block, readiness.compose_version)


def _announce(project: Project, way: rolling.Way, progress: Progress) -> None:
    """Say it before containers that run are made again."""
    for note in _ended_maintenance(project) if not way.left_out else ():
        progress.note(note)
    if way.turns or way.at_once:
        for line in rolling.plan_of(project, way).describe():
            progress.note(line)
        return
    for note in way.planned.notes:
        progress.note(note)


def _stopped(project: Project) -> list[str]:
    return [entry.host for entry in stopped(project, engine.containers(project))]


def _ended_maintenance(project: Project) -> list[str]:
    """A sentence for each host that was stopped on purpose: a command that is about all of them starts it again. They
    return when every member streams, and one left out would be forgotten."""
    return [f"{host} was stopped for maintenance: it is started again" for host in _stopped(project)]


def _compose_up(project: Project, planned: Rollout, progress: Progress, left_out: Collection[str] = ()) -> None:
    with broken.ended_by_start(project):
        engine.revive(project)
        if planned.renumbered:
            # Compose 1.29 leaves a network as it was made, and containers cannot get their addresses in it.
            if engine.remove_clones(project):
                progress.note("the clone hung on a network that is made again, and is removed")
            engine.compose(project, "Compose could not take the stack down", "down", "--remove-orphans", timeout=600,
                           line=progress.detail)  # fmt: skip
        # Compose starts what is there with the networks it had, and cannot when they are gone.
        lost = [host for host, why in planned.again.items() if why == GONE]
        if lost:
            engine.remove(project, lost)
        try:
            only = ["--no-deps", *(name for name in _names(project) if name not in left_out)] if left_out else []
            if project.topology.machines:
                # Compose need not know how to make a container again, on whatever engines there are.
                apart.take_away(project, planned.again)
            if not planned.again or project.topology.machines:
                # Somebody may have built an image since: what was not announced stays.
                only.insert(0, "--no-recreate")
            engine.compose(project, "Compose could not start the stack", "up", "--detach", "--remove-orphans", *only,
                           line=progress.detail)  # fmt: skip
        except ToolFailed as error:
            if ipam.is_overlap(error.words):
                raise _subnet_taken(project) from None
            if ports := docker.taken_ports(error.words):
                raise _port_taken(ports) from None
            raise


def _subnet_taken(project: Project) -> SubnetTaken:
    """Somebody made a network after the block had been chosen."""
    subnet = project.record().subnet
    hint = "set subnet to another network" if project.settings.subnet else "inv up chooses others"
    return SubnetTaken(f"The addresses for the containers, {subnet}, were taken by another network meanwhile", hint)


def _port_taken(ports: Sequence[str]) -> PortTaken:
    """Somebody began to listen there after the ports had been chosen: another project, for one."""
    which = f"Port {ports[0]} was" if len(ports) == 1 else f"Ports {', '.join(ports)} were"
    return PortTaken(f"{which} taken by another program or project meanwhile", "inv up takes the next free ones")


def require_rendered(project: Project) -> None:
    if not project.rendered:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")


def stop(project: Project, progress: Progress) -> None:
    """Stop the containers and keep them."""
    compose(project, progress, "stop", "Compose could not stop the stack", "stop")


def start(project: Project, progress: Progress) -> patroni.ClusterView:
    """Start stopped containers; returns when every member streams."""
    engine.require_engine(project)
    require_rendered(project)
    if not engine.containers(project):
        raise NotUp(f"Project {project.name} has no containers to start", "inv up")
    lost = without_network(project)
    if lost:
        raise NotUp(f"The network of {', '.join(lost)} is gone", "inv up makes it and them again; all data stay")
    for note in _ended_maintenance(project):
        progress.note(note)
    with broken.ended_by_start(project):
        compose(project, progress, "start", "Compose could not start the stack", "start")
        # Compose 1.29 reports no error when a port is taken.
        away = [name for name, c in engine.containers(project).items() if c.state in ("exited", "created")]
        if away:
            with progress.stage(f"start {', '.join(away)} once more"):
                engine.start(project, away, hint="inv start")
    maintenance.clear(project)
    view = _wait_until_well(project, progress, progress.note)
    silencing.settle(project, _names(project), progress)
    return view


def _wait_until_well(
    project: Project, progress: Progress, tell: Callable[[str], None], names: Sequence[str] | None = None
) -> patroni.ClusterView:
    """No replica connects, and no client logs in, with another password than the role has: those are set first."""

    def set_back(leader: str) -> None:
        for note in set_back_passwords(project, leader):
            tell(note)

    with progress.stage("wait until every member streams"):
        timeout = project.settings.up_timeout
        return wait_until_well(project, timeout=timeout, detail=progress.detail, on_leader=set_back, names=names)


def compose(project: Project, progress: Progress, title: str, message: str, *arguments: str) -> None:
    """Have Compose do it to the whole stack, also to frozen containers. Raises NotRendered, or ToolFailed."""
    engine.require_engine(project)
    require_rendered(project)
    connections.close_all()
    engine.revive(project)
    with progress.stage(title):
        engine.compose(project, message, *arguments, timeout=600, line=progress.detail)


def running(project: Project) -> list[str]:
    """The hosts whose containers run, frozen ones, too. Raises Missing without an engine."""
    engine.require_engine(project)
    return [name for name, c in engine.containers(project).items() if c.state in ("running", "paused")]


def show_logs(project: Project, host: str, *, follow: bool, tail: int) -> int:
    """Give this terminal to a container's log, or the whole project's; returns the exit code."""
    if not (host and project.topology.machines):
        engine.require_engine(project)
    require_rendered(project)
    if host:
        # Of several machines only its own has to answer.
        environment = engine.engine_of(project, host).environment
        return shell.attach(docker.logs(project.container(host), follow=follow, tail=tail), environment)
    if project.topology.machines:
        raise BadValue("The logs of several machines do not come together", "inv logs --node pg1-node1")
    arguments = ["logs", "--tail", str(tail), *(["--follow"] if follow else [])]
    return shell.attach(readiness.require_compose().command(project.compose_file(), project.name, *arguments))
