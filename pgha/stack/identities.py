"""Other SSH keys, or other certificates, for a running project: nothing is made again, and no client's connection ends.

First every host trusts the old and the new ones, then one after another gets its own new one, then only the new ones
are trusted. The files here go first in each step: a container that starts meanwhile takes what fits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from pgha.console import Progress
from pgha.errors import BadValue, NotRendered, PghaError, Unhealthy
from pgha.failures import broken
from pgha.project import coming
from pgha.project.coming import CERTIFICATES, KEYS
from pgha.project.files import write_file
from pgha.project.keys import adopt_keys, authorized_keys_text, begin_keys, host_public_key, known_hosts_text
from pgha.project.passwords import kept_passwords
from pgha.project.project import Project
from pgha.remote import connections, engine
from pgha.remote.connections import connect
from pgha.stack import certified, postgres_tls
from pgha.stack.delivery import bring
from pgha.stack.rendering import identities, identity_marks
from pgha.stack.rotating import (
    Rotated,
    RotationPlan,
    Step,
    Way,
    completing,
    everywhere,
    require_as_rendered,
    require_rotatable,
    running_of,
)
from pgha.tools import trust
from pgha.waiting import Stopwatch, wait_until


def rotate_identities(project: Project, what: str, progress: Progress) -> Rotated:
    """Replace every SSH key (KEYS) or every certificate with the authority (CERTIFICATES). The caller holds the lock.

    Interrupted anywhere the same command completes it. Raises as `check`, and ToolFailed, TimedOut at the first host
    that does not take it.
    """
    clock, way = Stopwatch(), WAYS[what]
    resumed = check(project, what)
    hosts, later = _hosts(project, way)
    if resumed:
        progress.note(f"a rotation of the {what} is half done: this goes on with it")
    else:
        way.begin(project, _marks(project))
    with completing(what):
        with progress.stage(f"trust the old and the new ones: {', '.join(hosts)}"):
            way.trust_both(project)
            way.bring_trusted(project, hosts)
            _wait(project, way, way.lacks_trust, hosts)
        way.adopt(project)
        for host in hosts:
            with progress.stage(f"new ones of its own, read by its {way.service}: {host}"):
                way.bring_own(project, host)
                _wait(project, way, way.lacks_own, [host])
        with progress.stage(f"trust only the new ones: {', '.join(hosts)}"):
            way.trust_new(project)
            way.bring_trusted(project, hosts)
            _wait(project, way, way.lacks_trust, hosts)
            way.prove(project, hosts)
    _settle(project, what)
    if what == CERTIFICATES and project.settings.tls:
        postgres_tls.note_clone(project, progress)
    return Rotated(what, way.replaces, resumed, hosts, clock.seconds, later)


def plan_identities(project: Project, what: str) -> RotationPlan:
    """What a rotation would do; nothing is touched."""
    way = WAYS[what]
    hosts, later = _hosts(project, way)
    resumed, refusals = False, []
    try:
        resumed = check(project, what)
    except PghaError as error:
        refusals.append(error)
    return RotationPlan(what, resumed, way.replaces, _steps(way, hosts), later, refusals=tuple(refusals))


def check(project: Project, what: str) -> bool:
    """Whether it goes on with one that is half done; touches nothing.

    Raises BadValue with neither TLS nor a repository, HalfDone, NotUp, Unhealthy when a host cannot be given other
    files, LosesQuorum and NoQuorum when etcd's members cannot be started again.
    """
    way = WAYS[what]
    names = way.hosts(project)
    if not names:
        raise BadValue(
            "This project runs without TLS and without pgBackRest, and has no certificates", "inv rotate --what keys"
        )
    resumed = require_rotatable(project, what)
    containers = engine.containers(project)
    for name in names:
        state = containers[name].state if name in containers else "gone"
        if state in ("paused", "restarting", "dead"):
            raise Unhealthy(f"{name} is {state}: nothing can be brought into its container", "inv up")
    left = broken.still(project, containers.values())
    if left:
        raise Unhealthy(f"The cluster is still broken by chaos: {left[0]}", "inv chaos.heal")
    running = _hosts(project, way)[0]
    if not resumed:
        require_as_rendered(project, running)
    way.require(project, running)
    return resumed


def settle(project: Project) -> None:
    """Complete on this host's side what was half done, when no container is left that has an old one."""
    for what, way in WAYS.items():
        if coming.coming(project, what).exists():
            way.adopt(project)
            way.trust_new(project)
            coming.forget(project, what)


