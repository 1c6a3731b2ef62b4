"""Debian and Ubuntu: apt on the host, and a base image from the mirror when no registry is at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pgha.model.releases import Suite
from pgha.tools.command import Command
from pgha.tools.versions import major

ENGINE_PACKAGES = ("docker.io",)
COMPOSE_PACKAGES = ("docker-compose-v2", "docker-compose-plugin", "docker-compose")
"""Ubuntu's, Docker's own, and Debian's, which is v2 from trixie on and 1.29 in bookworm."""
BOOTSTRAP_PACKAGE = "mmdebstrap"


def apt_update() -> Command:
    return Command(("apt-get", "update", "-qq"), timeout=300)


def apt_install(packages: Sequence[str]) -> Command:
    return Command(
        ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends",
         *packages),
        timeout=900,
    )  # fmt: skip


def apt_policy(packages: Sequence[str]) -> Command:
    """Which version of each package apt would install."""
    return Command(("env", "LC_ALL=C", "apt-cache", "policy", *packages))


def parse_policy(text: str) -> dict[str, str]:
    """Package -> the version apt would install; a package that apt does not know, or cannot install, is left out."""
    found = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (\S+)", text, re.MULTILINE)
    return {package: version for package, version in found if version != "(none)"}


def compose_package(offers: Mapping[str, str]) -> str:
    """The package to install: the first that is Compose v2, else the one there is; nothing without any."""
    known = {package: version for package in COMPOSE_PACKAGES if (version := offers.get(package))}
    second = [package for package, version in known.items() if major(version) >= 2]
    return next(iter([*second, *known]), "")


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
