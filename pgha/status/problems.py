"""What is wrong, from what was seen: each rule looks at one thing and names the problems it finds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pgha.backup.restore_record import describe_restore, way_on
from pgha.cluster.view import resume_command
from pgha.errors import NoConnection, PghaError
from pgha.model.topology import SCOPE
from pgha.model.words import size_text
from pgha.status.seen import Seen
from pgha.tools import patroni, pgbackrest, postgres, repository, wal
from pgha.tools.leader import Facts


class Kind(StrEnum):
    """What a program may want to distinguish; also the names in `--json`."""

    RESTORE_HALF_DONE = "restore_half_done"
    ETCD_UNKNOWN = "etcd_unknown"
    QUORUM_LOST = "quorum_lost"
    ETCD_UNHEALTHY = "etcd_unhealthy"
    NO_LEADER = "no_leader"
    DCS_UNKNOWN = "dcs_unknown"
    PAUSED = "paused"
    CUT_OFF = "cut_off"
    MEMBER_UNWELL = "member_unwell"
    REPLAY_PAUSED = "replay_paused"
    PENDING_RESTART = "pending_restart"
    CONNECTIONS_EXHAUSTED = "connections_exhausted"
    SLOT_RETAINS_WAL = "slot_retains_wal"
    ETCD_MEMBER_LOST = "etcd_member_lost"
    NETWORK_MISSING = "network_missing"
    STRANGER = "stranger"
    CONTAINER_AWAY = "container_away"
    REPOSITORY_UNREADABLE = "repository_unreadable"
    STANZA_OF_ANOTHER = "stanza_of_another"
    ARCHIVING_FAILS = "archiving_fails"
    ARCHIVE_GAP = "archive_gap"
    BROKEN = "broken"
    RECORD_DAMAGED = "record_damaged"
    BACKUP_NOT_GOOD = "backup_not_good"
    BACKUP_UNCHECKED = "backup_unchecked"
    JOB_FAILED = "job_failed"


@dataclass(frozen=True)
class Problem:
    """One thing an operator should know."""

    kind: Kind
    host: str
    """whom it is about; nothing when it is about the whole"""
    sentence: str
    hint: str = ""
    """the next command"""

    def __str__(self) -> str:
        return self.sentence


Rule = Callable[[Seen], Iterator[Problem]]


def find_problems(seen: Seen) -> tuple[Problem, ...]:
    """Every problem, the gravest first."""
    return tuple(problem for rule in RULES for problem in rule(seen))


def next_command(problems: tuple[Problem, ...]) -> str:
    """The hint that helps most: what was begun or broken on purpose is ended first, then what does not run."""
    hinting = [problem for problem in problems if problem.hint]
    if not hinting:
        return ""
    first = (Kind.RESTORE_HALF_DONE, Kind.BROKEN, Kind.CONTAINER_AWAY)
    return min(hinting, key=lambda p: first.index(p.kind) if p.kind in first else len(first)).hint


def _first_line(error: PghaError) -> str:
    return error.message.splitlines()[0]


# Rules ------------------------------------------------------------------------------------------------------


def _restore(seen: Seen) -> Iterator[Problem]:
    if seen.half_done:
        yield Problem(Kind.RESTORE_HALF_DONE, "", describe_restore(seen.half_done), way_on(seen.half_done))


def _quorum(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.etcd, PghaError):
        yield Problem(Kind.ETCD_UNKNOWN, "", f"etcd cannot be asked: {_first_line(seen.etcd)}")
    elif not seen.etcd.has_quorum:
        yield Problem(Kind.QUORUM_LOST, "", "etcd has lost its quorum: no member can be promoted")


def _etcd_members(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.etcd, PghaError):
        return
    for name in seen.etcd.unhealthy:
        if seen.state_of(name) == "restarting" and seen.etcd.has_quorum:
            sentence = f"{name} starts and ends again: an etcd member that lost its data is not let in again as it is"
            yield Problem(Kind.ETCD_MEMBER_LOST, name, sentence, "inv up takes it out of etcd and in again")
        if seen.state_of(name) != "running":
            continue
        if seen.etcd.has_quorum and seen.is_site_cut_off(name):
            yield Problem(Kind.CUT_OFF, name, f"{name} is cut off from the other etcd members")
        else:
            yield Problem(Kind.ETCD_UNHEALTHY, name, f"{name} is not healthy", f"inv logs --node {name}")


def _leader(seen: Seen) -> Iterator[Problem]:
    if seen.leader is None:
        yield Problem(Kind.NO_LEADER, "", "there is no leader: writes are not accepted")
    if isinstance(seen.view, PghaError):
        yield Problem(Kind.DCS_UNKNOWN, "", f"the DCS view is not available: {_first_line(seen.view)}")


def _members(seen: Seen) -> Iterator[Problem]:
    unwell = [m for m in seen.members if m.name != seen.leader and m.state != "streaming" and m.name not in seen.late]
    # One that says nothing before one that is on its way.
    for member in sorted(unwell, key=lambda m: not isinstance(seen.told[m.name], PghaError)):
        state = "running, but it does not stream" if member.state == "running" else member.state or "unknown"
        away = seen.state_of(member.name) != "running"
        hint = "inv up brings back what does not run" if away else f"inv logs --node {member.name}"
        kind = Kind.CONTAINER_AWAY if away else Kind.MEMBER_UNWELL
        yield Problem(kind, member.name, f"{member.name}: {state}", hint)


def _paused(seen: Seen) -> Iterator[Problem]:
    if seen.paused:
        sentence = "Patroni is paused (maintenance mode): nobody is promoted, and no Postgres is started"
        yield Problem(Kind.PAUSED, "", sentence, resume_command(next(iter(seen.told))))


def _replay(seen: Seen) -> Iterator[Problem]:
    for member in seen.members:
        told = seen.told[member.name]
        if isinstance(told, patroni.Told) and told.node.replay_paused:
            behind = "" if member.replay_lag is None else f", {size_text(member.replay_lag)} behind"
            yield Problem(
                Kind.REPLAY_PAUSED, member.name, f"{member.name}: replay is paused{behind}: it serves old rows",
                f'inv ssh --node {member.name} --command "psql -c \'select pg_wal_replay_resume()\'"',
            )  # fmt: skip


def _pending_restart(seen: Seen) -> Iterator[Problem]:
    waiting = {name: told.node.pending_restart for name, told in seen.told.items() if isinstance(told, patroni.Told)}
    names = [name for name, parameters in waiting.items() if parameters]
    if names:
        parameters = sorted({parameter for name in names for parameter in waiting[name]})
        sentence = f"{', '.join(names)}: a restart is pending for {', '.join(parameters)}"
        yield Problem(
            Kind.PENDING_RESTART, names[0], sentence,
            f'inv ssh --node {names[0]} --command "patronictl restart --pending --force {SCOPE}"',
        )  # fmt: skip


def _leaders_postgres(seen: Seen) -> Iterator[Problem]:
    leader = seen.leader or ""
    if isinstance(seen.facts, NoConnection):
        yield Problem(Kind.CONNECTIONS_EXHAUSTED, leader, _first_line(seen.facts), f"inv logs --node {leader}")
    if not isinstance(seen.facts, Facts):
        return
    facts = seen.facts
    if facts.clients >= facts.client_limit:
        sentence = f"{leader}: {facts.clients} connections, {facts.client_limit} are for clients: new ones are refused"
        yield Problem(Kind.CONNECTIONS_EXHAUSTED, leader, sentence, "end some, or raise max_connections")
    for slot in facts.slots:
        if slot.retained > facts.slot_limit:
            use = "in use" if slot.active else "unused"
            sentence = f"{leader}: the {use} {slot.type} slot {slot.name} keeps {size_text(slot.retained)} of WAL"
            hint = "" if slot.active else f"inv psql --command \"select pg_drop_replication_slot('{slot.name}')\""
            yield Problem(Kind.SLOT_RETAINS_WAL, leader, sentence, hint)


def _cut_off(seen: Seen) -> Iterator[Problem]:
    for name, why in seen.late.items():
        yield Problem(Kind.CUT_OFF, name, f"{name} {why}")


def _strangers(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.view, PghaError):
        return
    shown = {member.name for member in seen.members}
    for member in seen.view.members:
        if member.name not in shown:
            sentence = f"{member.name} is a member, but not one of the rendered settings: inv render"
            yield Problem(Kind.STRANGER, member.name, sentence, "inv render")


def _containers(seen: Seen) -> Iterator[Problem]:
    """Hosts without a Postgres; a member whose container is away says so in its state."""
    members = {member.name for member in seen.members}
    for name in seen.hosts:
        if name not in members and seen.state_of(name) != "running":
            sentence = f"{name}: container {seen.state_of(name)}"
            yield Problem(Kind.CONTAINER_AWAY, name, sentence, "inv up brings back what does not run")


def _networks(seen: Seen) -> Iterator[Problem]:
    for name, networks in seen.networks.items():
        container = seen.containers.get(name)
        if container is None or container.state != "running":
            continue
        lacking = [network for network in networks if network not in container.addresses]
        if lacking:
            sentence = f"{name} is not on the network {' and '.join(lacking)}"
            yield Problem(Kind.NETWORK_MISSING, name, sentence, "inv chaos.heal, or inv up")


def _repository(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.stanza, PghaError):
        yield Problem(Kind.REPOSITORY_UNREADABLE, "", f"the repository cannot be read: {_first_line(seen.stanza)}")
    elif seen.stanza and not seen.stanza.missing:
        if not seen.stanza.ok:
            yield Problem(Kind.REPOSITORY_UNREADABLE, "", f"the stanza is not well: {seen.stanza.message}", "inv info")
        if seen.system_id and seen.stanza.system_id and seen.stanza.system_id != seen.system_id:
            sentence = f"the stanza is of another database ({seen.stanza.system_id}), this one is not backed up"
            yield Problem(Kind.STANZA_OF_ANOTHER, "", sentence, "docs/restore.md")


def _archiving(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.archiver, postgres.Archiver) and seen.archiver.failing:
        sentence = f"archiving fails at {seen.archiver.last_failed}"
        yield Problem(Kind.ARCHIVING_FAILS, seen.leader or "", sentence, f"inv logs --node {seen.leader}")


def _archive_gap(seen: Seen) -> Iterator[Problem]:
    """Until a backup begins after it: then nothing has to pass there any more."""
    gap = seen.facts.archive_gap if isinstance(seen.facts, Facts) else ()
    newest = seen.stanza.newest if isinstance(seen.stanza, repository.StanzaView) else None
    begun = wal.parse_segment(newest.wal_start)[1] if newest else 0
    if gap and wal.parse_segment(gap[-1])[1] >= begun:
        sentence = f"the archive lacks {wal.name_some(gap)}, and nobody has it: no restore can pass there"
        yield Problem(Kind.ARCHIVE_GAP, seen.leader or "", sentence, "inv backup")


def _broken(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.broken, PghaError):
        yield Problem(Kind.RECORD_DAMAGED, "", seen.broken.message, seen.broken.hint)
        return
    for entry in seen.broken:
        yield Problem(Kind.BROKEN, entry.host, f"broken by chaos: {entry}", "inv chaos.heal")


def _backups(seen: Seen) -> Iterator[Problem]:
    verified = seen.verified
    if verified and not verified.ok:
        kind, verdict = Kind.BACKUP_NOT_GOOD, "is not good"
        if not verified.checked:
            kind, verdict = Kind.BACKUP_UNCHECKED, f"could not be checked on {verified.node}"
        lines = verified.error.strip().splitlines() or ["no reason given"]
        yield Problem(kind, "", f"backup {verified.label} {verdict}: {lines[-1]}", "inv verify")


def _jobs(seen: Seen) -> Iterator[Problem]:
    """Jobs of the present schedule, and the verification, which an operator may start too; until a later success."""
    scheduled = {job.name for job in seen.jobs} | {"verify-repository"}
    newest = seen.stanza.newest if isinstance(seen.stanza, repository.StanzaView) else None
    for job, result in seen.results.items():
        overtaken = job in pgbackrest.TYPES and newest is not None and newest.stop > result.ended
        if result.exit_code and job in scheduled and not overtaken:
            why = f" ({result.words})" if result.words else ""
            sentence = f"the job {job} ended with exit code {result.exit_code}{why}"
            yield Problem(Kind.JOB_FAILED, "", sentence, f"inv logs --job {job}")


RULES: tuple[Rule, ...] = (
    _restore, _paused, _quorum, _etcd_members, _leader, _cut_off, _members, _replay, _leaders_postgres, _strangers,
    _containers, _networks, _repository, _archiving, _archive_gap, _broken, _backups, _jobs, _pending_restart,
)  # fmt: skip
