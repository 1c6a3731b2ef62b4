"""What is wrong, from what was seen: each rule looks at one thing and names the problems it finds there."""

from __future__ import annotations

from collections.abc import Iterator

from pgha.cluster.clients import SUPERUSER
from pgha.cluster.quorum import ALARM_HELP
from pgha.cluster.slots import HELP as SLOT_HELP
from pgha.errors import ConnectionsUsedUp, NoConnection, PghaError
from pgha.model.words import counted, size_text, time_of, time_text
from pgha.project.running import SHAPE, UNCHANGEABLE
from pgha.remote.postgres_client import Refusal
from pgha.status import backup_problems, half_done, monitoring_problems
from pgha.status.kinds import Kind, Problem, Rule, first_line
from pgha.status.machine_problems import is_on_one_away, machines
from pgha.status.seen import Seen
from pgha.tools import patroni
from pgha.tools.leader import Facts, Slot

DISK_FULL, DISK_FREE = 95, 10 << 30
"""A disk is full from so many percent on, when fewer than so many bytes are free: of a large one 5 % are plenty."""


def find_problems(seen: Seen) -> tuple[Problem, ...]:
    """Every problem, the gravest first."""
    return tuple(problem for rule in RULES for problem in rule(seen))


def next_command(problems: tuple[Problem, ...]) -> str:
    """The hint that helps most: what was begun or broken on purpose is ended first, then what does not run; what is
    stopped for maintenance comes back when whoever stopped it wants it to."""
    hinting = [problem for problem in problems if problem.hint]
    if not hinting:
        return ""
    first = (
        Kind.RESTORE_HALF_DONE, Kind.RECOVERY_HALF_DONE, Kind.UPGRADE_HALF_DONE, Kind.SCALE_HALF_DONE,
        Kind.REPLACE_HALF_DONE, Kind.BROKEN,
        Kind.ROLLOUT_HALF_DONE, Kind.CONTAINER_AWAY,
    )  # fmt: skip
    order = {kind: place for place, kind in enumerate(first)} | {Kind.MAINTENANCE: len(Kind)}
    return min(hinting, key=lambda p: order.get(p.kind, len(first))).hint


# Rules ------------------------------------------------------------------------------------------------------


def _settings(seen: Seen) -> Iterator[Problem]:
    known = (*(SHAPE if seen.scaling else ()), *(("postgres",) if seen.upgrade else ()))
    differs = {key: words for key, words in seen.differs.items() if key not in known}
    if differs:
        fixed = [key for key in differs if key in UNCHANGEABLE]
        applies = "inv up --at-once applies them" if "tls" in seen.differs else "inv up applies them"
        hint = f"set {' and '.join(fixed)} back: over its data up refuses it" if fixed else applies
        if set(differs) <= set(SHAPE):
            hint = "inv scale makes it so; or set it back"
        if set(differs) == {"postgres"}:
            hint = "inv upgrade --major makes it so where it is newer; or set it back"
        sentence = f"the settings differ from what runs: {'; '.join(differs.values())}"
        yield Problem(Kind.SETTINGS_DIFFER, "", sentence, hint)


def _quorum(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.etcd, PghaError):
        yield Problem(Kind.ETCD_UNKNOWN, "", f"etcd cannot be asked: {first_line(seen.etcd)}")
    elif seen.etcd.alarm:
        size = f" with {size_text(seen.etcd.size)} of data" if seen.etcd.size else ""
        sentence = f"etcd has raised the alarm {seen.etcd.alarm}{size} and takes no writes: no member can be promoted"
        yield Problem(Kind.ETCD_ALARM, "", sentence, ALARM_HELP)
    elif not seen.etcd.has_quorum:
        yield Problem(Kind.QUORUM_LOST, "", "etcd has lost its quorum: no member can be promoted")


def _etcd_members(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.etcd, PghaError) or seen.etcd.alarm:
        return
    for name in seen.etcd.unhealthy:
        if seen.is_in_maintenance(name):
            continue
        if _is_lost_member(seen, name):
            sentence = f"{name} starts and ends again: an etcd member that lost its data is not let in again as it is"
            yield Problem(Kind.ETCD_MEMBER_LOST, name, sentence, "inv up takes it out of etcd and in again")
        if seen.state_of(name) != "running":
            continue
        if seen.etcd.has_quorum and seen.is_site_cut_off(name):
            yield Problem(Kind.CUT_OFF, name, f"{name} is cut off from the other etcd members")
        else:
            yield Problem(Kind.ETCD_UNHEALTHY, name, f"{name} is not healthy", f"inv logs --node {name}")


