"""Debian and Ubuntu: apt on the host, and a base image from the mirror when no registry is at hand."""

from __future__ import annotations

from collections.abc import Sequence

from pgha.model.releases import Suite
from pgha.tools.command import Command

ENGINE_PACKAGES = ("docker.io",)
COMPOSE_PACKAGES = ("docker-compose-v2", "docker-compose")
"""The first one that the archive has: v2 on newer suites, v1.29 on Debian 12."""
BOOTSTRAP_PACKAGE = "mmdebstrap"


def apt_update() -> Command:
    return Command(("apt-get", "update", "-qq"), timeout=300)


def apt_install(packages: Sequence[str]) -> Command:
    return Command(
        ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends",
         *packages),
        timeout=900,
    )  # fmt: skip


def apt_knows(package: str) -> Command:
    return Command(("apt-cache", "show", "--no-all-versions", package))


BOOTSTRAP = """
set -o pipefail
image=$1; shift
# docker import makes an image of half a stream, too: only a whole one gets the name.
mmdebstrap "$@" - | docker import --change 'CMD ["bash"]' - "$image-partial" && docker tag "$image-partial" "$image"
status=$?
docker rmi "$image-partial"
exit $status
"""


def bootstrap(suite: Suite, image: str) -> Command:
    """A minimal root file system straight from the mirror into an image, without a file in between.

    The release files of Debian testing expire after a week and mirrors lag behind: their expiry date is not
    checked there. Signatures always are.
    """
    options = ["--variant=apt", "--include=passwd", '--aptopt=Apt::Install-Recommends "false"']
    for path in ("doc", "man", "info", "locale"):
        options.append(f"--dpkgopt=path-exclude=/usr/share/{path}/*")
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    if suite.name == "forky":
        options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    return Command(("bash", "-c", BOOTSTRAP, "bootstrap", image, *options, suite.name), timeout=1800)
