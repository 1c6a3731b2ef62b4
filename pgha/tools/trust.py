"""Whom a container trusts, and whom it shows itself to be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.model.topology import STANZA
from pgha.model.urls import PGBACKREST
from pgha.tools.command import Command
from pgha.tools.postgres import PORT, conninfo

FOLDER = "/pgha/tls"
"""Where the entrypoint puts a host's certificate and key, and the certificate of the project's authority."""

AUTHORITY, CERTIFICATE, KEY = (f"{FOLDER}/{name}" for name in ("ca.crt", "host.crt", "host.key"))

CLIENT = {
    # Not in curlrc, which --next forgets.
    "CURL_CA_BUNDLE": AUTHORITY,
    "CURL_HOME": FOLDER,
    "ETCDCTL_CACERT": AUTHORITY,
    "ETCDCTL_CERT": CERTIFICATE,
    "ETCDCTL_KEY": KEY,
}
"""Environment of a container: with it etcdctl and curl (images/patroni/curlrc) show its certificate, and trust the
project's authority."""

KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
"""Where it puts the keys of all hosts."""


def show_authority() -> Command:
    return Command(("cat", AUTHORITY), timeout=10)


def show_known_hosts() -> Command:
    return Command(("cat", KNOWN_HOSTS), timeout=10)


@dataclass(frozen=True)
class Shown:
    """What a TLS server shows, and whose clients' certificates it takes."""

    certificate: str
    """PEM"""
    authorities: tuple[str, ...]
    """common names"""


def ask_server(port: int = PGBACKREST, host: str = "localhost") -> Command:
    """What the server at this port shows: pgBackRest's, Patroni's or etcd's. Whoever shows no certificate of its own is
    told that the server is there, and no more."""
    script = f"openssl s_client -connect {host}:{port} < /dev/null 2>&1"
    return Command(("timeout", "5", "sh", "-c", script), timeout=10)


def ask_postgres() -> Command:
    """The same of the Postgres on the host it runs on, also while it recovers."""
    script = f"openssl s_client -starttls postgres -connect localhost:{PORT} < /dev/null 2>&1"
    return Command(("timeout", "5", "sh", "-c", script), timeout=10)


def parse_listening(text: str, server: str) -> Shown | None:
    """The answer to `ask_server` or `ask_postgres`; None when nobody listens: who starts reads the present files."""
    if re.search(r"errno ?= ?111\b|Connection refused", text):
        return None
    return parse_server(text, server)


def parse_server(text: str, server: str = "pgBackRest's server") -> Shown:
    """The answer to `ask_server`. Raises ToolFailed when it names no certificate."""
    certificate = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL)
    if certificate is None:
        raise ToolFailed(f"{server} shows no certificate", text)
    named = re.search(r"^Acceptable client certificate CA names\n((?:.*CN ?=.*\n)*)", text, re.MULTILINE)
    names = re.findall(r"CN ?= ?([^,\n]+)", named.group(1)) if named else []
    return Shown(certificate.group(0) + "\n", tuple(name.strip() for name in names))


def nothing() -> Command:
    """For whoever wants to know whether it is let in."""
    return Command(("true",), timeout=10)


def ask_host_key() -> Command:
    """The host key that the sshd of the host it runs on shows."""
    return Command(("ssh-keyscan", "-T", "3", "-t", "ed25519", "localhost"), timeout=10)


def parse_host_key(text: str) -> str:
    """The answer to `ask_host_key`: kind and key. Raises ToolFailed when there is none."""
    found = re.search(r"^localhost (ssh-ed25519 \S+)", text, re.MULTILINE)
    if found is None:
        raise ToolFailed("sshd shows no host key", text)
    return found.group(1)


def reach(host: str) -> Command:
    """From a container to another one, as people go."""
    return Command(("ssh", "-o", "BatchMode=yes", host, "true"), timeout=15)


def log_in_as_member(host: str) -> Command:
    """On a node: log in at another one as a standby does, with its certificate and nothing else."""
    string = conninfo(
        host=host, port=PORT, user="replicator", dbname="postgres", sslmode="verify-full", sslrootcert=AUTHORITY,
        sslcert=CERTIFICATE, sslkey=KEY, connect_timeout=5,
    )  # fmt: skip
    return Command(("psql", string, "-XAtqwc", "select 1"), timeout=15)


def list_archive() -> Command:
    """On a node: ask the repository's server for something of this stanza, which it tells no one else."""
    return Command(("pgbackrest", f"--stanza={STANZA}", "--log-level-console=warn", "repo-ls", f"archive/{STANZA}"), 30)
