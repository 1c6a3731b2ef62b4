"""Which host keys are trusted: those of known_hosts, and no other."""

from __future__ import annotations

import paramiko
from paramiko.hostkeys import HostKeyEntry

from pgha.errors import Damaged
from pgha.project.project import Project


class OneOf(paramiko.MissingHostKeyPolicy):
    """Trusts a host with one of its known keys: it has two while they are exchanged, and paramiko's own look would
    compare the first one alone."""

    def __init__(self, known: list[paramiko.PKey]) -> None:
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raises BadHostKeyException for another key, SSHException for a host that is not known."""
        if not self._known:
            paramiko.RejectPolicy().missing_host_key(client, hostname, key)
        if key not in self._known:
            raise paramiko.BadHostKeyException(hostname, key, self._known[0])


def keys_of(project: Project, host: str) -> list[paramiko.PKey]:
    """known_hosts names hosts as the containers do; here the same key stands behind a published port.

    Raises Damaged.
    """
    try:
        lines = project.known_hosts.read_text().splitlines()
    except OSError:
        raise Damaged("The SSH keys are missing or not readable", "inv keys") from None
    entries = [HostKeyEntry.from_line(line) for line in lines]
    return [entry.key for entry in entries if entry and entry.key and host in entry.hostnames]
