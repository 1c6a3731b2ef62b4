"""What is wrong with the monitoring itself."""

from __future__ import annotations

from collections.abc import Iterator

from pgha.errors import PghaError
from pgha.model.topology import MONITORING
from pgha.status.kinds import Kind, Problem, first_line
from pgha.status.seen import Seen


def monitoring(seen: Seen) -> Iterator[Problem]:
    """Prometheus does not answer, or cannot ask somebody who is there: what is away or cut off is told by itself."""
    if isinstance(seen.targets, PghaError):
        sentence = f"the monitoring tells nothing: {first_line(seen.targets)}"
        yield Problem(Kind.MONITORING_SILENT, MONITORING, sentence, f"inv logs --node {MONITORING}")
        return
    hosts = {target.host for target in seen.targets}
    heard = {target.host for target in seen.targets if target.health != "down"}
    for host in sorted(hosts):
        failing = [target for target in seen.targets if target.host == host and target.health == "down"]
        told = host not in heard or host in seen.late or seen.state_of(host) != "running"
        # A Patroni that does not answer is the member's own problem.
        failing = [] if told else [target for target in failing if target.job != "patroni"]
        if failing:
            jobs = " and ".join(target.job for target in failing)
            sentence = f"Prometheus cannot read the metrics of {host} ({jobs}): {failing[0].error}"
            yield Problem(Kind.SCRAPE_FAILS, host, sentence, f"inv logs --node {host}")
