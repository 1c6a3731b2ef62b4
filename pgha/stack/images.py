"""Build the images: a base from wherever it can be had, shared layers, and the three images on top."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pgha import ROOT
from pgha.console import Progress
from pgha.errors import NotBuilt, NotReady, ToolFailed, Unreachable
from pgha.model.releases import Release
from pgha.project.project import Project
from pgha.remote import readiness, shell
from pgha.remote.engine import HERE
from pgha.stack.wheels import fetch_wheels
from pgha.tools import debian, docker

IMAGES = ROOT / "images"


TLS_LABEL = "pgha.tls"
"""Of the images whose programs find their certificates."""


@dataclass(frozen=True)
class Image:
    """One image to build: its folder, its name with tag, and its build arguments."""

    folder: Path
    name: str
    arguments: dict[str, str]


@dataclass(frozen=True)
class Built:
    """An image that is there now."""

    name: str
    size: int
    """Bytes, all layers."""


def image_names(project: Project) -> list[str]:
    """The images a project runs."""
    release = project.settings.release
    names = [release.etcd_image, release.patroni_image]
    names += [release.pgbackrest_image] if project.topology.repository else []
    return [*names, *([release.monitoring_image] if project.topology.monitoring else [])]


def require_images(project: Project) -> None:
    """Raises NotBuilt when an image is not built, or, with TLS, was built before there was that."""
    missing = [name for name in image_names(project) if not HERE.has_image(name)]
    if missing:
        raise NotBuilt(f"Image {missing[0]} is not built", "inv build")
    release = project.settings.release
    speaking = (release.etcd_image, release.patroni_image) if project.settings.tls else ()
    old = [name for name in speaking if HERE.image_label(name, TLS_LABEL) != "on"]
    if old:
        raise NotBuilt(f"Image {old[0]} was built before there was TLS", "inv build; or set tls to off")


def build_images(
    project: Project, progress: Progress, no_cache: bool = False, only: Collection[str] = ()
) -> list[Built]:
    """Build all images, or only these. What is already built is left to the engine's cache.

    The layers that pgBackRest's image and Postgres' share are built with the first of the two. Raises Unreachable when
    registry and mirror cannot be reached, ToolFailed when a build step fails.
    """
    release = project.settings.release
    readiness.require_engine()
    ensure_base(release, progress)
    fetch_wheels(IMAGES / "patroni", progress)
    base = {"BASE_IMAGE": release.base_image}
    etcd = Image(IMAGES / "etcd", release.etcd_image, base)
    upper = _upper(release)
    every = [etcd, *upper, *(_monitored(release) if release.monitored else ())]
    wanted = [image for image in every if not only or image.name in _with_their_bases(release, only)]
    title = f"build {', '.join(image.name for image in wanted)}"
    with progress.stage(title), ThreadPoolExecutor(max_workers=2) as pool:
        # etcd's image shares nothing with the others but the base: it is built beside them.
        beside = [pool.submit(_build, image, release, progress.detail, no_cache) for image in wanted if image is etcd]
        if upper[0] in wanted:
            _build_shared(release, progress.detail, no_cache)
        for image in wanted:
            if image is not etcd:
                _build(image, release, progress.detail, no_cache)
        for building in beside:
            building.result()
    return [_built(image.name) for image in wanted]


def _upper(release: Release) -> list[Image]:
    """What stands on the shared layers."""
    shared, plain = {"SHARED_IMAGE": release.shared_image}, release.plain
    postgres = {"POSTGRES": str(release.postgres), "LOCALES": " ".join(release.locales)}
    return [
        Image(IMAGES / "pgbackrest", plain.pgbackrest_image, shared),
        Image(IMAGES / "patroni", plain.patroni_image, {**shared, **postgres}),
    ]


def _monitored(release: Release) -> list[Image]:
    """The same with the exporters, and the monitoring's own."""
    plain, folder = release.plain, IMAGES / "monitored"
    packages = {
        # pgBackRest's own image has no Python.
        (release.pgbackrest_image, plain.pgbackrest_image): "python3",
        (release.patroni_image, plain.patroni_image): "prometheus-postgres-exporter",
    }
    return [
        *(Image(folder, name, {"IMAGE": base, "PACKAGES": more}) for (name, base), more in packages.items()),
        Image(IMAGES / "monitoring", release.monitoring_image, {"BASE_IMAGE": release.base_image}),
    ]


