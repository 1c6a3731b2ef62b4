"""One look at everything, for `inv status`: it shows what can be seen, whatever is broken."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from pgha.backup import clones, restore_record, verification
from pgha.backup.stanza import read_facts, read_stanza
from pgha.cluster.clients import log_in
from pgha.cluster.quorum import etcd_view, read_lock
from pgha.cluster.rollout_record import read_rollout
from pgha.cluster.slots import read_coverage
from pgha.cluster.view import agreed_view, ask_members, cut_off, node_names, read_members
from pgha.errors import Missing, NotUp, PghaError, Unreachable
from pgha.failures import broken
from pgha.project.coming import half_rotated
from pgha.project.project import Project
from pgha.project.repositories import former
from pgha.project.successors import terms
from pgha.project.upgrade_record import read_upgrade
from pgha.recover.record import read_recovery
from pgha.remote import engine, networks
from pgha.remote.connections import connect
from pgha.remote.engines import Engine, at_once, engines, require_any
from pgha.remote.monitoring import read_targets
from pgha.stack import crontab, maintenance
from pgha.status.kinds import Problem
from pgha.status.problems import find_problems, next_command
from pgha.status.seen import Seen, leading, or_error
from pgha.tools import docker
from pgha.tools.leader import Facts
from pgha.tools.patroni import Told
from pgha.tools.prometheus import Target
from pgha.tools.slots import SlotCoverage

Asked = Future[dict[str, "Told | PghaError"]]
"""What some members will have said."""


@dataclass(frozen=True)
class Survey:
    """What was seen, and what is wrong with it."""

    seen: Seen
    problems: tuple[Problem, ...]

    @property
    def healthy(self) -> bool:
        return not self.problems

    @property
    def hint(self) -> str:
        """The next command when something is wrong."""
        return next_command(self.problems)


def take(project: Project) -> Survey:
    """Ask everyone at once.

    Raises NotUp when nothing runs, and the first node's error when no node at all can be asked.
    """
    with ThreadPoolExecutor() as pool:
        containers, asked = _begin(project, pool)
        if not any(container.state == "running" for container in containers.values()):
            state = "stopped" if containers else "not up"
            raise NotUp(f"Project {project.name} is {state}", "inv start" if containers else "inv up")
        away = {host: container.state for host, container in containers.items() if container.state != "running"}
        with connect(project).leaving_out(away):
            seen = look(project, containers, asked)
    return Survey(seen, find_problems(seen))


def _begin(project: Project, pool: Executor) -> tuple[dict[str, docker.Container], tuple[Asked, ...]]:
    """All containers, and what the members that run are being asked: each as soon as its own machine has answered. To
    find that a machine is away takes two seconds; the other members take as long, waiting for etcd's member there.

    Raises as `engine.require_any_engine`.
    """
    nodes = set(node_names(project))

    def begin(there: Engine) -> tuple[PghaError | None, list[docker.Container], Asked]:
        problem = there.problem
        # A machine's hosts are shown, whatever it says; without this host's own engine there is nothing to show.
        found = [] if problem and there.machine is None else engine.containers_on(project, there)
        running = [container.service for container in found if container.state == "running"]
        return problem, found, pool.submit(ask_members, project, [name for name in running if name in nodes])

    problems, listed, asked = zip(*at_once(engines(project), begin), strict=True)
    require_any(problems)
    return engine.kept(project, listed), asked


def look(project: Project, containers: dict[str, docker.Container], asked: Iterable[Asked] = ()) -> Seen:
    """Read everything, as much at once as does not depend on something else; what members are already `asked`, not
    again. Raises the error of `_of_any`."""
    half_done, record = restore_record.read_restore(project), project.record()
    hosts, has_repository = project.topology.hosts, project.topology.repository is not None
    with ThreadPoolExecutor(max_workers=6) as pool:
        stanza_ = pool.submit(or_error, lambda: read_stanza(project)) if has_repository else None
        kept_ = pool.submit(or_error, lambda: verification.read_kept(project))
        targets_ = pool.submit(_targets, project, containers)
        clone_ = pool.submit(or_error, lambda: clones.find(project)) if has_repository else None
        known = {name: told for answers in asked for name, told in answers.result().items()}
        told = _of_any(read_members(project, known))
        view = or_error(lambda: agreed_view(project, told))
        leader = leading(view, told)
        login_ = pool.submit(or_error, lambda: log_in(project, leader or "")) if leader else None
        facts = or_error(lambda: read_facts(project, leader)) if leader else None
        return Seen(
            hosts={host.name: host.site.name for host in hosts},
            machines={host.name: host.machine.name for host in hosts if host.machine},
            networks={host.name: networks.networks_of(project, host) for host in hosts},
            containers=containers,
            told=told,
            late=cut_off(project, told),
            view=view,
            etcd=or_error(lambda: etcd_view(project, told)),
            stanza=stanza_.result() if stanza_ else None,
            facts=facts,
            login=login_.result() if login_ else None,
            slots=_coverage(project, leader, facts),
            differs=project.running.differs if project.running else {},
            lock=None if leader else or_error(lambda: read_lock(project, told)),
            wanted_slots=project.settings.slots,
            kept=kept_.result(),
            jobs=tuple(crontab.jobs(project)),
            broken=or_error(lambda: tuple(broken.still(project, containers.values()))),
            rollout=or_error(lambda: read_rollout(project)),
            maintenance=or_error(lambda: maintenance.stopped(project, containers)),
            rotating=or_error(lambda: half_rotated(project)),
            terms=or_error(lambda: tuple(terms(project))),
            half_done=half_done,
            recovery=or_error(lambda: read_recovery(project)),
            gone=_gone(project),
            upgrade=or_error(lambda: read_upgrade(project)),
            scaling=record.scaling,
            replacing=record.replacing,
            ports=project.ports,
            former=former(project) if has_repository else 0,
            clone=clone_.result() if clone_ else None,
            targets=targets_.result(),
        )


def _targets(project: Project, containers: dict[str, docker.Container]) -> tuple[Target, ...] | PghaError:
    """Whom Prometheus asks; nobody while the monitoring does not run: that is said as of any container."""
    host = project.topology.monitoring
    runs = host is not None and host.name in containers and containers[host.name].state == "running"
    return or_error(lambda: read_targets(project)) if runs else ()


def _of_any(told: dict[str, Told | PghaError]) -> dict[str, Told | PghaError]:
    """What the nodes told. Raises the first one's error when none at all can be asked."""
    unreachable = [answer for answer in told.values() if isinstance(answer, (Unreachable, Missing))]
    if len(unreachable) == len(told):
        raise unreachable[0]
    return told


def _gone(project: Project) -> dict[str, str]:
    back = engine.given_up(project) if project.gone else {}
    return {host: back[host].state if host in back else "" for host in project.gone}


def _coverage(project: Project, leader: str | None, facts: Facts | PghaError | None) -> tuple[SlotCoverage, ...]:
    """Asked only where there is a logical slot: then every member has to be."""
    if leader is None or not isinstance(facts, Facts) or all(slot.type != "logical" for slot in facts.slots):
        return ()
    found = or_error(lambda: read_coverage(project, leader))
    return () if isinstance(found, PghaError) else found
