"""Which PostgreSQL majors there are, and what each base image's archive brings along.

The versions are those of Debian's and Ubuntu's own archives. A major that is not a suite's own comes from the
PostgreSQL project's apt repository, which also brings a current pgBackRest. Patroni is the same for all of them:
images/patroni/requirements.txt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MAJORS = (14, 15, 16, 17, 18)

DEFAULT_SUITE = "trixie"

Version = tuple[int, int]


@dataclass(frozen=True)
class Suite:
    """One distribution release: its own PostgreSQL major and the versions of the tools around it."""

    name: str
    distribution: str
    etcd: str
    postgres: int | None = None
    pgbackrest: Version = (2, 55)
    alertmanager: Version = (0, 28)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("bookworm", "debian", etcd="3.4", postgres=15, pgbackrest=(2, 45), alertmanager=(0, 25)),
        Suite("trixie", "debian", etcd="3.5", postgres=17, pgbackrest=(2, 55)),
        Suite("forky", "debian", etcd="3.5", postgres=18, pgbackrest=(2, 60)),
        Suite("noble", "ubuntu", etcd="3.4", alertmanager=(0, 26)),
    )
}

UBUNTU_NUMBERS = {"24.04": "noble"}


@dataclass(frozen=True)
class Release:
    """What the images of one project are made of."""

    postgres: int
    base_image: str
    suite: Suite
    locales: tuple[str, ...] = ()
    """Locales of the C library that are generated in Postgres' image."""
    own_tag: str = ""
    """What tells these images from those of other checkouts."""
    monitored: bool = False
    """Whether the exporters are in the images of the hosts."""

    @property
    def pgdg(self) -> bool:
        """Whether packages come from the PostgreSQL project's apt repository (PGDG)."""
        return self.suite.postgres != self.postgres

    @property
    def pgbackrest(self) -> Version:
        """The lowest pgBackRest version the images can hold."""
        return (2, 55) if self.pgdg else self.suite.pgbackrest

    @property
    def libpq(self) -> int:
        """The major version of libpq in the images; PGDG has the newest one for every server."""
        return MAJORS[-1] if self.pgdg else self.postgres

    @property
    def tag(self) -> str:
        """Image tag: images of different bases never share one."""
        return "-".join((self.suite.name, *["pgdg"] * self.pgdg, *[self.own_tag] * bool(self.own_tag)))

    @property
    def etcd_image(self) -> str:
        return f"pgha-etcd-{self.suite.etcd}:{self.tag}"

    @property
    def patroni_image(self) -> str:
        """With other locales it is another image: a database may be made with one of them."""
        more = "".join(f"-{name.replace('@', '.')}" for name in self.locales)
        return f"pgha-pg{self.postgres}-patroni{self._exporters}:{self.tag}{more}"

    @property
    def pgbackrest_image(self) -> str:
        return f"pgha-pgbackrest{self._exporters}:{self.tag}"

    @property
    def _exporters(self) -> str:
        return "-monitored" if self.monitored else ""

    @property
    def plain(self) -> Release:
        """The same without exporters: the images that those with them stand on."""
        return replace(self, monitored=False)

    @property
    def monitoring_image(self) -> str:
        """Prometheus and Alertmanager."""
        return f"pgha-monitoring:{self.tag}"

    @property
    def shared_image(self) -> str:
        """The layers under the two images above: sshd, s6 and pgBackRest."""
        return f"pgha-base:{self.tag}"


def suite_of(base_image: str) -> Suite | None:
    """The suite a base image such as `debian:trixie-slim` or `mirror.local/ubuntu:24.04` holds, if known."""
    found = re.fullmatch(r"(?:.+/)?(debian|ubuntu):([a-z0-9.]+?)(?:-slim)?", base_image)
    if not found:
        return None
    suite = SUITES.get(UBUNTU_NUMBERS.get(found[2], found[2]))
    return suite if suite and suite.distribution == found[1] else None


def release_for(
    postgres: int, base_image: str = "", locales: tuple[str, ...] = (), own_tag: str = "", *, monitored: bool = False
) -> Release:
    """The release for a PostgreSQL major: the Debian suite that has it, else Debian stable plus PGDG.

    Raises ValueError for a base image whose suite is not known.
    """
    if base_image:
        suite = suite_of(base_image)
        if suite is None:
            raise ValueError(f"{base_image} is not a known base image")
        return Release(postgres, base_image, suite, locales, own_tag, monitored)
    suite = next((s for s in SUITES.values() if s.postgres == postgres), SUITES[DEFAULT_SUITE])
    return Release(postgres, f"debian:{suite.name}-slim", suite, locales, own_tag, monitored)
