"""What one look at everything saw, before anybody judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pgha.backup import restore_record, verification
from pgha.cluster import rollout_record
from pgha.errors import CutOff, PghaError, Unreachable
from pgha.failures.broken import Broken
from pgha.project import upgrade_record
from pgha.project.maintenance import Stopped
from pgha.project.successors import Term
from pgha.recover import record as recover_record
from pgha.remote.engines import UNREACHABLE
from pgha.remote.postgres_client import Refusal
from pgha.stack.crontab import Job
from pgha.tools import beside, cron, docker, etcd, patroni, pgbackrest, postgres, prometheus, repository, space
from pgha.tools.etcd import Lock
from pgha.tools.leader import Facts
from pgha.tools.slots import SlotCoverage

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
    """Bytes of the leader's WAL that it has not received."""
    replay_lag: int | None
    """Bytes that it has not replayed."""
    postgres_port: int | None
    ssh_port: int | None


@dataclass(frozen=True)
class Seen:
    """The whole project at one moment. A part that could not be read has its error instead."""

    hosts: dict[str, str]
    """every host of the topology -> its site"""
    networks: dict[str, tuple[str, ...]]
    """every host -> the networks its container belongs to"""
    containers: dict[str, docker.Container]
    told: dict[str, patroni.Told | PghaError]
    """what each member says"""
    late: dict[str, str]
    """members that do not know what the others know -> why"""
    view: patroni.ClusterView | PghaError
    """the cluster as a member tells it that sees etcd's majority"""
    etcd: etcd.EtcdView | PghaError
    stanza: repository.StanzaView | PghaError | None
    """None without a repository"""
    facts: Facts | PghaError | None
    """what the leader's Postgres says; None without a leader"""
    login: Refusal | PghaError | None
    """why a client cannot log in at the leader; None when it can, or without a leader"""
    slots: tuple[SlotCoverage, ...]
    """the leader's logical slots, and what becomes of them; nothing when the leader cannot be asked"""
    wanted_slots: Mapping[str, Mapping[str, str]]
    """those of the settings"""
    kept: verification.Kept | PghaError
    """what is known of verifications and scheduled jobs, and how full the disks are"""
    jobs: tuple[Job, ...]
    """the schedule; empty while it is off"""
    broken: tuple[Broken, ...] | PghaError
    rollout: rollout_record.Record | PghaError | None
    """a rollout that was interrupted, or goes on at this moment"""
    maintenance: tuple[Stopped, ...] | PghaError
    """hosts that an operator stopped, and that do not run"""
    rotating: str | PghaError
    """what is being replaced: a rotation was interrupted, or goes on at this moment; nothing when there is none"""
    terms: tuple[Term, ...] | PghaError
    """how long the certificates hold, the first to end first"""
    half_done: restore_record.Record | None
    recovery: recover_record.Record | PghaError | None
    """a recovery from lost sites that was interrupted"""
    gone: Mapping[str, str]
    """hosts that a recovery gave up -> the state of their container; nothing when there is none, as it should be"""
    upgrade: upgrade_record.Record | PghaError | None
    """the major upgrade that is half done"""
    scaling: Mapping[str, str]
    """the flags of a scale that has begun and has not ended"""
    replacing: str
    """the host whose data a replacement has removed and that is not whole again"""
    ports: dict[str, dict[str, int]]
    differs: Mapping[str, str]
    """setting -> how it differs from what runs"""
    lock: Lock | PghaError | None = None
    """asked while nobody leads: that of a leader that is lost, until it expires"""
    machines: Mapping[str, str] = field(default_factory=dict)
    """host -> its machine, where there are several"""
    former: int = 0
    """the repository of a former passphrase that is kept; 0 without one"""
    clone: beside.Beside | PghaError | None = None
    """None when there is none"""
    targets: tuple[prometheus.Target, ...] | PghaError = ()
    """whom Prometheus asks; nothing without monitoring"""

    @property
    def leader(self) -> str | None:
        return leading(self.view, self.told)

    @property
    def archiver(self) -> postgres.Archiver | PghaError | None:
        """None without a leader, or without a repository."""
        if self.stanza is None:
            return None
        return self.facts.archiver if isinstance(self.facts, Facts) else self.facts

    @property
    def system_id(self) -> str | None:
        nodes = [told.node for told in self.told.values() if isinstance(told, patroni.Told)]
        return next((node.system_id for node in nodes if node.system_id), None)

    @property
    def paused(self) -> bool:
        return isinstance(self.view, patroni.ClusterView) and self.view.paused

    @property
    def members(self) -> tuple[MemberState, ...]:
        """Every Postgres node of the topology."""
        return tuple(self._member(name) for name in self.told)

    @property
    def newest(self) -> repository.Backup | None:
        """The newest backup of the present history: one that a restore went back before is none. Of any history, while
        nobody can tell which the present one is."""
        backups = self.stanza.backups if isinstance(self.stanza, repository.StanzaView) else ()
        if isinstance(self.facts, Facts):
            backups = tuple(b for b in backups if self.facts.history.holds(b.timeline, b.stop_lsn))
        return backups[-1] if backups else None

    @property
    def verified(self) -> pgbackrest.Verification | None:
        """The newest verification of the newest backup."""
        newest = self.newest
        return self.kept.verification_of(newest.label) if newest and isinstance(self.kept, verification.Kept) else None

    @property
    def results(self) -> dict[str, cron.Result]:
        """Job -> how it ended last."""
        return self.kept.results if isinstance(self.kept, verification.Kept) else {}

    @property
    def disks(self) -> Mapping[str, tuple[space.Disk, ...]]:
        """Host -> its disks; of those that could be asked."""
        return self.kept.disks if isinstance(self.kept, verification.Kept) else {}

    def pending_restart(self, member: str) -> tuple[str, ...]:
        """Parameters that wait for a restart of this member."""
        told = self.told[member]
        return told.node.pending_restart if isinstance(told, patroni.Told) else ()

    def is_in_maintenance(self, host: str) -> bool:
        """Whether an operator stopped this host: what is away with it is no failure."""
        entries = () if isinstance(self.maintenance, PghaError) else self.maintenance
        return any(entry.host == host for entry in entries)

    def state_of(self, host: str) -> str:
        """The state of a host's container."""
        return self.containers[host].state if host in self.containers else "missing"

    def is_site_cut_off(self, host: str) -> bool:
        """Whether every member at this host's site is cut off, those left out that say nothing at all."""
        beside = [
            name for name, told in self.told.items()
            if self.hosts[name] == self.hosts[host] and isinstance(told, (patroni.Told, CutOff))
        ]  # fmt: skip
        return bool(beside) and all(name in self.late for name in beside)

    def _member(self, name: str) -> MemberState:
        told = self.told[name]
        seen = self.view.member(name) if isinstance(self.view, patroni.ClusterView) else None
        role, state, timeline = "", "", None
        if seen:
            role, state, timeline = seen.role, seen.state, seen.timeline
        elif isinstance(told, patroni.Told):
            role, state, timeline = told.node.role, told.node.state, told.node.timeline
        if isinstance(told, PghaError) and name not in self.late:
            away = "unreachable" if isinstance(told, Unreachable) else "Patroni does not answer"
            state = away if self.state_of(name) == "running" else f"container {self.state_of(name)}"
            if self.state_of(name) == UNREACHABLE:
                state = UNREACHABLE
            if role == "leader" and name != self.leader:
                # Until its lock expires the others go on naming it.
                role = ""
            if self.is_in_maintenance(name):
                role, state = "", "stopped for maintenance"
        elif name in self.late:
            # What the others know of it is as old as the cut.
            role, state = "" if role == "leader" and name != self.leader else role, "cut off"
        ports = [self.ports.get(kind, {}).get(name) for kind in ("postgres", "ssh")]
        return MemberState(name, self.hosts[name], role, state, timeline, *self._lags(name), *ports)

    def _lags(self, name: str) -> tuple[int | None, int | None]:
        """Bytes of WAL the member has not received, and not replayed; what the DCS says may be a loop_wait old."""
        own, leads = self.told[name], self.told.get(self.leader or "")
        if name == self.leader or not isinstance(own, patroni.Told) or not isinstance(leads, patroni.Told):
            return None, None
        written = leads.node.location
        if written is None:
            return None, None
        received, replayed = (
            None if at is None else max(0, written - at) for at in (own.node.location, own.node.replayed)
        )
        return received, replayed


def leading(view: patroni.ClusterView | PghaError, told: Mapping[str, patroni.Told | PghaError]) -> str | None:
    """Who leads; without a view, who says that it does."""
    if isinstance(view, patroni.ClusterView):
        return view.leader.name if view.leader else None
    for name, answer in told.items():
        if isinstance(answer, patroni.Told) and answer.node.role == "leader" and answer.node.state == "running":
            return name
    return None


def or_error(read: Callable[[], T]) -> T | PghaError:
    try:
        return read()
    except PghaError as error:
        return error
