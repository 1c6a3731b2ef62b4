"""Whom a container trusts."""

from __future__ import annotations

from pgha.tools.command import Command

AUTHORITY = "/pgha/tls/ca.crt"
"""Where the entrypoint puts the certificate of the project's authority."""

KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
"""Where it puts the keys of all hosts."""


def show_authority() -> Command:
    return Command(("cat", AUTHORITY), timeout=10)


def show_known_hosts() -> Command:
    return Command(("cat", KNOWN_HOSTS), timeout=10)
