"""The Postgres client of this host: psql, and the libpq it is linked with."""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import dataclass

from pgha.remote import shell
from pgha.tools import libpq
from pgha.tools.command import Command
from pgha.tools.versions import major


@dataclass(frozen=True)
class Client:
    """What is installed; nothing and 0 where it is not."""

    psql: str
    """version, such as 15.18"""
    libpq: int
    """major version"""

    @property
    def balances(self) -> bool:
        """Whether a string with `load_balance_hosts` is understood here; where there is no client, it goes elsewhere.

        The older of the two decides: an old psql may have brought a libpq of its own.
        """
        majors = [known for known in (self.libpq, major(self.psql)) if known]
        return min(majors, default=libpq.BALANCES) >= libpq.BALANCES

    @property
    def text(self) -> str:
        parts = [f"psql {self.psql}"] if self.psql else []
        return ", ".join(parts + ([f"libpq {self.libpq}"] if self.libpq else []))


@dataclass(frozen=True)
class Refusal:
    """Why a client could not log in."""

    words: str
    asked: bool
    """the server had asked for a password"""


class NoLibpq(Exception):
    """There is no libpq on this host."""


def log_in(conninfo: str) -> Refusal | None:
    """Connect as a client of this host does, with its own libpq, and end the connection; None when that went well.

    Within this process: a psql takes longer to start than to connect. Raises NoLibpq.
    """
    try:
        lib = ctypes.CDLL("libpq.so.5")
    except OSError:
        raise NoLibpq from None
    lib.PQconnectdb.restype = ctypes.c_void_p
    lib.PQerrorMessage.restype = ctypes.c_char_p
    connection = ctypes.c_void_p(lib.PQconnectdb(conninfo.encode()))
    try:
        if lib.PQstatus(connection) == 0:
            return None
        words = lib.PQerrorMessage(connection).decode(errors="replace").strip()
        return Refusal(words, bool(lib.PQconnectionUsedPassword(connection)))
    finally:
        lib.PQfinish(connection)


def find() -> Client:
    return Client(_psql(), _libpq())


def _psql() -> str:
    if shutil.which("psql") is None:
        return ""
    return libpq.parse_psql_version(shell.run(Command(("psql", "--version"), timeout=10)).stdout)


def _libpq() -> int:
    try:
        return int(ctypes.CDLL("libpq.so.5").PQlibVersion()) // 10000
    except (OSError, AttributeError):
        return 0
