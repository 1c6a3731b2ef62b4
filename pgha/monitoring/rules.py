"""Alert rules: one for each kind of problem that metrics can tell, by the name `inv status` has for it.

The rules know kinds by their names alone: `status` stands above this room, and a test holds both together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pgha.model.settings import Settings
from pgha.model.topology import Topology

CRITICAL, WARNING = "critical", "warning"
"""Critical: writes stop, or would with one more failure; or there is nothing to restore from."""

SOON, SETTLED = 5, 15
"""Seconds a problem lasts before somebody is told: one that stops writes, and one that a failover or a restart has for
a moment. 0: what is told holds for as long as it is true."""

CERTIFICATE_DAYS = 30
DISK_PERCENT, DISK_BYTES = 95, 10 << 30
"""As `inv status` has them."""


@dataclass(frozen=True)
class Facts:
    """What an expression may need to know."""

    settings: Settings
    topology: Topology

    @property
    def late(self) -> int:
        """Seconds after which a member that has not heard from etcd is late: more than a scrape and two looks."""
        return max(self.settings.ttl, 2 * self.settings.loop_wait + 10)


@dataclass(frozen=True)
class Alert:
    """How metrics tell a problem. `summary` and `hint` may name labels: `{{ $labels.host }}`."""

    expression: Callable[[Facts], str]
    seconds: int
    severity: str
    summary: str
    hint: str
    needs: Callable[[Facts], bool] = lambda _: True
    """whether this project can have it at all"""


HOST = "{{ $labels.host }}"
LEADS = "on (host) (patroni_primary == 1)"
REPOSITORY: Callable[[Facts], bool] = lambda facts: facts.topology.repository is not None  # noqa: E731
SLOTS: Callable[[Facts], bool] = lambda facts: bool(facts.settings.slots)  # noqa: E731


def _always(expression: str) -> Callable[[Facts], str]:
    return lambda _: expression


def _quorum(facts: Facts) -> str:
    return f'(count(etcd_server_has_leader{{job="etcd"}} == 1) or vector(0)) < {facts.topology.etcd_quorum}'


def _late(facts: Facts) -> str:
    """Late, while somebody is not: who knows nothing of etcd because nobody does is not cut off."""
    late = f"time() - patroni_dcs_last_seen > {facts.late}"
    return f"({late}) and on () (time() - max(patroni_dcs_last_seen) <= {facts.late})"


def _missing_slots(facts: Facts) -> str:
    """For each slot of the settings: a leader, and none of that name on it."""
    there = 'label_replace(group(patroni_primary == 1), "slot_name", "%s", "", "")'
    slot = f'group by (slot_name) (pgha_slot_retained_bytes{{slot_name="%s"}} and {LEADS})'
    return " or ".join(f"({there % name} unless on (slot_name) {slot % name})" for name in sorted(facts.settings.slots))


def _latest(which: str) -> str:
    """Of each backup the node that verified it last, among these: of two verdicts the newer one holds."""
    ended = f"(pgha_verification_ended_timestamp_seconds and ({which}))"
    return f"({ended} == on (backup) group_left () max by (backup) {ended})"


QUOTA_REACHED = "etcd_mvcc_db_total_size_in_bytes >= etcd_server_quota_backend_bytes"
UNWELL = (
    '(up{job="patroni"} == 0 and on (host) (up{job="host"} == 1))'
    " or (patroni_postgres_running == 0)"
    " or (patroni_postgres_streaming == 0 unless on (host) (patroni_primary == 1)"
    " and on () (max(patroni_primary) == 1))"
)
"""A standby has nobody to stream from while nobody leads, which is told."""
PLACES = '{mountpoint=~"/pgdata.*|/pgha/pgbackrest.*"}'
AVAILABLE, SIZE, FREE = (f"node_filesystem_{what}_bytes{PLACES}" for what in ("avail", "size", "free"))
USED = f"100 * (1 - {AVAILABLE} / ({SIZE} - {FREE} + {AVAILABLE}))"
"""As df counts: of what those who are not root may use."""
NEWEST = "on (backup) group_left () (pgha_backup_newest == 1)"
GOOD = f"(pgha_verification_good and {_latest('pgha_verification_checked == 1')})"
CHECKED = f"(pgha_verification_checked and {_latest('pgha_verification_checked')})"
LATEST_JOB = "(pgha_job_ended_timestamp_seconds == on (job_name) group_left () max by (job_name) (pgha_job_ended_timestamp_seconds))"  # fmt: skip  # noqa: E501

ALERTS: dict[str, Alert] = {
    "no_leader": Alert(
        _always("(sum(patroni_primary == 1 and patroni_postgres_running == 1) or vector(0)) < 1"), SOON, CRITICAL,
        "there is no leader: writes are not accepted", "inv status"),
    "quorum_lost": Alert(
        _quorum, SOON, CRITICAL, "etcd has lost its quorum: no member can be promoted", "inv status"),
    "etcd_unknown": Alert(
        _always('max(up{job="etcd"}) == 0'), SETTLED, CRITICAL, "no etcd member answers", "inv status"),
    "etcd_unhealthy": Alert(
        _always('etcd_server_has_leader{job="etcd"} == 0'), SETTLED, WARNING,
        f"{HOST} is not healthy: it knows no leader of etcd", f"inv logs --node {HOST}"),
    "etcd_alarm": Alert(
        _always(f"max({QUOTA_REACHED}) or max(pgha_etcd_alarms > 0)"), 0, CRITICAL,
        "etcd has raised an alarm or reached its quota: it takes no writes, and no member can be promoted",
        "inv status"),
    "dcs_unknown": Alert(
        lambda facts: f"time() - max(patroni_dcs_last_seen) > {facts.late}", 0, CRITICAL,
        "no Patroni has heard from etcd", "inv status"),
    "cut_off": Alert(
        _late, 0, WARNING, f"{HOST} has not heard from etcd, and others have", "inv status"),
    "container_away": Alert(
        _always("max by (host, site) (up) == 0"), 10, WARNING,
        f"{HOST} does not answer at all: it is away, or cut off from the monitoring",
        "inv up brings back what does not run"),
    "member_unwell": Alert(
        _always(UNWELL), SETTLED, WARNING, f"{HOST} does not stream, or its Patroni does not answer",
        f"inv logs --node {HOST}"),
    "paused": Alert(
        _always("max(patroni_is_paused) == 1"), SETTLED, WARNING,
        "Patroni is paused (maintenance mode): nobody is promoted, and no Postgres is started", "inv resume"),
    "replay_paused": Alert(
        _always("patroni_xlog_paused == 1"), SETTLED, WARNING, f"{HOST}: replay is paused: it serves old rows",
        "inv status"),
    "pending_restart": Alert(
        _always("patroni_pending_restart == 1"), SETTLED, WARNING, f"{HOST}: a restart is pending",
        "inv restart --pending"),
    "disk_full": Alert(
        _always(f"{USED} >= {DISK_PERCENT} and {AVAILABLE} < {DISK_BYTES}"), 0, CRITICAL,
        f"the disk of {HOST} at {{{{ $labels.mountpoint }}}} is {{{{ $value | printf \"%.0f\" }}}} % full",
        f"inv ssh --node {HOST} --command 'df -h'"),
    "connections_exhausted": Alert(
        _always(f"pgha_postgres_clients >= pgha_postgres_client_limit and {LEADS}"), 0, CRITICAL,
        f"{HOST}: every connection for clients is in use: new ones are refused",
        "end some, or raise max_connections"),
    "slot_retains_wal": Alert(
        _always("(pgha_slot_retained_bytes > on (host) group_left () pgha_postgres_slot_limit_bytes) and " + LEADS),
        SETTLED, WARNING,
        f"{HOST}: the slot {{{{ $labels.slot_name }}}} keeps {{{{ $value | humanize1024 }}}}B of WAL", "inv status"),
    "slot_missing": Alert(
        _missing_slots, SETTLED, WARNING, "the leader lacks the slot {{ $labels.slot_name }} of the settings",
        "inv up says what it waits for", SLOTS),
    "repository_unreadable": Alert(
        _always("pgha_repository_readable == 0"), SETTLED, CRITICAL,
        "the repository cannot be read, or its stanza is not well", "inv info", REPOSITORY),
    "no_backup": Alert(
        _always("pgha_stanza == 1 and on () (pgha_backups == 0)"), 0, CRITICAL,
        "there is no backup: nothing can be restored", "inv backup", REPOSITORY),
    "archiving_fails": Alert(
        _always(f"pgha_archiver_failing == 1 and {LEADS}"), 0, CRITICAL, f"archiving fails on {HOST}",
        f"inv logs --node {HOST}", REPOSITORY),
    "archive_gap": Alert(
        _always(f"max(pgha_archive_gap_segment and {LEADS}) >= (max(pgha_backup_newest_segment) or vector(0))"), 0,
        CRITICAL, "the archive lacks segments that nobody has: no restore can pass there", "inv backup", REPOSITORY),
    "backup_not_good": Alert(
        _always(f"({GOOD} * {NEWEST}) == 0"), 0, CRITICAL,
        "backup {{ $labels.backup }} was restored, and is not good", "inv verify", REPOSITORY),
    "backup_unchecked": Alert(
        _always(f"({CHECKED} * {NEWEST}) == 0"), 0, WARNING,
        f"backup {{{{ $labels.backup }}}} could not be checked on {HOST}", "inv verify", REPOSITORY),
    "job_failed": Alert(
        _always(
            f"(pgha_job_exit_code and {LATEST_JOB}) != 0 unless on (job_name) (pgha_job_overtaken == 1)"), 0, WARNING,
        "the job {{ $labels.job_name }} ended with exit code {{ $value }}", "inv logs --job {{ $labels.job_name }}",
        REPOSITORY),
    "certificate_expires": Alert(
        _always(f"pgha_certificate_ends_timestamp_seconds - time() < {CERTIFICATE_DAYS * 86400}"), 0, WARNING,
        f"a certificate of {HOST} ends in {{{{ $value | humanizeDuration }}}}", "inv rotate --what certificates"),
    "scrape_fails": Alert(
        _always('(up{job!="patroni"} == 0) and on (host) (max by (host) (up) == 1)'), SETTLED, WARNING,
        f"the metrics of {HOST} ({{{{ $labels.job }}}}) cannot be read", f"inv logs --node {HOST}"),
}  # fmt: skip
"""Kind -> how it is told."""

_RECORD = "a record of the operator's host, which no container knows"

UNTOLD = {
    "settings_differ": "what the settings say is known to the operator's host alone",
    **dict.fromkeys(
        ("restore_half_done", "upgrade_half_done", "rollout_half_done", "recovery_half_done", "scale_half_done",
         "replace_half_done", "rotation_half_done", "maintenance", "broken", "record_damaged", "hosts_gone"), _RECORD),
    "etcd_member_lost": "a member that ends as it starts has no metrics: container_away",
    "network_missing": "the engine tells, not the container; what it causes is told: container_away, cut_off",
    "stranger": "only those of the settings are asked",
    "gone_is_back": "only those of the settings are asked",
    "login_failed": "the exporter is let in by the local socket, as no client is",
    "slot_not_kept": "told by comparing all members, which `inv status` does",
    "stanza_of_another": "told by comparing the repository with the members, which `inv status` does",
    "backup_of_another": "told by comparing the repository with the members, which `inv status` does",
    "monitoring_silent": "who watches does not tell that it is away",
    "machine_unreachable": "there is no monitoring on several machines yet",
}  # fmt: skip
"""Kind -> why no metric tells it."""


def rules_document(settings: Settings, topology: Topology) -> dict[str, Any]:
    """rules.yml: those that this project can have, in the order of their names."""
    facts = Facts(settings, topology)
    rules = [_rule(name, alert, facts) for name, alert in sorted(ALERTS.items()) if alert.needs(facts)]
    return {"groups": [{"name": "pgha", "rules": rules}]}


def _rule(name: str, alert: Alert, facts: Facts) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": alert.expression(facts),
        "for": f"{alert.seconds}s",
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "hint": alert.hint},
    }
