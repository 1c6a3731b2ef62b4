"""From a stack that speaks TLS to one that does not, or back.

Neither understands the other, so this is not done one after another: `up --at-once` does it. etcd's members find each
other by URLs that are in their data, and they can be told others only while there is a quorum. So a minority is told
before all are stopped, and the rest when all have been started again. Two members speak with each other as soon as one
of them is where its URL says: before, the majority that was not told reaches all, and afterwards the minority does.
There is a quorum wherever this is interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pgha.console import Progress
from pgha.errors import NoQuorum, OtherTransport, TimedOut, ToolFailed
from pgha.project.files import write_file
from pgha.project.project import Project
from pgha.project.running import ran_with_tls
from pgha.remote import connections, engine
from pgha.tools import docker, etcd
from pgha.tools.command import Command
from pgha.waiting import wait_until

FILE = "transport"
"""Is there, and says to what, from before the first member is told until all know each other's URLs."""

PATIENCE = 10
"""Seconds for etcd to answer where it may have no quorum."""


def require_same(project: Project) -> None:
    """Raises OtherTransport when what runs, or has data, is of the other kind."""
    if _differs(project):
        now, then = _words(project.settings.tls), _words(not project.settings.tls)
        raise OtherTransport(
            f"tls is {now} in the settings and {then} in what runs: those that speak TLS do not understand those that "
            "do not, so containers cannot be made again one after another",
            f"inv up --at-once makes all again together, and writes stop meanwhile; or set tls to {then}",
        )


def _words(tls: bool) -> str:
    return "on" if tls else "off"


def _differs(project: Project) -> bool:
    ran = ran_with_tls(project)
    if ran is None and engine.engine_problem(project) is None:
        # An `up` that came to no end, or another checkout's.
        members = engine.containers(project).values()
        ran = any(member.tls for member in members) if members else None
    if ran is None or ran == project.settings.tls:
        return False
    etcds = {f"{project.name}_{member.name}" for member in project.topology.etcd}
    return engine.engine_problem(project) is not None or any(volume.name in etcds for volume in engine.volumes(project))


def begin(project: Project, progress: Progress) -> None:
    """Prepare the change, if it is one: tell etcd, and stop everything. Can be repeated at any point.

    Raises NoQuorum when etcd's members cannot be told, before anything is changed.
    """
    if not _differs(project):
        return
    file, target = project.folder / FILE, _words(project.settings.tls)
    if not (file.exists() and file.read_text().strip() == target):
        before = replace(project, settings=replace(project.settings, tls=not project.settings.tls), running=None)
        with progress.stage(f"tell etcd's members where they find each other with tls {target}"):
            entries = _members_for(before, project)
            write_file(file, f"{target}\n")
            _tell(before, project, sorted(entries, key=lambda entry: entry.name)[: len(entries) // 2])
    connections.close_all()
    with progress.stage("stop everything"):
        engine.revive(project)
        engine.compose(project, "Compose could not stop the stack", "stop", timeout=600, line=progress.detail)


def complete(project: Project, progress: Progress) -> None:
    """Tell etcd the rest when all containers are of the new kind. Raises TimedOut."""
    file = project.folder / FILE
    if not file.exists():
        return

    def left() -> list[str]:
        _tell(project, project, _members(project))
        return [entry.name for entry in _members(project) if not _is_told(project, entry)]

    with progress.stage("tell etcd's members where they find each other now"):
        wait_until(
            left,
            lambda names: not names,
            "etcd's members know where they find each other",
            timeout=project.settings.up_timeout,
            explain=lambda names: f"not told: {', '.join(names)}",
            hint="inv status",
        )
    file.unlink()


def _members_for(before: Project, after: Project) -> tuple[etcd.MemberEntry, ...]:
    """The members, from etcd as it runs. Raises NoQuorum."""
    seen: list[tuple[etcd.MemberEntry, ...]] = []

    def ask() -> bool:
        seen[:] = [_members(before)]
        return True

    try:
        wait_until(ask, bool, "etcd names its members", timeout=PATIENCE)
    except TimedOut as error:
        raise NoQuorum(
            f"etcd cannot be told where its members find each other with tls {_words(after.settings.tls)}: "
            f"{error.message}",
            f"INVOKE_PGHA_TLS={_words(before.settings.tls)} inv up brings it up as it was; then inv up --at-once",
        ) from None
    return seen[0]


def _members(project: Project) -> tuple[etcd.MemberEntry, ...]:
    return etcd.parse_members(_inside(project, etcd.member_list(project.topology)))


def _is_told(project: Project, entry: etcd.MemberEntry) -> bool:
    return entry.peers == (project.topology.urls.peer(entry.name),)


def _tell(asked: Project, project: Project, entries: Iterable[etcd.MemberEntry]) -> None:
    """`asked`: as etcd runs, `project`: as it shall. Raises ToolFailed."""
    for entry in entries:
        if not _is_told(project, entry):
            update = etcd.member_update(asked.topology, entry.id, project.topology.urls.peer(entry.name))
            _inside(asked, update)


def _inside(project: Project, command: Command) -> str:
    """What etcd answers in one of its own containers. Raises ToolFailed."""
    running = [name for name, container in engine.containers(project).items() if container.state == "running"]
    words = "no etcd member runs"
    for member in project.topology.etcd:
        if member.name in running:
            inside = docker.docker("exec", project.container(member.name), *command.argv, timeout=command.timeout)
            answer = engine.engine_of(project, member.name).run(inside)
            if answer.ok:
                return answer.stdout
            words = answer.words
    raise ToolFailed("etcd does not answer", words)
