"""What is wrong, from what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgha.backup import verification
from pgha.errors import PghaError
from pgha.failures import broken
from pgha.project.project import Project
from pgha.status.seen import MemberState, or_error
from pgha.tools import docker, etcd, patroni, postgres, repository


def cluster_problems(
    project: Project,
    view: patroni.ClusterView | PghaError,
    members: tuple[MemberState, ...],
    leader: str | None,
    etcd_view: etcd.EtcdView | PghaError,
    stanza: repository.StanzaView | PghaError | None,
    archiver: postgres.Archiver | PghaError | None,
    containers: dict[str, str],
) -> list[str]:
    """What an operator should know, the gravest first."""
    found = []
    if isinstance(etcd_view, PghaError):
        found.append(f"etcd cannot be asked: {etcd_view.message.splitlines()[0]}")
    else:
        if not etcd_view.has_quorum:
            found.append("etcd has lost its quorum: no member can be promoted")
        found += [f"{n} is not healthy" for n in etcd_view.unhealthy if containers.get(n) == "running"]
    if leader is None:
        found.append("there is no leader: writes are not accepted")
    if isinstance(view, PghaError):
        found.append(f"the DCS view is not available: {view.message.splitlines()[0]}")
    unwell = {m.name: m.state or "unknown" for m in members if m.name != leader and m.state != "streaming"}
    found += [f"{n}: {'running, but it does not stream' if s == 'running' else s}" for n, s in unwell.items()]
    shown = {member.name for member in members}
    if isinstance(view, patroni.ClusterView):
        strangers = [m.name for m in view.members if m.name not in shown]
        found += [f"{name} is a member, but not one of the rendered settings: inv render" for name in strangers]
    for host in project.topology.hosts:
        state = containers.get(host.name, "missing")
        if state != "running" and host.name not in shown:
            found.append(f"{host.name}: container {state}")
    if isinstance(stanza, PghaError):
        found.append(f"the repository cannot be read: {stanza.message.splitlines()[0]}")
    if isinstance(archiver, postgres.Archiver) and archiver.failing:
        found.append(f"archiving fails at {archiver.last_failed}")
    return found


def chaos_problems(project: Project, containers: Mapping[str, docker.Container]) -> list[str]:
    """What chaos broke and nobody healed yet."""
    entries = or_error(lambda: broken.still(project, containers.values()))
    if isinstance(entries, PghaError):
        return [entries.message]
    return [f"broken by chaos: {entry}" for entry in entries]


def verification_problems(
    stanza: repository.StanzaView | PghaError | None, kept: verification.Kept | PghaError | None
) -> list[str]:
    """Backups that did not prove good, and scheduled jobs that failed."""
    if not isinstance(kept, verification.Kept):
        return []
    found = []
    newest = stanza.newest if isinstance(stanza, repository.StanzaView) else None
    proof = kept.proof_of(newest.label) if newest else None
    if proof and not proof.ok:
        lines = proof.error.strip().splitlines() or ["no reason given"]
        found.append(f"backup {proof.label} is not good: {lines[-1]}")
    found += [
        f"the job {job} ended with exit code {result.exit_code}: inv schedule --show, inv verify"
        for job, result in kept.results.items()
        if result.exit_code
    ]
    return found


def next_command(
    project: Project, members: tuple[MemberState, ...], containers: dict[str, str], chaos: Sequence[str]
) -> str:
    """The next command when something is wrong."""
    if chaos:
        return "inv chaos.heal"
    if any(containers.get(host.name) != "running" for host in project.topology.hosts):
        return "inv up brings back what does not run"
    unwell = [m for m in members if m.role != "leader" and m.state != "streaming"]
    # One that says nothing before one that is on its way.
    unwell.sort(key=lambda m: m.state not in ("unreachable", "Patroni does not answer"))
    return f"inv logs --node {unwell[0].name if unwell else '<name>'}"