def _is_lost_member(seen: Seen, name: str) -> bool:
    """Whether an etcd member ends as soon as it starts, while the others can decide."""
    if isinstance(seen.etcd, PghaError) or not seen.etcd.has_quorum:
        return False
    return name in seen.etcd.unhealthy and seen.state_of(name) == "restarting"


def _leader(seen: Seen) -> Iterator[Problem]:
    if seen.leader is None:
        yield Problem(Kind.NO_LEADER, "", "there is no leader: writes are not accepted")
    if isinstance(seen.view, PghaError):
        yield Problem(Kind.DCS_UNKNOWN, "", f"the DCS view is not available: {first_line(seen.view)}")


def _members(seen: Seen) -> Iterator[Problem]:
    unwell = [
        m for m in seen.members
        if m.name != seen.leader and m.state != "streaming" and m.name not in seen.late
        and not seen.is_in_maintenance(m.name) and not _waits_for_a_leader(seen, m.name)
        and not is_on_one_away(seen, m.name)
    ]  # fmt: skip
    # One that says nothing before one that is on its way.
    for member in sorted(unwell, key=lambda m: not isinstance(seen.told[m.name], PghaError)):
        state = "running, but it does not stream" if member.state == "running" else member.state or "unknown"
        away = seen.state_of(member.name) != "running"
        hint = "inv up brings back what does not run" if away else f"inv logs --node {member.name}"
        kind = Kind.CONTAINER_AWAY if away else Kind.MEMBER_UNWELL
        yield Problem(kind, member.name, f"{member.name}: {state}", hint)


def _waits_for_a_leader(seen: Seen, name: str) -> bool:
    """A standby that runs while nobody leads has nobody to stream from; that there is no leader is said."""
    told = seen.told[name]
    return (
        seen.leader is None
        and isinstance(told, patroni.Told)
        and told.node.state in ("running", "in archive recovery")
        and (told.node.role != "leader")
    )


def _paused(seen: Seen) -> Iterator[Problem]:
    if seen.paused:
        sentence = "Patroni is paused (maintenance mode): nobody is promoted, and no Postgres is started"
        yield Problem(Kind.PAUSED, "", sentence, "inv resume")


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
        yield Problem(Kind.PENDING_RESTART, names[0], sentence, "inv restart --pending")


def _leaders_postgres(seen: Seen) -> Iterator[Problem]:
    leader = seen.leader or ""
    if isinstance(seen.facts, NoConnection):
        used_up = isinstance(seen.facts, ConnectionsUsedUp)
        kind = Kind.CONNECTIONS_EXHAUSTED if used_up else Kind.MEMBER_UNWELL
        yield Problem(kind, leader, first_line(seen.facts), f"inv logs --node {leader}")
    if not isinstance(seen.facts, Facts):
        return
    facts = seen.facts
    if isinstance(seen.login, Refusal):
        hint = f"inv logs --node {leader}"
        if seen.login.asked:
            hint = "inv up gives it the project's password again"
        elif "certificate" in seen.login.words:
            hint = "inv up brings it the certificate that is here"
        words = (seen.login.words.splitlines() or ["no reason given"])[0]
        yield Problem(Kind.LOGIN_FAILED, leader, f"clients cannot log in as {SUPERUSER}: {words}", hint)
    if facts.clients >= facts.client_limit:
        there = counted(facts.clients, "connection")
        sentence = f"{leader}: {there}, {facts.client_limit} are for clients: new ones are refused"
        yield Problem(Kind.CONNECTIONS_EXHAUSTED, leader, sentence, "end some, or raise max_connections")
    for slot in facts.slots:
        if slot.retained > facts.slot_limit:
            use = "in use" if slot.active else "unused"
            sentence = f"{leader}: the {use} {slot.type} slot {slot.name} keeps {size_text(slot.retained)} of WAL"
            yield Problem(Kind.SLOT_RETAINS_WAL, leader, sentence, _way_to_drop(seen, slot))


