"""libpq: the connection string of a whole cluster, and what a libpq and a passfile know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgha.tools.postgres import conninfo

BALANCES = 16
"""The first major version of libpq that knows `load_balance_hosts`."""


@dataclass(frozen=True)
class Target:
    """Where a Postgres is found."""

    host: str
    """with TLS also the name that its certificate has to have"""
    port: int
    address: str = ""
    """where it is reached when not by that name"""


def where(targets: Sequence[Target]) -> dict[str, str | int]:
    """The parameters that say where; of more than one libpq asks the first that serves."""
    parameters: dict[str, str | int] = {"host": ",".join(target.host for target in targets)}
    if any(target.address for target in targets):
        parameters["hostaddr"] = ",".join(target.address for target in targets)
    return {**parameters, "port": ",".join(str(target.port) for target in targets)}


LET_GO: Mapping[str, int] = {
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
}  # fmt: skip
"""For a network between client and server: one from which nothing comes is given up after about 10 s, as members give
each other up (wal_sender_timeout). The kernel's own are two hours (tcp(7), tcp_keepalive_time) and some 15 minutes
(tcp_retries2): a client would hang on a leader that was cut off. libpq 12 and newer."""


def cluster_conninfo(
    targets: Sequence[Target], parameters: Mapping[str, str | int], *, standby: bool, balance: bool
) -> str:
    """One string for the whole cluster: every node's address, and libpq finds the right one. `parameters`: who connects
    to what, and whose certificates are taken.

    With `balance` libpq chooses a standby at random each time; the leader's string needs no such choice. Two seconds
    bound the wait for a node that does not answer.
    """
    parameters = {**where(targets), **parameters, "connect_timeout": 2}
    parameters["target_session_attrs"] = "standby" if standby else "primary"
    if standby and balance:
        parameters["load_balance_hosts"] = "random"
    return conninfo(**parameters)


def passfile(passwords: Mapping[str, str]) -> str:
    """A passfile with the passwords of these users, on any host and port and for any database."""
    lines = [f"*:*:*:{escaped(user)}:{escaped(password)}" for user, password in sorted(passwords.items())]
    return "\n".join(["# host:port:database:user:password", *lines]) + "\n"


def escaped(text: str) -> str:
    """A field of a passfile."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


def has_password(passfile: str, user: str, dbname: str) -> bool:
    """Whether a passfile has a line for this user on any host and port."""
    for line in passfile.splitlines():
        # host:port:database:user:password, a colon or backslash in a field behind a backslash
        fields = [re.sub(r"\\(.)", r"\1", field) for field in re.findall(r"((?:\\.|[^\\:])*):", line)]
        if not line.startswith("#") and len(fields) >= 4 and _matches(fields[:4], dbname, user):
            return True
    return False


def _matches(fields: list[str], dbname: str, user: str) -> bool:
    wanted = ("*", "*", dbname, user)
    return all(field in ("*", value) for field, value in zip(fields, wanted, strict=True))


def parse_psql_version(text: str) -> str:
    """`psql (PostgreSQL) 15.18 (Debian ...)` -> 15.18; nothing when it is something else."""
    found = re.match(r"psql \(PostgreSQL\) (\d+\S*)", text)
    return found[1] if found else ""
