"""What a problem is, and the kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pgha.errors import PghaError
from pgha.status.seen import Seen


class Kind(StrEnum):
    """What a program may want to distinguish; also the names in `--json`."""

    SETTINGS_DIFFER = "settings_differ"
    RESTORE_HALF_DONE = "restore_half_done"
    UPGRADE_HALF_DONE = "upgrade_half_done"
    ROLLOUT_HALF_DONE = "rollout_half_done"
    RECOVERY_HALF_DONE = "recovery_half_done"
    SCALE_HALF_DONE = "scale_half_done"
    REPLACE_HALF_DONE = "replace_half_done"
    ROTATION_HALF_DONE = "rotation_half_done"
    CERTIFICATE_EXPIRES = "certificate_expires"
    ETCD_UNKNOWN = "etcd_unknown"
    QUORUM_LOST = "quorum_lost"
    ETCD_UNHEALTHY = "etcd_unhealthy"
    ETCD_ALARM = "etcd_alarm"
    NO_LEADER = "no_leader"
    DCS_UNKNOWN = "dcs_unknown"
    PAUSED = "paused"
    CUT_OFF = "cut_off"
    MEMBER_UNWELL = "member_unwell"
    REPLAY_PAUSED = "replay_paused"
    PENDING_RESTART = "pending_restart"
    LOGIN_FAILED = "login_failed"
    DISK_FULL = "disk_full"
    CONNECTIONS_EXHAUSTED = "connections_exhausted"
    SLOT_RETAINS_WAL = "slot_retains_wal"
    SLOT_NOT_KEPT = "slot_not_kept"
    SLOT_MISSING = "slot_missing"
    ETCD_MEMBER_LOST = "etcd_member_lost"
    NETWORK_MISSING = "network_missing"
    STRANGER = "stranger"
    CONTAINER_AWAY = "container_away"
    MACHINE_UNREACHABLE = "machine_unreachable"
    MAINTENANCE = "maintenance"
    HOSTS_GONE = "hosts_gone"
    GONE_IS_BACK = "gone_is_back"
    REPOSITORY_UNREADABLE = "repository_unreadable"
    STANZA_OF_ANOTHER = "stanza_of_another"
    BACKUP_OF_ANOTHER = "backup_of_another"
    NO_BACKUP = "no_backup"
    ARCHIVING_FAILS = "archiving_fails"
    ARCHIVE_GAP = "archive_gap"
    BROKEN = "broken"
    RECORD_DAMAGED = "record_damaged"
    BACKUP_NOT_GOOD = "backup_not_good"
    BACKUP_UNCHECKED = "backup_unchecked"
    JOB_FAILED = "job_failed"
    MONITORING_SILENT = "monitoring_silent"
    SCRAPE_FAILS = "scrape_fails"


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


def first_line(error: PghaError) -> str:
    return error.message.splitlines()[0]
