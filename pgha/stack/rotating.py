"""What all rotations have in common: whether one may begin, what it would do to whom, and how it is completed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pgha.cluster.rollout_record import describe_rollout, read_rollout
from pgha.errors import HalfDone, NotRendered, NotUp, PghaError, ToolFailed, Unhealthy
from pgha.project.coming import half_rotated
from pgha.project.passwords import GIVEN, ROTATED, kept_passwords
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.stack.writing import preview_project
from pgha.tools.command import Answer, Command

RUNS = ("running", "paused")


@dataclass(frozen=True)
class Way:
    """How a kind of identities, keys or certificates, is replaced in containers that run."""

    replaces: tuple[str, ...]
    own: tuple[str, ...]
    """secrets that say who a host is"""
    service: str
    """reads them when it is told to"""
    hosts: Callable[[Project], tuple[str, ...]]
    """who has them"""
    require: Callable[[Project, Collection[str]], None]
    """raises what stands in the way of a rotation on these hosts"""
    begin: Callable[[Project, Mapping[str, str]], None]
    trust_both: Callable[[Project], None]
    adopt: Callable[[Project], None]
    trust_new: Callable[[Project], None]
    bring_trusted: Callable[[Project, Collection[str]], None]
    """what says whom hosts trust"""
    bring_own: Callable[[Project, str], None]
    """what says who a host is"""
    lacks_trust: Callable[[Project, str], str]
    """what a host's service shows of whom it trusts that is not as the files here say"""
    lacks_own: Callable[[Project, str], str]
    """likewise of who it is"""
    prove: Callable[[Project, Collection[str]], None]
    """whether they are taken from one host to the next"""


@dataclass(frozen=True)
class Step:
    """A step of a rotation."""

    does: str
    hosts: tuple[str, ...]
    """on which, in this order or at once"""


@dataclass(frozen=True)
class RotationPlan:
    """What a rotation would do."""

    what: str
    resumed: bool
    """whether it goes on with one that is half done"""
    replaces: tuple[str, ...]
    steps: tuple[Step, ...]
    later: tuple[str, ...] = ()
    """hosts that do not run: they take it when they start"""
    given: tuple[str, ...] = ()
    """passwords that a setting names, and that stay as it says"""
    refusals: tuple[PghaError, ...] = ()
    """why it would not begin now"""


@dataclass(frozen=True)
class Rotated:
    """What a rotation did."""

    what: str
    done: tuple[str, ...]
    """what was replaced"""
    resumed: bool
    hosts: tuple[str, ...]
    """those that have it now"""
    seconds: float
    later: tuple[str, ...] = ()
    """hosts that did not run: they take it when they start"""
    given: tuple[str, ...] = ()
    """passwords that a setting names, and that stay as it says"""


def completes(what: str) -> str:
    """The way on while one is half done."""
    return f"inv rotate --what {what} completes it"


def require_rotatable(project: Project, what: str) -> bool:
    """Whether it goes on with one that is half done.

    Raises NotRendered, NotUp, and HalfDone while another rotation, or a rollout, is half done.
    """
    if kept_passwords(project) is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    engine.require_engine(project)
    if not engine.containers(project):
        raise NotUp(f"Project {project.name} has no containers", "inv up")
    half_done = half_rotated(project)
    if half_done and half_done != what:
        raise HalfDone(f"A rotation of the {half_done} is half done", completes(half_done))
    rollout = None if half_done else read_rollout(project)
    if rollout:
        sentence = describe_rollout(rollout)
        raise HalfDone(sentence[0].upper() + sentence[1:], f"{rollout.command} completes it")
    return half_done == what


def require_as_rendered(project: Project, hosts: Collection[str]) -> None:
    """What is brought into containers is rendered anew: nothing but what is rotated may be other than what they have.

    Raises NotUp when one of these hosts has no container that runs, Unhealthy.
    """
    # The settings may name passwords to come.
    none: dict[str, Any] = {GIVEN[name]: "" for name in ROTATED}
    settings = replace(project.settings, **none)
    services = preview_project(replace(project, settings=settings)).services
    containers = engine.containers(project)
    for name in hosts:
        container = containers.get(name)
        if container is None or container.state != "running":
            state = "does not run" if container is None or container.state != "paused" else "is frozen"
            raise NotUp(f"{name} {state}", "inv up")
        if container.config != services[name]["labels"]["pgha.config"]:
            raise Unhealthy(f"The files of {name} are not those it would be made with now", "inv up first")


def running_of(project: Project, hosts: Collection[str]) -> tuple[str, ...]:
    """Those of these hosts whose containers run, frozen ones, too."""
    containers = engine.containers(project)
    return tuple(name for name in hosts if name in containers and containers[name].state in RUNS)


def refuse_half_rotated(project: Project) -> None:
    """Raises HalfDone while something is being replaced and hosts run: they may have the old or the new one."""
    what = half_rotated(project)
    names = [host.name for host in project.topology.ssh_hosts]
    if what and engine.engine_problem(project) is None and running_of(project, names):
        raise HalfDone(f"A rotation of the {what} is half done", completes(what))


def everywhere(project: Project, commands: Mapping[str, Command], what: str) -> None:
    """Run a command on each of these hosts at once. Raises ToolFailed when one `what` (did not ...)."""
    for host, answer in connect(project).everywhere(commands).items():
        if isinstance(answer, PghaError):
            raise answer
        if isinstance(answer, Answer) and not answer.ok:
            raise ToolFailed(f"{host} {what}", answer.words, f"inv logs --node {host}")


@contextmanager
def completing(what: str) -> Iterator[None]:
    """Whatever goes wrong within says how to go on."""
    try:
        yield
    except PghaError as error:
        if completes(what) not in error.hint:
            error.hint = "; ".join(filter(None, (error.hint, completes(what))))
        raise
