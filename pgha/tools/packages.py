"""Packages in an image: which versions it has, and what the package mirror has newer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.tools import docker
from pgha.tools.command import Command

PARTS = ("PostgreSQL", "Patroni", "pgBackRest", "etcd")
"""What an operator asks the version of."""

INSTALLED = r"""
dpkg-query -W -f '${Package} ${Version}\n' 'postgresql-[0-9]*' pgbackrest etcd-server 2> /dev/null
[ ! -x /opt/patroni/bin/patroni ] || /opt/patroni/bin/patroni --version
"""

# As root: etcd's image has another user. The same upgrade as in the Dockerfiles, and nothing is installed.
NEWER = """
apt-get update -qq -o APT::Update::Error-Mode=any && LC_ALL=C apt-get -qq -s upgrade --with-new-pkgs
"""


@dataclass(frozen=True)
class Newer:
    """A package of which there is a newer version."""

    package: str
    installed: str
    """nothing: another package needs it newly"""
    offered: str

    def __str__(self) -> str:
        return f"{self.package} {self.installed or 'not there'} -> {self.offered}"


def installed(image: str) -> Command:
    """The versions of an image's PARTS, from a container that is gone afterwards."""
    return docker.docker("run", "--rm", "--user", "root", "--network", "none", image, "sh", "-c", INSTALLED)


def newer(image: str) -> Command:
    """What the mirror has newer than an image; fails when a mirror cannot be reached."""
    return docker.docker("run", "--rm", "--user", "root", image, "sh", "-c", NEWER, timeout=300)


def parse_installed(text: str) -> dict[str, str]:
    """Part -> version, from `installed`; those that the image has."""
    patterns = (r"postgresql-\d+ (\S+)", r"patroni (\S+)", r"pgbackrest (\S+)", r"etcd-server (\S+)")
    found = {}
    for part, pattern in zip(PARTS, patterns, strict=True):
        if match := re.search(rf"^{pattern}$", text, re.MULTILINE):
            found[part] = match[1]
    return found


def parse_newer(text: str) -> tuple[Newer, ...]:
    """The answer to `newer`. Raises ToolFailed on a line of `Inst` that is none."""
    found = []
    for line in text.splitlines():
        if not line.startswith("Inst "):
            continue
        match = re.match(r"Inst (\S+) (?:\[(\S+)\] )?\((\S+) ", line)
        if not match:
            raise ToolFailed("apt-get -s upgrade did not print what it should", line)
        found.append(Newer(match[1], match[2] or "", match[3]))
    return tuple(found)
