"""Files brought to containers that run: those that name every host, and keys and certificates that replace others.

A change of them is no reason to make a container again. One that is started later takes them from its secrets, as every
other file (images/base/entrypoint.sh).
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pgha.model.topology import Host
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.stack.rendering import secrets_of
from pgha.tools import docker, processes, trust
from pgha.tools.command import Answer

PLACES = {
    "known_hosts": ("root", "0644", trust.KNOWN_HOSTS),
    "ssh_config": ("root", "0644", "/etc/ssh/ssh_config.d/pgha.conf"),
    "pgbackrest.conf": ("postgres", "0600", "/pgha/config/pgbackrest.conf"),
    "patroni.conf": ("postgres", "0600", "/pgha/config/patroni.conf"),
    "authorized_keys": ("root", "0644", "/pgha/ssh/authorized_keys"),
    "host_key": ("root", "0600", "/pgha/ssh/host_key"),
    "id_ed25519": ("postgres", "0600", "/var/lib/postgresql/.ssh/id_ed25519"),
    "ca.crt": ("postgres", "0600", "/pgha/tls/ca.crt"),
    "host.crt": ("postgres", "0600", "/pgha/tls/host.crt"),
    "host.key": ("postgres", "0600", "/pgha/tls/host.key"),
}
"""Secret -> its owner, mode and place in the container, as the entrypoint has them."""

NAMING_HOSTS = ("known_hosts", "ssh_config", "pgbackrest.conf", "patroni.conf")
"""Those that name other hosts."""


def deliver(project: Project, hosts: Collection[str]) -> None:
    """Tell these hosts, whose containers run, of the others. pgBackRest's server at the repository reads it.

    Patroni reads its own file at its next start: while it runs it asks etcd for the members. Raises ToolFailed.
    """
    bring(project, hosts, NAMING_HOSTS)
    repository = project.topology.repository
    if repository and repository.name in hosts:
        engine.engine_of(project, repository.name).must(
            processes.reload_service(project.container(repository.name), "pgbackrest")
        )
    monitoring = project.topology.monitoring
    if monitoring and monitoring.name in hosts:
        _deliver_targets(project, monitoring)


def _deliver_targets(project: Project, monitoring: Host) -> None:
    """Tell Prometheus whom to ask, and how many of etcd are a quorum."""
    on, name = engine.engine_of(project, monitoring.name), project.container(monitoring.name)
    places = [f"/pgha/monitoring/{file}" for file in ("prometheus.yml", "rules.yml")]
    for place in places:
        on.must(docker.copy_into(name, project.folder / monitoring.name / Path(place).name, f"{place}.new"))
    on.must(processes.put_in_place(name, *(("prometheus", "0644", place) for place in places)))
    on.must(processes.reload_service(name, "prometheus"))


def bring(project: Project, hosts: Collection[str], names: Collection[str], service: str = "") -> None:
    """Give these hosts, whose containers run, the files of these names, as they are here now; a service then reads
    its own again. Raises ToolFailed."""
    wanted = [host for host in project.topology.hosts if host.name in hosts]
    # One that is started later takes them from its secrets.
    engine.deliver(project, [host.name for host in wanted])
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        for done in [pool.submit(_bring, project, host, names, service) for host in wanted]:
            done.result()


def deliver_keys(project: Project) -> tuple[str, ...]:
    """Give known_hosts to those that run and have another one, after a host got a new key; returns them. One that does
    not answer takes it when it is started. Raises ToolFailed."""
    known = project.known_hosts.read_text().strip()
    names = [host.name for host in project.topology.ssh_hosts]
    answers = connect(project).everywhere(dict.fromkeys(names, trust.show_known_hosts()))
    stale = [n for n, answer in answers.items() if isinstance(answer, Answer) and answer.stdout.strip() != known]
    deliver(project, stale)
    return tuple(stale)


def _bring(project: Project, host: Host, names: Collection[str], service: str) -> None:
    container, on = project.container(host.name), engine.engine_of(project, host.name)
    secrets = secrets_of(project, host)
    places = {secrets[name]: place for name, place in PLACES.items() if name in names and name in secrets}
    if host not in project.topology.ssh_hosts:
        user = "etcd" if host in project.topology.etcd else "prometheus"
        places = {path: (user, mode, place) for path, (_, mode, place) in places.items()}
    for path, (_, _, place) in places.items():
        on.must(docker.copy_into(container, (project.folder / path).resolve(), f"{place}.new"))
    if places:
        on.must(processes.put_in_place(container, *places.values()))
    if service:
        on.must(processes.reload_service(container, service))
