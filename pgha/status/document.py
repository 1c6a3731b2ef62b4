"""The survey as one JSON document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pgha.console import addressed
from pgha.errors import PghaError
from pgha.model.topology import MONITORING
from pgha.model.words import json_time, time_of
from pgha.project.ports import LOOPBACK
from pgha.project.project import Project
from pgha.status.seen import Seen
from pgha.status.survey import Survey
from pgha.tools import beside, etcd, patroni, pgbackrest, postgres


def survey_document(project: Project, survey: Survey) -> dict[str, Any]:
    """The survey for `--json`."""
    seen, topology = survey.seen, project.topology
    return {
        "project": project.name,
        "healthy": survey.healthy,
        "problems": [{"kind": p.kind, "host": p.host or None, "sentence": p.sentence} for p in survey.problems],
        "system_identifier": seen.system_id,
        "leader": seen.leader,
        "lock": {"holder": seen.lock.holder, "expires_seconds": seen.lock.seconds}
        if isinstance(seen.lock, etcd.Lock)
        else None,
        "paused": seen.paused,
        "maintenance": [host for host in seen.hosts if seen.is_in_maintenance(host)],
        "members": [
            {
                "name": m.name,
                "data_center": m.data_center,
                "role": m.role,
                "state": m.state,
                "timeline": m.timeline,
                "lag_bytes": m.lag,
                "replay_lag_bytes": m.replay_lag,
                "pending_restart": list(seen.pending_restart(m.name)),
                "postgres_port": m.postgres_port,
                "ssh_port": m.ssh_port,
            }
            for m in seen.members
        ],
        "etcd": etcd_document(seen.etcd),
        "backup": _backup_document(seen),
        "clone": {"name": seen.clone.name, "state": seen.clone.state, "port": seen.clone.port}
        if isinstance(seen.clone, beside.Beside)
        else None,
        "monitoring": monitoring_document(seen),
        "address": project.settings.publish_address,
        "machines": [
            {"name": machine.name, "address": machine.address, "sites": [s.name for s in topology.sites_on(machine)]}
            for machine in topology.machines
        ],
    }


def view_document(view: patroni.ClusterView) -> dict[str, Any]:
    """The members alone for `--json`, as one of them tells."""
    members = [{"name": m.name, "role": m.role, "state": m.state, "timeline": m.timeline} for m in view.members]
    return {"leader": view.leader.name if view.leader else None, "paused": view.paused, "members": members}


def error_document(error: PghaError) -> dict[str, str]:
    """An error for `--json`."""
    return {"error": error.kind, "message": error.message, "hint": addressed(error.hint)}


def etcd_document(view: etcd.EtcdView | PghaError) -> dict[str, Any]:
    """The etcd members for `--json`."""
    if isinstance(view, PghaError):
        return dict(error_document(view))
    return {
        "members": view.members,
        "healthy": len(view.healthy),
        "unhealthy": list(view.unhealthy),
        "quorum": view.quorum,
        "has_quorum": view.has_quorum,
        "may_fail": view.may_fail,
        "alarm": view.alarm or None,
    }


def monitoring_document(seen: Seen) -> dict[str, Any] | None:
    """Where Prometheus and Alertmanager are, and how many of those they ask answer; None without monitoring."""
    ports = {name: seen.ports.get(name, {}).get(MONITORING) for name in ("prometheus", "alertmanager")}
    if not all(ports.values()):
        return None
    known = None if isinstance(seen.targets, PghaError) or not seen.targets else seen.targets
    return {
        **{name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()},
        "targets": None if known is None else len(known),
        "up": None if known is None else sum(target.health == "up" for target in known),
    }


def _backup_document(seen: Seen) -> dict[str, Any] | None:
    stanza, archiver = seen.stanza, seen.archiver
    if stanza is None:
        return None
    if isinstance(stanza, PghaError):
        waiting = archiver.waiting if isinstance(archiver, postgres.Archiver) else None
        return {**error_document(stanza), "archiving": archiving_word(archiver), "waiting_segments": waiting}
    newest = seen.newest
    verified, results = seen.verified, seen.results
    archived = archiver if isinstance(archiver, postgres.Archiver) else None
    return {
        "stanza": "ok" if stanza.ok else stanza.message,
        "backups": len(stanza.backups),
        "former_repository": seen.former or None,
        "last": {"label": newest.label, "type": newest.type, "stop": json_time(time_of(newest.stop))}
        if newest
        else None,
        "archiving": archiving_word(archiver),
        "last_archived": archived.last_archived if archived else None,
        "waiting_segments": archived.waiting if archived else None,
        "waiting_seconds": archived.waiting_seconds if archived else None,
        "verified": _verified_document(verified) if verified else None,
        "schedule": [
            {
                "job": job.name,
                "times": job.times,
                "next_run": json_time(job.next_run(datetime.now(UTC))),
                "last_ended": json_time(time_of(results[job.name].ended)) if job.name in results else None,
                "last_exit_code": results[job.name].exit_code if job.name in results else None,
            }
            for job in seen.jobs
        ],
    }


def _verified_document(verified: pgbackrest.Verification) -> dict[str, Any]:
    ended = json_time(time_of(verified.ended))
    return {"ok": verified.ok, "checked": verified.checked, "ended": ended, "node": verified.node}


def archiving_word(archiver: postgres.Archiver | PghaError | None) -> str:
    """on, off, failing or unknown."""
    if not isinstance(archiver, postgres.Archiver):
        return "unknown"
    if not pgbackrest.archives(archiver.command):
        return "off"
    return "failing" if archiver.failing else "on"
