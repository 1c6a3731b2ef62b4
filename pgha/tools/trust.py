"""Whom a container trusts."""

from __future__ import annotations

from pgha.tools.command import Command

AUTHORITY = "/pgha/tls/ca.crt"
"""Where the entrypoint puts the certificate of the project's authority."""


def show_authority() -> Command:
    return Command(("cat", AUTHORITY), timeout=10)
