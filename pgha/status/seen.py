"""What one look at everything saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pgha.backup import verification
from pgha.errors import PghaError
from pgha.stack.crontab import Job
from pgha.tools import etcd, postgres, repository

T = TypeVar("T")


@dataclass(frozen=True)
class MemberState:
    """A Postgres node: what the cluster says of it, or why it says nothing."""

    name: str
    data_center: str
    role: str
    state: str
    timeline: int | None
    lag: int | None
    """Bytes behind the leader."""
    postgres_port: int | None
    ssh_port: int | None


@dataclass(frozen=True)
class Survey:
    """The whole project at one moment. A part that could not be read has its error instead."""

    members: tuple[MemberState, ...]
    leader: str | None
    system_id: str | None
    paused: bool
    etcd: etcd.EtcdView | PghaError
    stanza: repository.StanzaView | PghaError | None
    archiver: postgres.Archiver | PghaError | None
    kept: verification.Kept | PghaError | None
    """what is known of verifications and scheduled jobs"""
    jobs: tuple[Job, ...]
    """the schedule; empty while it is off"""
    problems: tuple[str, ...]
    hint: str

    @property
    def healthy(self) -> bool:
        return not self.problems


def or_error(read: Callable[[], T]) -> T | PghaError:
    try:
        return read()
    except PghaError as error:
        return error
