"""Who is asked for metrics: computed from the topology, as everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pgha.model.topology import Host, Topology
from pgha.model.urls import CLIENT, EXPORTER, REST

SCRAPE_SECONDS, PATIENCE_SECONDS, JUDGE_SECONDS = 5, 4, 2
"""How often each target is asked, how long for, and how often the rules are judged: a failure that lasts `ttl` is told
while it lasts, also when the one who failed takes the question and does not answer. docs/monitoring.md tells what that
costs."""

PORTS = {"patroni": REST, "etcd": CLIENT, "postgres": 9187, "host": EXPORTER, "prometheus": 9090, "alertmanager": 9093}
"""Job -> the port it is asked at: of Patroni's and etcd's own metrics, of the exporters that Debian packages (postgres
and node), and of what runs in the monitoring's container."""


@dataclass(frozen=True)
class Security:
    """How what is asked is known: files in the monitoring's container."""

    authority: str
    certificate: str
    key: str

    def document(self) -> dict[str, str]:
        """Prometheus' `tls_config`."""
        return {"ca_file": self.authority, "cert_file": self.certificate, "key_file": self.key}


@dataclass(frozen=True)
class Target:
    """One that is asked."""

    job: str
    host: Host

    @property
    def address(self) -> str:
        name = "localhost" if self.job in ("prometheus", "alertmanager") else self.host.name
        return f"{name}:{PORTS[self.job]}"


def targets(topology: Topology) -> Iterator[Target]:
    """Every one, job after job."""
    for node in topology.nodes:
        yield Target("patroni", node)
    for member in topology.etcd:
        yield Target("etcd", member)
    for node in topology.nodes:
        yield Target("postgres", node)
    for host in topology.ssh_hosts:
        yield Target("host", host)
    if topology.monitoring:
        yield Target("prometheus", topology.monitoring)
        yield Target("alertmanager", topology.monitoring)


def prometheus_document(topology: Topology, security: Security | None = None) -> dict[str, Any]:
    """prometheus.yml. With `security` everything beyond the monitoring's own container is asked over TLS."""
    found: dict[str, list[Target]] = {}
    for target in targets(topology):
        found.setdefault(target.job, []).append(target)
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "scrape_timeout": f"{PATIENCE_SECONDS}s",
            "evaluation_interval": f"{JUDGE_SECONDS}s",
        },
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"localhost:{PORTS['alertmanager']}"]}]}]},
        "scrape_configs": [_job(job, asked, security) for job, asked in found.items()],
    }


def _job(job: str, asked: list[Target], security: Security | None) -> dict[str, Any]:
    static = [
        {"targets": [target.address], "labels": {"host": target.host.name, "site": target.host.site.name}}
        for target in asked
    ]
    own = job in ("prometheus", "alertmanager")
    document: dict[str, Any] = {"job_name": job, "static_configs": static}
    if own:
        # Nobody is told of these; they show what the monitoring itself costs.
        document["scrape_interval"] = f"{3 * SCRAPE_SECONDS}s"
    if security and not own:
        document |= {"scheme": "https", "tls_config": security.document()}
    if job in KEPT:
        document["metric_relabel_configs"] = [{"source_labels": ["__name__"], "regex": KEPT[job], "action": "keep"}]
    return document


KEPT = {
    "etcd": "etcd_server_(has_leader|is_leader|leader_changes_seen_total|proposals_(pending|failed_total)|"
            "quota_backend_bytes)|etcd_mvcc_db_total_size.*_in_bytes|"
            "etcd_disk_(wal_fsync|backend_commit)_duration_seconds_(sum|count)|"
            "etcd_network_peer_round_trip_time_seconds_(sum|count)|process_(cpu_seconds_total|resident_memory_bytes)",
    "prometheus": "process_(cpu_seconds_total|resident_memory_bytes)|prometheus_(tsdb_head_series|"
                  "notifications_(sent|dropped|errors)_total)",
    "alertmanager": "process_(cpu_seconds_total|resident_memory_bytes)|"
                    "alertmanager_(alerts|notifications(_failed)?_total)",
}  # fmt: skip
"""Job -> which of its metrics are kept: etcd alone has a thousand series."""
