"""Files that name every host, brought to containers that run: a change of them is no reason to make one again.

A container that is started later takes them from its secrets, as every other file (images/base/entrypoint.sh).
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

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
}
"""Secret -> its owner, mode and place in the container, as the entrypoint has them."""


def deliver(project: Project, hosts: Collection[str]) -> None:
    """Give these hosts, whose containers run, the rendered files. pgBackRest's server at the repository reads them.

    Patroni reads its own at its next start: while it runs it asks etcd for the members. Raises ToolFailed.
    """
    wanted = [host for host in project.topology.ssh_hosts if host.name in hosts]
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        for done in [pool.submit(_deliver, project, host) for host in wanted]:
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


def _deliver(project: Project, host: Host) -> None:
    container, on = project.container(host.name), engine.engine_of(project, host.name)
    secrets = secrets_of(project, host)
    for name, (owner, mode, place) in PLACES.items():
        if name in secrets:
            on.must(docker.copy_into(container, (project.folder / secrets[name]).resolve(), f"{place}.new"))
            on.must(processes.put_in_place(container, owner, mode, place))
    if host == project.topology.repository:
        on.must(processes.reload_service(container, "pgbackrest"))