def _hosts(project: Project, way: Way) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that run, and those that do not: they take the present files when they start."""
    names = way.hosts(project)
    running = running_of(project, names)
    return running, tuple(name for name in names if name not in running)


def _marks(project: Project) -> dict[str, str]:
    passwords = kept_passwords(project)
    if passwords is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    return identity_marks(project, passwords)


def _steps(way: Way, hosts: tuple[str, ...]) -> tuple[Step, ...]:
    return (
        Step("trust the old and the new ones", hosts),
        Step(f"one after another: new ones of its own, read by its {way.service}", hosts),
        Step("trust only the new ones", hosts),
    )


def _wait(project: Project, way: Way, lacks: Callable[[Project, str], str], hosts: Collection[str]) -> None:
    """Asked over SSH, by new connections where that is what changes."""

    def lacking() -> dict[str, str]:
        return {host: why for host in hosts if (why := lacks(project, host))}

    if way.service == "sshd":
        connections.close_all()
    wait_until(
        lacking,
        lambda left: not left,
        f"Every {way.service} has read its files again",
        timeout=30,
        explain=lambda left: "; ".join(f"{host} {why}" for host, why in left.items()),
        hint="inv status",
    )


def _settle(project: Project, what: str) -> None:
    """What tells that all is done comes last: until then the same command completes it."""
    passwords = kept_passwords(project)
    if passwords:
        before, now = identity_marks(project, passwords), identities(project, passwords)
        stands_for = {now[host]: mark for host, mark in before.items() if host in now and now[host] != mark}
        project.write_record(replace(project.record(), identities=stands_for))
    coming.forget(project, what)


# SSH keys ---------------------------------------------------------------------------------------------------


def _ssh_hosts(project: Project) -> tuple[str, ...]:
    return tuple(host.name for host in project.topology.ssh_hosts)


def _bring_known(project: Project, hosts: Collection[str]) -> None:
    # sshd reads the file of those it lets in each time.
    bring(project, hosts, ("authorized_keys", "known_hosts"))


def _bring_keys(project: Project, host: str) -> None:
    bring(project, [host], ("host_key", "id_ed25519"), "sshd")


def _know_both(project: Project) -> None:
    write_file(project.known_hosts, known_hosts_text(project))
    write_file(project.folder / "authorized_keys", authorized_keys_text(project))


def _know_new(project: Project) -> None:
    write_file(project.known_hosts, known_hosts_text(project, settled=True))
    write_file(project.folder / "authorized_keys", authorized_keys_text(project, settled=True))


def _lets_in(project: Project, host: str) -> str:
    """The connection is made with the operator's present key."""
    connect(project).must(host, trust.nothing(), f"{host} cannot be asked")
    return ""


def _lacks_key(project: Project, host: str) -> str:
    answer = connect(project).must(host, trust.ask_host_key(), f"The host key of {host} cannot be asked for")
    return "" if trust.parse_host_key(answer.stdout) == host_public_key(project, host) else "shows its former host key"


def _prove_keys(project: Project, hosts: Collection[str]) -> None:
    """Each host reaches the next one with the key of the containers."""
    names = list(hosts)
    ring = {name: trust.reach(names[(n + 1) % len(names)]) for n, name in enumerate(names)}
    everywhere(project, ring, "did not reach the next host over SSH")


WAYS = {
    KEYS: Way(
        replaces=("the operator's key", "the containers' key", "every host key"),
        own=("host_key", "id_ed25519"),
        service="sshd",
        hosts=_ssh_hosts,
        require=lambda project, hosts: None,
        begin=begin_keys,
        trust_both=_know_both,
        adopt=adopt_keys,
        trust_new=_know_new,
        bring_trusted=_bring_known,
        bring_own=_bring_keys,
        lacks_trust=_lets_in,
        lacks_own=_lacks_key,
        prove=_prove_keys,
    ),
    CERTIFICATES: certified.WAY,
}
