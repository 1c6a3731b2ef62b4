"""Play a scenario: a healthy cluster, clients, the fault, service again, healing, full redundancy, the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgha.cluster.clients import Login, connection_string
from pgha.cluster.view import node_names, read_view
from pgha.console import Progress
from pgha.drills import ledger
from pgha.drills.health import wait_until_whole
from pgha.drills.result import Marks, Result, broken_promises
from pgha.drills.scenarios import Scenario, Scene
from pgha.drills.traffic import Traffic, remove_table
from pgha.errors import Missing, PghaError, TimedOut
from pgha.failures import broken, disks, healing
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import close_all
from pgha.tools import postgres
from pgha.waiting import wait_until

READ_TIMEOUT = 60.0
"""Seconds the leader may take to show its rows at the end of a drill."""

LEAD_IN = 2.0
"""Seconds the clients work before anything breaks, and after everything is whole again."""


# Before -----------------------------------------------------------------------------------------------------


# One run ----------------------------------------------------------------------------------------------------


def play(project: Project, scenario: Scenario, run: int, folder: Path, progress: Progress) -> Result:
    """One run of a scenario; the caller holds the lock. A failed run leaves every container's log in `folder`.

    The cluster is healthy before. Whatever fails on the way, breaking and healing too, is a promise that was not kept
    and part of the result; `make_whole` then tries further. An interrupted run leaves the cluster whole.

    Raises Missing for a scenario this topology cannot play, TimedOut when the cluster is not healthy to begin with or
    its rows cannot be read at the end, ToolFailed when a client ended by a fault of its own, and what a scenario's
    preparation raises.
    """
    reason = scenario.needs(project.topology)
    if reason:
        raise Missing(f"{scenario.name} {reason}", "inv drill.list")
    scene = _scene(project, progress)
    with _healed_at_last(project, progress):
        if scenario.prepare:
            scenario.prepare(scene)
            scene = _scene(project, progress)
        traffic, marks = _traffic(project), Marks()
        problems: list[str] = []
        kept = folder / f"{scenario.name}-{run}"
        try:
            with traffic:
                traffic.go_on(LEAD_IN)
                with _told(problems):
                    _break(scenario, scene, traffic, marks, problems)
                _mend(project, scenario, traffic, marks, problems, progress)
                traffic.go_on(LEAD_IN)
                marks.ended = traffic.clock()
            result = _judge(project, scenario, run, scene, traffic, marks, problems)
        except PghaError:
            _keep_logs(project, traffic, kept)
            raise
        if result.missed or result.write_gap.seconds > scenario.allowed(project.settings):
            _keep_logs(project, traffic, kept)
    return result


@contextmanager
def _told(problems: list[str]) -> Iterator[None]:
    """A part that fails is a promise that was not kept. The drill goes on: to heal, and to its verdict."""
    try:
        yield
    except PghaError as error:
        problems.append(error.message)


def _scene(project: Project, progress: Progress) -> Scene:
    """The healthy cluster now; what the last scenario left is waited for."""
    with progress.stage("wait until the cluster is whole"):
        wait_until_whole(project, progress)
    return Scene(project, progress, read_view(project))


@contextmanager
def _healed_at_last(project: Project, progress: Progress) -> Iterator[None]:
    """What ends the drill early, Ctrl-C too, leaves the cluster whole and without the drill's table."""
    try:
        yield
    except BaseException:
        try:
            _heal_the_rest(project, progress)
            remove_table(connection_string(project, Login(), standby=False))
        except PghaError as error:
            # Why the drill ended is the news; this comes with it.
            progress.note(f"{error.message}; inv chaos.heal")
        raise


def _heal_the_rest(project: Project, progress: Progress) -> None:
    """Heal what is still broken, if anything, and wait until the cluster is whole. Raises TimedOut."""
    if broken.read(project) or any(container.state != "running" for container in engine.containers(project).values()):
        healing.heal(project, progress, wait=False)
    with progress.stage("wait until the cluster is whole"):
        wait_until_whole(project, progress)


def _traffic(project: Project) -> Traffic:
    ports = project.ports["postgres"]
    address = project.settings.client_address
    members = {
        name: postgres.conninfo(host=address, port=port, user="postgres", dbname="postgres",
                                passfile=str(project.pgpass), connect_timeout=2)
        for name, port in ports.items()
    }  # fmt: skip
    return Traffic(
        connection_string(project, Login(), standby=False),
        connection_string(project, Login(), standby=True),
        members,
        {port: name for name, port in ports.items()},
    )


def _break(scenario: Scenario, scene: Scene, traffic: Traffic, marks: Marks, problems: list[str]) -> None:
    """Inject, wait for service, look on."""
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
        _wait_for_service(scenario, scene, traffic, marks, problems)
    with scene.progress.stage(f"{scenario.name}: look on"):
        traffic.go_on(_hold(scenario, scene))


def _hold(scenario: Scenario, scene: Scene) -> float:
    return scenario.hold + (scene.project.settings.ttl if scenario.beyond_ttl else 0)


def _wait_for_service(scenario: Scenario, scene: Scene, traffic: Traffic, marks: Marks, problems: list[str]) -> None:
    assert marks.injected is not None
    since = marks.injected if scenario.new_leader else marks.broken or marks.injected
    other_than = scene.leader.name if scenario.new_leader else ""
    with _told(problems):
        marks.served = traffic.wait_for_service(since, other_than, 4 * scene.project.settings.ttl)


def _mend(
    project: Project, scenario: Scenario, traffic: Traffic, marks: Marks, problems: list[str], progress: Progress
) -> None:
    """Heal, and wait for full redundancy and, where healing brings it back, for service."""
    marks.healing = traffic.clock()
    with _told(problems), progress.stage(f"{scenario.name}: heal"):
        healing.heal(project, progress, wait=False)
        marks.healed = traffic.clock()
    healed = traffic.clock()
    with _told(problems), progress.stage(f"{scenario.name}: wait until the cluster is whole"):
        wait_until_whole(project, progress)
        marks.redundant = traffic.clock()
    close_all()
    with _told(problems):
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
            view = read_view(project)
            # Without a leader every member is taken for one that does not stream: then none may be wiped.
            for name in view.not_streaming(node_names(project)) if view.leader else []:
                progress.note(f"{name} does not stream: it is cloned again")
                disks.wipe(project, name)
            _heal_the_rest(project, progress)


# After ------------------------------------------------------------------------------------------------------


def _judge(
    project: Project, scenario: Scenario, run: int, scene: Scene, traffic: Traffic, marks: Marks, problems: list[str]
) -> Result:
    writes, reads, probes = tuple(traffic.writes), tuple(traffic.reads), tuple(traffic.probes)
    rows = wait_until(traffic.rows, lambda _: True, "The drill's rows can be read", timeout=READ_TIMEOUT)
    with _told(problems):
        remove_table(connection_string(project, Login(), standby=False))
    verdict = ledger.check(writes, rows, probes)
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
        missed=(*problems, *broken_promises(project.settings, verdict)),
        writes=writes,
        reads=reads,
        roles=traffic.roles,
    )


def _keep_logs(project: Project, traffic: Traffic, folder: Path) -> None:
    """Every container's log of the time of the drill."""
    for name in engine.containers(project):
        try:
            write_file(folder / f"{name}.log", engine.log_since(project, name, traffic.began_at - 30))
        except PghaError as error:
            write_file(folder / f"{name}.log", f"{error.message}\n")
