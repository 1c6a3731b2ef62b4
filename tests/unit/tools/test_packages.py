"""What dpkg and apt say of an image."""

import pytest

from pgha.errors import ToolFailed
from pgha.tools.packages import Newer, parse_installed, parse_newer

PATRONI = """\
pgbackrest 2.55.1-1
postgresql-17 17.10-0+deb13u1
patroni 4.1.5
"""

APT = """\
Inst libssl3t64 [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])
Inst postgresql-17 [17.10-0+deb13u1] (17.11-0+deb13u1 Debian:13.1/stable [amd64]) []
Inst libnew1 (1.0-1 Debian:13.1/stable [amd64])
Conf libssl3t64 (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])
"""


def test_the_versions_an_operator_asks_for():
    assert parse_installed(PATRONI) == {
        "PostgreSQL": "17.10-0+deb13u1",
        "Patroni": "4.1.5",
        "pgBackRest": "2.55.1-1",
    }
    assert parse_installed("etcd-server 3.5.16-4\n") == {"etcd": "3.5.16-4"}
    # A package that dpkg knows and that is not there has no version.
    assert parse_installed("postgresql-16 \n") == {}


def test_what_the_mirror_has_newer():
    assert parse_newer(APT) == (
        Newer("libssl3t64", "3.5.1-1", "3.5.1-1+deb13u1"),
        Newer("postgresql-17", "17.10-0+deb13u1", "17.11-0+deb13u1"),
        Newer("libnew1", "", "1.0-1"),
    )
    assert parse_newer("") == ()
    with pytest.raises(ToolFailed, match="Inst what"):
        parse_newer("Inst what is this")
