"""Play a scenario: a healthy cluster, clients, the fault, service again, healing, full redundancy, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from pgha.cluster import reaching
from pgha.cluster.clients import Login, connection_string
from pgha.cluster.view import node_names, read_view
from pgha.console import Progress
from pgha.drills import alerts, ledger, shape
from pgha.drills.health import wait_until_apart, wait_until_whole
from pgha.drills.result import Marks, Notes, Result, broken_promises
from pgha.drills.scenario import Scenario
from pgha.drills.scene import Scene, as_it_is
from pgha.drills.traffic import Traffic, remove_table
from pgha.errors import Missing, PghaError, TimedOut
from pgha.failures import broken, disks, healing
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import close_all
from pgha.remote.monitoring import read_alerts
from pgha.waiting import wait_until

READ_TIMEOUT = 60.0
"""Seconds the leader may take to show its rows at the end of a drill."""

LEAD_IN = 2.0
"""Seconds the clients work before anything breaks, and after everything is whole again."""


# One run ----------------------------------------------------------------------------------------------------


def play(project: Project, scenario: Scenario, run: int, folder: Path, progress: Progress) -> Result:
    """One run of a scenario; the caller holds the lock. A failed run leaves every container's log in `folder`.

    The cluster is healthy before. Whatever fails on the way, breaking and healing too, is a promise that was not kept
    and part of the result; `make_whole` then tries further. An interrupted run leaves the cluster whole.

    Raises Missing for a scenario this topology cannot play, TimedOut when the cluster is not healthy to begin with or
    its rows cannot be read at the end, ToolFailed when a client ended by a fault of its own, and what a scenario's
    preparation raises.
    """
    reason = scenario.lacking(project.settings, project.topology)
    if reason:
        raise Missing(f"{scenario.name} {reason}", "inv drill.list")
    project = as_it_is(project)
    scene = _scene(project, progress)
    with _healed_at_last(project, progress):
        if scenario.prepare:
            scenario.prepare(scene)
            scene = _scene(project, progress)
        traffic, marks = _traffic(project), Marks()
        notes = Notes()
        kept = folder / f"{scenario.name}-{run}"
        watch = _watch(project, traffic)
        try:
            with traffic, watch or nullcontext():
                traffic.go_on(LEAD_IN)
                with _told(notes):
                    _break(scenario, scene, traffic, marks, notes)
                if watch:
                    fault = marks.injected or traffic.clock()
                    notes.broken += alerts.await_named(watch, scenario.name, fault, traffic.go_on)
                _mend(scenario, scene, traffic, marks, notes)
                if watch:
                    notes.broken += alerts.await_quiet(watch, traffic.go_on)
                traffic.go_on(LEAD_IN)
                marks.ended = traffic.clock()
            result = _judge(project, scenario, run, scene, traffic, marks, notes)
            result = replace(result, alerts=watch.fired if watch else None)
        except PghaError:
            _keep_logs(project, traffic, kept)
            raise
        if result.missed or result.write_gap.seconds > scenario.allowed(project.settings):
            _keep_logs(project, traffic, kept)
    return result


def _watch(project: Project, traffic: Traffic) -> alerts.Watch | None:
    """Of the alerts, where there is monitoring."""
    if project.topology.monitoring is None:
        return None
    return alerts.Watch(lambda: read_alerts(project), traffic.clock)


@contextmanager
def _told(notes: Notes) -> Iterator[None]:
    """A part that fails is a promise that was not kept. The drill goes on: to heal, and to its verdict."""
    try:
        yield
    except PghaError as error:
        notes.broken.append(error.message)


def _scene(project: Project, progress: Progress) -> Scene:
    """The healthy cluster now; what the last scenario left is waited for."""
    with progress.stage("wait until the cluster is whole"):
        wait_until_whole(project, progress)
        wait_until_apart(project)
    return Scene(project, progress, read_view(project))


@contextmanager
def _healed_at_last(project: Project, progress: Progress) -> Iterator[None]:
    """What ends the drill early, Ctrl-C too, leaves the cluster whole and without the drill's table."""
    try:
        yield
    except BaseException:
        try:
            _heal_the_rest(project, progress)
            remove_table(connection_string(as_it_is(project), Login(), standby=False))
        except PghaError as error:
            # Why the drill ended is the news; this comes with it.
            progress.note(f"{error.message}; inv chaos.heal")
        raise


