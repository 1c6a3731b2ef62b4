"""etcd members that lost their data: taken out of the cluster, and in again with none.

etcd does not let a member in again that it knows and that has lost its data ("has already been bootstrapped"): it has
to be removed and added (etcd's documentation, "Runtime reconfiguration", "Replace a failed machine").
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
from pgha.tools.command import Command
from pgha.waiting import wait_until

START_PATIENCE = 15
"""Seconds in which a member that starts joins, or ends with its reason."""

PATIENCE = 60
"""Seconds until a member that was let in again can commit."""


def replace_lost(project: Project, progress: Progress, left_out: Collection[str] = ()) -> list[str]:
    """Let in again, one at a time, every member that ended because etcd does not take it as it is; returns which. One
    that is `left_out` does not run.

    The caller holds the lock. Raises NoQuorum when too few are left to agree on it.
    """
    replaced = []
    for name in _lost(project, left_out):
        require_quorum(project)
        with progress.stage(f"take {name} out of etcd and in again"):
            _replace(project, name)
        replaced.append(name)
    return replaced


def _lost(project: Project, left_out: Collection[str]) -> list[str]:
    """Members of which etcd says at their end that it knows them already. One that was just started is given the time
    to become healthy, or to say so."""
    found: list[str] = []

    def decided() -> bool:
        unhealthy = [name for name in read_etcd(project).unhealthy if name not in left_out]
        found[:] = [name for name in unhealthy if etcd.is_lost(_last_words(project, name))]
        return len(found) == len(unhealthy)

    with suppress(TimedOut):
        wait_until(decided, bool, "Every etcd member is healthy, or says why not", timeout=START_PATIENCE)
    return found


def _last_words(project: Project, name: str) -> str:
    answer = engine.engine_of(project, name).run(docker.last_logs(project.container(name), lines=20))
    return answer.stdout + answer.stderr


def _replace(project: Project, name: str) -> None:
    """It begins with an empty volume: etcd refuses what a member has that was taken out, and one that began anew while
    it could not ask the others has an identity that they do not know."""

    def anew() -> None:
        engine.remove(project, [name])
        wanted = f"{project.name}_{name}"
        engine.remove_volumes(volume for volume in engine.volumes(project) if volume.name == wanted)
        engine.compose(project, f"Compose could not make {name}", "up", "--detach", "--no-deps", name)

    let_in_again(project, name, anew)


def let_in_again(project: Project, name: str, start: Callable[[], object]) -> None:
    """Take a member without data out of etcd, and in again; `start` gives its container the file that says so.

    Can be repeated at any point. Raises TimedOut when etcd refuses, or the member does not come.
    """
    take_out(project, name)
    _add(project, name, learner=False)
    file = project.folder / name / "etcd.yml"
    rendered = file.read_text()
    try:
        write_file(file, etcd.joining(project.topology, rendered, [entry.name for entry in members_of(project)]))
        start()
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


def join(project: Project, name: str, start: Callable[[], object]) -> None:
    """Let a new member in as a learner, and promote it when it has all data. Can be repeated at any point.

    Raises TimedOut when etcd refuses, or the member does not come.
    """
    if name not in {entry.name for entry in members_of(project)}:
        _add(project, name, learner=True)
    known = {entry.name: entry for entry in members_of(project)}
    file = project.folder / name / "etcd.yml"
    rendered = file.read_text()
    try:
        if not known[name].started:
            write_file(file, etcd.joining(project.topology, rendered, known))
        start()
        # etcd tells only by refusing whether the learner is in step.
        wait_until(
            lambda: _promoted(project, name),
            bool,
            f"{name} has all data and a vote",
            timeout=PATIENCE,
            hint=f"inv logs --node {name}",
        )
    finally:
        write_file(file, rendered)


def _add(project: Project, name: str, *, learner: bool) -> None:
    command = etcd.member_add(project.topology, name, learner=learner)
    _change_until(project, command, lambda names: name in names, f"etcd takes {name} in")


def _change_until(project: Project, command: Command, holds: Callable[[set[str]], bool], what: str) -> None:
    """etcd changes its members only when those that are there have known each other for some seconds, and refuses
    ("unhealthy cluster") before that: ask again. Raises TimedOut with its last words."""
    words: list[str] = []

    def done() -> bool:
        answer = connect(project).run(able_member(project), command)
        words[:] = [answer.last_words]
        return answer.ok or holds({entry.name for entry in members_of(project)})

    wait_until(
        done, bool, what, timeout=START_PATIENCE, interval=1, explain=lambda _: words[0], hint="inv status"
    )  # fmt: skip


def _promoted(project: Project, name: str) -> bool:
    entry = next(entry for entry in members_of(project) if entry.name == name)
    if entry.learner:
        answer = connect(project).run(able_member(project), etcd.member_promote(project.topology, entry.id))
        if not answer.ok:
            return False
    return name in read_etcd(project).healthy


def members_of(project: Project) -> tuple[etcd.MemberEntry, ...]:
    """The members as etcd itself lists them, whatever the settings say. Raises ToolFailed."""
    answer = connect(project).must(
        able_member(project), etcd.member_list(project.topology), "etcdctl member list failed"
    )
    return etcd.parse_members(answer.stdout)


def take_out(project: Project, name: str) -> bool:
    """Take a member out of etcd; returns whether it was one. Raises TimedOut when etcd refuses."""
    identity = next((entry.id for entry in members_of(project) if entry.name == name), "")
    if identity:
        remove = etcd.member_remove(project.topology, identity)
        _change_until(project, remove, lambda names: name not in names, f"{name} leaves etcd")
    return bool(identity)
