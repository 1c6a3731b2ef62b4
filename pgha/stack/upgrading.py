"""A minor upgrade: images with the newest packages, then containers made again one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pgha.cluster.rollout import Plan
from pgha.console import Progress
from pgha.errors import NotUp, ToolFailed, Unreachable
from pgha.model.releases import Release
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.engine import HERE
from pgha.stack import lifecycle
from pgha.stack.images import IMAGES, build_images, require_images
from pgha.stack.lifecycle import UpReport
from pgha.tools import packages, pip
from pgha.tools.packages import PARTS, Newer

Versions = Mapping[str, str]
"""Part -> version: PostgreSQL, Patroni, pgBackRest, etcd."""


@dataclass(frozen=True)
class Looked:
    """What the hosts run, and what there is newer."""

    runs: dict[str, Versions]
    """host -> what its container is made of"""
    newer: dict[str, tuple[Newer, ...]]
    """image -> what its mirror, or this checkout, has newer; images without anything newer are left out"""
    hosts: dict[str, str]
    """host -> its image"""

    def because(self) -> dict[str, str]:
        """Host -> why its container is made again."""
        return {host: _said(self.newer[image]) for host, image in self.hosts.items() if image in self.newer}


@dataclass(frozen=True)
class Upgraded:
    """What was done; `up` is None when nothing had to be."""

    before: dict[str, Versions]
    after: dict[str, Versions]
    newer: dict[str, tuple[Newer, ...]]
    made_again: tuple[str, ...]
    up: UpReport | None


KNOWN = ("postgresql-", "patroni", "pgbackrest", "etcd-server", "prometheus")
"""How the packages begin that are named to the operator."""


def _said(found: Iterable[Newer]) -> str:
    """The parts an operator knows by name, of the others how many."""
    entries = list(found)
    known = [str(newer) for newer in entries if newer.package.startswith(KNOWN)]
    rest = len(entries) - len(known)
    if rest:
        known.append(f"{rest} {'other ' if known else ''}package{'' if rest == 1 else 's'}")
    return f"newer: {', '.join(known)}"


def look(project: Project, progress: Progress) -> Looked:
    """Ask the package mirrors. Nothing is changed.

    Raises NotBuilt, NotUp without containers, Unreachable when a mirror cannot be reached.
    """
    engine.require_engine(project)
    require_images(project)
    containers = engine.containers(project)
    if not containers:
        raise NotUp(f"Project {project.name} has no containers to upgrade", "inv build --no-cache, then inv up")
    release, topology = project.settings.release, project.topology
    hosts = dict.fromkeys((member.name for member in topology.etcd), release.etcd_image)
    hosts |= dict.fromkeys((node.name for node in topology.nodes), release.patroni_image)
    if topology.repository:
        hosts[topology.repository.name] = release.pgbackrest_image
    if topology.monitoring:
        hosts[topology.monitoring.name] = release.monitoring_image
    every = (release.etcd_image, release.pgbackrest_image, release.patroni_image, *hosts.values())
    images = [image for image in dict.fromkeys(every) if HERE.has_image(image)]
    with progress.stage("ask the package mirror what is newer"), ThreadPoolExecutor() as pool:
        runs = _versions({name: c.image_id or c.image for name, c in containers.items() if name in hosts})
        found = dict(zip(images, pool.map(_newer, images), strict=True))
    return Looked(runs, {image: newer for image, newer in found.items() if newer}, hosts)


def _versions(images: Mapping[str, str]) -> dict[str, Versions]:
    """Host -> versions, from host -> image."""
    wanted = sorted({*images.values()})
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda image: HERE.must(packages.installed(image)).stdout, wanted)
        found = {image: packages.parse_installed(text) for image, text in zip(wanted, answers, strict=True)}
    return {host: found[image] for host, image in images.items()}


def _newer(image: str) -> tuple[Newer, ...]:
    answer = HERE.run(packages.newer(image))
    if not answer.ok:
        raise Unreachable(
            f"The package mirror cannot be asked what is newer than {image}: {answer.last_words}",
            "check this host's network and proxy, then inv upgrade --minor",
        )
    found = packages.parse_newer(answer.stdout)
    return (*found, *_other_patroni(image))


def _other_patroni(image: str) -> tuple[Newer, ...]:
    """Patroni's version is pinned by this checkout, and is no package."""
    held = packages.parse_installed(HERE.must(packages.installed(image)).stdout).get(PARTS[1])
    pins = [pin.rstrip("-") for pin in pip.pinned((IMAGES / "patroni" / "requirements.txt").read_text())]
    pinned = next((pin.partition("-")[2] for pin in pins if pin.startswith("patroni-")), "")
    return (Newer("patroni", held, pinned),) if held and pinned and held != pinned else ()


def plan(project: Project, looked: Looked) -> Plan:
    """What would be done to whom, and why it would not begin now."""
    return lifecycle.plan_up(project, newer=looked.because())


def upgrade(project: Project, progress: Progress) -> Upgraded:
    """Build the images of which something is newer, and make the containers again that are not of the newest ones.

    Interrupted, the same command goes on, or `up`. The caller holds the lock. Raises as `look` and `up` do.
    """
    looked = look(project, progress)
    if looked.newer:
        for image, found in looked.newer.items():
            progress.note(f"{image}: {_said(found)}")
        _build(project, looked, progress)
    elif plan(project, looked).empty:
        return Upgraded(looked.runs, looked.runs, {}, (), None)
    before = {host: container.image_id for host, container in engine.containers(project).items()}
    report = lifecycle.up(project, progress)
    after = {host: container.image_id for host, container in engine.containers(project).items()}
    made = tuple(host for host in after if host in before and before[host] != after[host])
    return Upgraded(looked.runs, _versions(after), looked.newer, made, report)


def renew_images(project: Project, progress: Progress) -> None:
    """Build those of the project's images of which the package mirror has something newer; all of them are there.

    Raises as `build_images`; a mirror that cannot be asked is only noted."""
    release = project.settings.release
    images = [release.etcd_image, release.pgbackrest_image, release.patroni_image]
    try:
        with progress.stage(f"ask what is newer than {release.patroni_image}"), ThreadPoolExecutor() as pool:
            found = dict(zip(images, pool.map(_newer, images), strict=True))
    except Unreachable as error:
        progress.note(f"{error.message}: the images are taken as they are")
        return
    wanted = {image for image, newer in found.items() if newer}
    if wanted:
        build_images(project, progress, no_cache=True, only=_with_their_layers(release, wanted))


def _with_their_layers(release: Release, wanted: set[str]) -> set[str]:
    """pgBackRest's image and Postgres' stand on the same layers, and pgBackRest has to be the same everywhere."""
    return {*wanted, release.patroni_image} if release.pgbackrest_image in wanted else wanted


def _build(project: Project, looked: Looked, progress: Progress) -> None:
    wanted = _with_their_layers(project.settings.release, {*looked.newer})
    ids = engine.image_ids(wanted)
    build_images(project, progress, no_cache=True, only=wanted)
    same = [name for name, identity in engine.image_ids(wanted).items() if identity == ids[name]]
    if same:
        raise ToolFailed(f"Building {same[0]} made no new image", hint="inv build --no-cache")