def _heal_the_rest(project: Project, progress: Progress) -> None:
    """Complete what was changed, heal what is still broken, and wait until the cluster is whole. Raises TimedOut."""
    shape.complete(project, progress)
    if broken.read(project) or any(container.state != "running" for container in engine.containers(project).values()):
        healing.heal(project, progress, wait=False)
    with progress.stage("wait until the cluster is whole"):
        wait_until_whole(project, progress)


def _traffic(project: Project) -> Traffic:
    ports, login = project.ports["postgres"], Login()
    members = {
        name: reaching.node_string(project, name, login.user, login.dbname, passfile=str(project.pgpass))
        for name in ports
    }
    return Traffic(
        connection_string(project, Login(), standby=False),
        connection_string(project, Login(), standby=True),
        members,
        ports,
    )


def _break(scenario: Scenario, scene: Scene, traffic: Traffic, marks: Marks, notes: Notes) -> None:
    """Inject, wait for service, look on, ask."""
    if scenario.first:
        with scene.progress.stage(f"{scenario.name}: what comes first"):
            scenario.first(scene)
    with scene.progress.stage(f"{scenario.name}: break"):
        marks.injected = traffic.clock()
        scenario.inject(scene)
        marks.broken = traffic.clock()
    if scenario.heals_service:
        traffic.go_on(_hold(scenario, scene))
        return
    if scenario.react:
        traffic.go_on(_hold(scenario, scene))
        scenario.react(scene)
    with scene.progress.stage(f"{scenario.name}: wait for service"):
        _wait_for_service(scenario, scene, traffic, marks, notes)
    if scenario.then:
        _break_next(scenario.name, scenario.then, scene, traffic, marks)
    with scene.progress.stage(f"{scenario.name}: look on"):
        traffic.go_on(_hold(scenario, scene))
    _inquire(scenario, scene, notes, "broken")


def _break_next(name: str, then: Callable[[Scene], None], scene: Scene, traffic: Traffic, marks: Marks) -> None:
    """The next fault, on the cluster as it is now: service has to come back from somebody else."""
    project, lost = scene.project, scene.leader.name
    # Clients are served a moment before the DCS says by whom.
    view = wait_until(
        lambda: read_view(project),
        lambda seen: seen.leader is not None and seen.leader.name != lost,
        "The next leader is known",
        timeout=project.settings.ttl,
        interval=0.2,
    )
    now = Scene(project, scene.progress, view)
    since = traffic.clock()
    marks.served = None
    with scene.progress.stage(f"{name}: break the next"):
        then(now)
    with scene.progress.stage(f"{name}: wait for service"):
        marks.served = traffic.wait_for_service(since, now.leader.name, 4 * project.settings.ttl)


def _inquire(scenario: Scenario, scene: Scene, notes: Notes, when: str) -> None:
    if scenario.inquire is None:
        return
    with _told(notes):
        found = scenario.inquire(scene)
        notes.asked.append(f"{when}: {found.words}")
        notes.broken += [f"{when}: {sentence}" for sentence in found.wrong]


def _hold(scenario: Scenario, scene: Scene) -> float:
    return scenario.hold + (scene.project.settings.ttl if scenario.beyond_ttl else 0)


def _wait_for_service(scenario: Scenario, scene: Scene, traffic: Traffic, marks: Marks, notes: Notes) -> None:
    assert marks.injected is not None
    since = marks.injected if scenario.new_leader else marks.broken or marks.injected
    other_than = scene.leader.name if scenario.new_leader else ""
    with _told(notes):
        marks.served = traffic.wait_for_service(since, other_than, 4 * scene.project.settings.ttl)