def _disks(seen: Seen) -> Iterator[Problem]:
    """Containers of one host may share a disk: then it is named once."""
    same: dict[tuple[str, int], list[str]] = {}
    for host, disks in seen.disks.items():
        for disk in disks:
            if disk.percent >= DISK_FULL and disk.free < DISK_FREE:
                same.setdefault((f"{disk.percent:.0f} % full, {size_text(disk.free)} free", disk.size), []).append(host)
    for (words, _), hosts in same.items():
        sentence = f"the disk of {' and '.join(hosts)} is {words}"
        yield Problem(Kind.DISK_FULL, hosts[0], sentence, f"inv ssh --node {hosts[0]} --command 'df -h'")


def _way_to_drop(seen: Seen, slot: Slot) -> str:
    if slot.active:
        return ""
    if slot.name in seen.wanted_slots:
        return f"take it out of the setting slots, then: inv up, inv config --unset slots.{slot.name}"
    return f"inv psql --command \"select pg_drop_replication_slot('{slot.name}')\""


def _slots(seen: Seen) -> Iterator[Problem]:
    """A logical slot that only the leader has, and one of the settings that even the leader has not."""
    for slot in seen.slots:
        if slot.lacking and not slot.declared:
            where = "is on no other member"
            if slot.failover or len(slot.lacking) < len(seen.told) - 1:
                where = f"is not {'synchronized to' if slot.failover else 'on'} {' and '.join(slot.lacking)}"
            sentence = f"{seen.leader}: the logical slot {slot.name} {where}: it is lost with the leader"
            yield Problem(Kind.SLOT_NOT_KEPT, seen.leader or "", sentence, f"the setting slots keeps one: {SLOT_HELP}")
    there = {slot.name for slot in seen.facts.slots} if isinstance(seen.facts, Facts) else set(seen.wanted_slots)
    for name, given in seen.wanted_slots.items():
        if name not in there:
            what = f", of the database {given['database']}," if "database" in given else ""
            sentence = f"{seen.leader} lacks the slot {name}{what} which is in the settings"
            yield Problem(Kind.SLOT_MISSING, seen.leader or "", sentence, "inv up says what it waits for")


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
        if name in members or seen.is_in_maintenance(name) or _is_lost_member(seen, name) or is_on_one_away(seen, name):
            continue
        if seen.state_of(name) != "running":
            sentence = f"{name}: container {seen.state_of(name)}"
            yield Problem(Kind.CONTAINER_AWAY, name, sentence, "inv up brings back what does not run")


def _maintenance(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.maintenance, PghaError):
        yield Problem(Kind.RECORD_DAMAGED, "", seen.maintenance.message, seen.maintenance.hint)
        return
    for entry in seen.maintenance:
        sentence = f"{entry.host} is stopped for maintenance since {time_text(time_of(entry.since), 'minutes')}"
        yield Problem(Kind.MAINTENANCE, entry.host, sentence, f"inv start --node {entry.host}")


def _networks(seen: Seen) -> Iterator[Problem]:
    for name, networks in seen.networks.items():
        container = seen.containers.get(name)
        if container is None or container.state != "running":
            continue
        lacking = [network for network in networks if network not in container.addresses]
        if lacking:
            sentence = f"{name} is not on the network {' and '.join(lacking)}"
            yield Problem(Kind.NETWORK_MISSING, name, sentence, "inv chaos.heal, or inv up")


def _broken(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.broken, PghaError):
        yield Problem(Kind.RECORD_DAMAGED, "", seen.broken.message, seen.broken.hint)
        return
    for entry in seen.broken:
        yield Problem(Kind.BROKEN, entry.host, f"broken by chaos: {entry}", "inv chaos.heal")


RULES: tuple[Rule, ...] = (
    half_done.restore, half_done.recovery, half_done.upgrade, half_done.scaling, half_done.replacing,
    half_done.rollout, half_done.rotation, machines, backup_problems.certificates_over, _settings, _paused, _quorum,
    _etcd_members, _leader, _cut_off, _members, _disks, _replay, _leaders_postgres, _slots, _strangers, _containers,
    half_done.gone, _maintenance, _networks, backup_problems.repository, backup_problems.archiving,
    backup_problems.archive_gap, _broken, backup_problems.backups, backup_problems.jobs, backup_problems.certificates,
    _pending_restart, monitoring_problems.monitoring,
)  # fmt: skip
