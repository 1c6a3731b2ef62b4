"""What `up` will do to the containers, said before it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from pgha.model.addresses import networks as networks_in
from pgha.model.machines import Machine
from pgha.model.words import counted
from pgha.project.checkout import root_of
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.networks import every_network
from pgha.remote.readiness import find_compose
from pgha.tools.docker import PLUGIN, Container
from pgha.tools.ipam import LiveNetwork
from pgha.tools.versions import major

GONE = "their network is gone"

PORTS = "their published addresses or ports changed"

COMPOSE = "Compose "
"""How the reason begins when another Compose made a container."""

RUNNING = ("running", "paused", "restarting")


@dataclass(frozen=True)
class Rollout:
    """Hosts whose containers are created, made again (and why), or started. Whatever is in none stays as it is."""

    create: tuple[str, ...]
    again: dict[str, str]
    """host -> why"""
    start: tuple[str, ...]
    interrupted: tuple[str, ...]
    """those made again that run now"""
    renumbered: bool = False
    """Whether networks that are there have other addresses than they shall: Compose leaves a network as it was made."""

    def without(self, hosts: Collection[str]) -> Rollout:
        """The same for all others."""
        return replace(
            self,
            create=tuple(host for host in self.create if host not in hosts),
            again={host: why for host, why in self.again.items() if host not in hosts},
            start=tuple(host for host in self.start if host not in hosts),
        )

    def with_again(self, hosts: Mapping[str, str]) -> Rollout:
        """As this, and these hosts made again, too (and why): those that have a container."""
        there = {host: why for host, why in hosts.items() if host not in (*self.create, *self.again)}
        running = [host for host in there if host not in self.start]
        return replace(
            self,
            again={**self.again, **there},
            start=tuple(host for host in self.start if host not in there),
            interrupted=(*self.interrupted, *running),
        )

    @property
    def title(self) -> str:
        """The step's name."""
        create, again, start = (counted(len(hosts), "container") for hosts in (self.create, self.again, self.start))
        done = [
            *([f"create and start {create}"] if self.create else []),
            *([f"make {again} again"] if self.again else []),
            *([f"start {start}"] if self.start else []),
        ]
        return ", ".join(done) or "see that every container runs"

    @property
    def notes(self) -> list[str]:
        """A line a reason."""
        reasons: dict[str, list[str]] = {}
        for host, why in self.again.items():
            reasons.setdefault(why, []).append(host)
        return [f"made again, because {why}: {', '.join(hosts)}" for why, hosts in reasons.items()]


def plan(
    project: Project, services: Mapping[str, Any], block: IPv4Network, compose_version: Callable[[], str]
) -> Rollout:
    """Compare what is there with what was rendered. The images must be there."""
    containers = engine.containers(project)
    # v1 takes half a second to tell its version: the plugin, which is v2, is asked, and any where another one made a
    # container.
    asked = find_compose() == PLUGIN or any(c.made_by and major(c.made_by) != 1 for c in containers.values())
    compose = compose_version() if asked else ""
    images = engine.image_ids(service["image"] for service in services.values())
    networks = every_network(project)
    live = {network.id for network in networks}
    renumbered = _is_renumbered(project, block, networks)
    again = {}
    for host, service in services.items():
        if host in containers:
            container = containers[host]
            why = f"every container has a fixed address in {block}" if renumbered else ""
            why = why or _why(container, service, images[service["image"]], live, compose)
            if not why and container.folder not in ("", str(project.compose_file(_machine(project, host)).parent)):
                why = f"the checkout was moved from {root_of(container.folder)}"
            if why:
                again[host] = why
    there = {host: container.state for host, container in containers.items() if host in services}
    return Rollout(
        create=tuple(host for host in services if host not in there),
        again=again,
        start=tuple(host for host, state in there.items() if state not in RUNNING and host not in again),
        interrupted=tuple(host for host in again if there[host] in RUNNING),
        renumbered=renumbered,
    )


def _machine(project: Project, name: str) -> Machine | None:
    host = project.topology.host(name)
    return host.machine if host else None


def _is_renumbered(project: Project, block: IPv4Network, live: Iterable[LiveNetwork]) -> bool:
    own = networks_in(project.topology, block)
    wanted = {f"{project.name}_{name}": ((network.subnet,), (network.dynamic,)) for name, network in own.items()}
    return any(wanted.get(network.name, now) != now for network in live if (now := (network.subnets, network.ranges)))


def without_network(project: Project) -> list[str]:
    """Hosts whose containers were made for a network that is there no more: they cannot start."""
    live = {network.id for network in every_network(project)}
    return [host for host, container in engine.containers(project).items() if _is_lost(container, live)]


def _is_lost(container: Container, live: Collection[str]) -> bool:
    return any(identity and identity not in live for identity in container.networks.values())


def _why(container: Container, service: Mapping[str, Any], image: str, live: Collection[str], compose: str) -> str:
    """Why this container is made again; nothing when it stays."""
    labels = service["labels"]
    if _is_lost(container, live):
        return GONE
    if container.image != service["image"]:
        return f"the image is {service['image']} and no longer {container.image}"
    if container.image_id and container.image_id != image:
        return f"the image {service['image']} was built again"
    if container.config != labels["pgha.config"]:
        return "their files changed"
    if list(container.bindings) != sorted(service.get("ports", [])):
        return PORTS
    if container.checkout != labels["pgha.checkout"]:
        return "they are taken over" if container.checkout else "they did not say whose they are"
    if container.definition != labels["pgha.definition"]:
        return "what the compose file says of them changed"
    if compose and container.made_by and major(container.made_by) != major(compose):
        return f"{COMPOSE}{container.made_by} made them and this one is {compose}"
    return ""