def _mend(scenario: Scenario, scene: Scene, traffic: Traffic, marks: Marks, notes: Notes) -> None:
    """Heal, and wait for full redundancy and, where healing brings it back, for service."""
    project, progress = scene.project, scene.progress
    marks.healing = traffic.clock()
    with _told(notes), progress.stage(f"{scenario.name}: heal"):
        if scenario.mend:
            scenario.mend(scene)
        else:
            healing.heal(project, progress, wait=False)
        marks.healed = traffic.clock()
    healed = traffic.clock()
    with _told(notes), progress.stage(f"{scenario.name}: wait until the cluster is whole"):
        wait_until_whole(project, progress)
        marks.redundant = traffic.clock()
        _inquire(scenario, scene, notes, "whole again")
    close_all()
    with _told(notes):
        served = traffic.wait_for_service(healed, "", 4 * project.settings.ttl)
        marks.served = served if scenario.heals_service else marks.served


def make_whole(project: Project, progress: Progress) -> None:
    """After a run that did not end with a whole cluster: heal once more, clone again what does not come back by itself.

    Its verdict is there and its logs are kept: now data may go. Raises TimedOut when the cluster is still not whole.
    """
    with _healed_at_last(project, progress):
        try:
            _heal_the_rest(project, progress)
        except TimedOut:
            project = as_it_is(project)
            view = read_view(project)
            # Without a leader every member is taken for one that does not stream: then none may be wiped.
            for name in view.not_streaming(node_names(project)) if view.leader else []:
                progress.note(f"{name} does not stream: it is cloned again")
                disks.wipe(project, name)
            _heal_the_rest(project, progress)


# After ------------------------------------------------------------------------------------------------------


def _judge(
    project: Project, scenario: Scenario, run: int, scene: Scene, traffic: Traffic, marks: Marks, notes: Notes
) -> Result:
    writes, reads, probes = tuple(traffic.writes), tuple(traffic.reads), tuple(traffic.probes)
    if scenario.new_history:
        writes, probes = ledger.numbered_on(writes, probes, marks.injected or 0.0)
    conninfo = connection_string(as_it_is(project), Login(), standby=False)
    rows = wait_until(
        lambda: traffic.rows(conninfo), lambda _: True, "The drill's rows can be read", timeout=READ_TIMEOUT
    )
    with _told(notes):
        remove_table(conninfo)
    verdict = ledger.check(writes, rows, probes)
    if scenario.compare:
        with _told(notes):
            found = scenario.compare(scene, (*writes, *probes), verdict, traffic.began_at)
            notes.asked.append(found.words)
            notes.broken += found.wrong
    has_standby = len(project.topology.nodes) > 1
    gap = ledger.longest_gap(ledger.acknowledged_at(writes), LEAD_IN / 2, marks.ended)
    return Result(
        scenario=scenario.name,
        run=run,
        leader=scene.leader.name,
        began_at=traffic.began_at,
        marks=marks,
        verdict=verdict,
        write_gap=gap,
        read_gap=ledger.longest_gap([r.ended for r in reads], LEAD_IN / 2, marks.ended) if has_standby else None,
        stale=ledger.staleness(reads, writes),
        new_leader=ledger.new_leader_after(writes, marks.injected or 0.0),
        missed=(*notes.broken, *broken_promises(project.settings, verdict, may_lose=scenario.may_lose)),
        writes=writes,
        reads=reads,
        roles=traffic.roles,
        asked=tuple(notes.asked),
    )


def _keep_logs(project: Project, traffic: Traffic, folder: Path) -> None:
    """Every container's log of the time of the drill."""
    for name in engine.containers(project):
        try:
            write_file(folder / f"{name}.log", engine.log_since(project, name, traffic.began_at - 30))
        except PghaError as error:
            write_file(folder / f"{name}.log", f"{error.message}\n")
