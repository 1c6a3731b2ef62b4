"""etcd members that lost their data: taken out of the cluster, and in again with none.

etcd does not let a member in again that it knows and that has lost its data ("has already been bootstrapped"): it has
to be removed and added (etcd's documentation, "Runtime reconfiguration", "Replace a failed machine").
"""

from __future__ import annotations

from contextlib import suppress

from pgha.cluster.quorum import read_etcd, require_quorum
from pgha.cluster.view import able_member
from pgha.console import Progress
from pgha.errors import TimedOut
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.tools import docker, etcd
from pgha.waiting import wait_until

START_PATIENCE = 15
"""Seconds in which a member that starts joins, or ends with its reason."""

PATIENCE = 60
"""Seconds until a member that was let in again can commit."""


def replace_lost(project: Project, progress: Progress) -> list[str]:
    """Let in again, one at a time, every member that ended because etcd does not take it as it is; returns which.

    The caller holds the lock. Raises NoQuorum when too few are left to agree on it.
    """
    replaced = []
    for name in _lost(project):
        require_quorum(project)
        with progress.stage(f"take {name} out of etcd and in again"):
            _replace(project, name)
        replaced.append(name)
    return replaced


def _lost(project: Project) -> list[str]:
    """Members of which etcd says at their end that it knows them already. One that was just started is given the time
    to become healthy, or to say so."""
    found: list[str] = []

    def decided() -> bool:
        unhealthy = read_etcd(project).unhealthy
        found[:] = [name for name in unhealthy if etcd.is_lost(_last_words(project, name))]
        return len(found) == len(unhealthy)

    with suppress(TimedOut):
        wait_until(decided, bool, "Every etcd member is healthy, or says why not", timeout=START_PATIENCE)
    return found


def _last_words(project: Project, name: str) -> str:
    answer = engine.engine_of(project, name).run(docker.last_logs(project.container(name), lines=20))
    return answer.stdout + answer.stderr


def _replace(project: Project, name: str) -> None:
    ssh, node = connect(project), able_member(project)
    known = ssh.must(node, etcd.member_list(project.topology), "etcdctl member list failed").stdout
    identity = etcd.parse_member_id(known, name)
    if identity:
        ssh.must(node, etcd.member_remove(project.topology, identity), f"{name} could not be taken out of etcd")
    ssh.must(node, etcd.member_add(project.topology, name), f"etcd did not take {name} in again")
    file = project.folder / name / "etcd.yml"
    rendered = file.read_text()
    try:
        write_file(file, rendered.replace("initial-cluster-state: new", "initial-cluster-state: existing"))
        engine.engine_of(project, name).must(docker.restart(project.container(name)))
        wait_until(
            lambda: read_etcd(project),
            lambda view: name in view.healthy,
            f"{name} is a healthy member again",
            timeout=PATIENCE,
            hint=f"inv logs --node {name}",
        )
    finally:
        # etcd reads the initial cluster state only while a member has no data.
        write_file(file, rendered)