def _with_their_bases(release: Release, only: Collection[str]) -> set[str]:
    """These images, and those that they stand on."""
    plain = release.plain
    bases = {release.patroni_image: plain.patroni_image, release.pgbackrest_image: plain.pgbackrest_image}
    return {*only, *(bases[name] for name in only if name in bases)}


def build_upgrade_image(old: Release, new: Release, name: str, progress: Progress) -> None:
    """The image with the programs of two majors, from their images. Raises ToolFailed."""
    arguments = {"OLD_IMAGE": old.patroni_image, "NEW_IMAGE": new.patroni_image, "OLD": str(old.postgres)}
    with progress.stage(f"build {name}"):
        answer = HERE.run(docker.build(IMAGES / "upgrade", [name], arguments), line=progress.detail)
    if not answer.ok:
        raise ToolFailed(f"Building {name} failed", answer.words)


def ensure_base(release: Release, progress: Progress) -> None:
    """The base image: local, else pulled, else bootstrapped from the Debian mirror. Raises Unreachable, NotReady."""
    if HERE.has_image(release.base_image):
        return
    with progress.stage(f"pull {release.base_image}") as step:
        pulled = HERE.run(docker.pull(release.base_image), line=progress.detail)
        step.ending = "done" if pulled.ok else "not possible, no registry that has it can be reached,"
    if pulled.ok:
        return
    if release.suite.distribution != "debian":
        raise Unreachable(
            f"{release.base_image} is not here and cannot be pulled, and only Debian can be bootstrapped",
            "load it with `docker load`, or leave base_image empty",
        )
    if shutil.which(debian.BOOTSTRAP_PACKAGE) is None:
        raise NotReady(
            f"{release.base_image} cannot be pulled, and {debian.BOOTSTRAP_PACKAGE} is not installed",
            "inv setup",
        )
    with progress.stage(f"bootstrap {release.base_image} from the Debian mirror") as step:
        answer = shell.run(debian.bootstrap(release.suite, release.base_image), line=progress.detail)
        step.ending = "done" if answer.ok else "failed"
    if not answer.ok:
        reason = next((line for line in answer.words.splitlines() if line.startswith("E: ")), answer.last_words)
        raise Unreachable(
            f"{release.base_image} cannot be bootstrapped from the Debian mirror: {reason}",
            "check this host's network and proxy, then inv build",
        )


def _build_shared(release: Release, detail: Callable[[str], None], no_cache: bool) -> None:
    arguments = {"BASE_IMAGE": release.base_image, "PGDG": "yes" if release.pgdg else "no"}
    folder = IMAGES / "base"
    if release.pgdg:
        packages = docker.build(folder, [], arguments, target="packages", no_cache=no_cache)
        answer = HERE.run(packages, line=detail)
        if not answer.ok:
            _require_mirror(release)
            raise Unreachable(
                f"PostgreSQL {release.postgres} on {release.base_image} comes from the PostgreSQL project's apt "
                "repository, which cannot be reached",
                "choose a major that Debian has itself: inv render -v 17 (or 15, 18)",
            )
    _build(Image(folder, release.shared_image, arguments), release, detail, no_cache)


def _build(image: Image, release: Release, detail: Callable[[str], None], no_cache: bool) -> None:
    """Build one image, under its own tag and, unless it is this checkout's alone, under `latest`."""
    tags = [image.name] if release.own_tag else [image.name, image.name.split(":")[0]]
    answer = HERE.run(docker.build(image.folder, tags, image.arguments, no_cache=no_cache), line=detail)
    if not answer.ok:
        _require_mirror(release)
        raise ToolFailed(f"Building {image.name} failed", answer.words)


def _require_mirror(release: Release) -> None:
    """Raises Unreachable when containers cannot reach the package mirror: the usual reason of a failed build."""
    if not HERE.run(docker.mirror_probe(release.base_image)).ok:
        raise Unreachable(
            f"The package mirror of {release.base_image} cannot be reached from a container",
            "check this host's network and proxy, then `inv build`",
        )


def _built(name: str) -> Built:
    entry = docker.parse_inspect(HERE.must(docker.inspect("image", [name]), f"{name} is not there").stdout)[0]
    return Built(name, int(entry["Size"]))
