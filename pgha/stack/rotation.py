"""Other passwords for a running cluster, while clients write.

A role has one password, so the order is what leaves no gap but one: files first (Patroni reads them again, and
connections that are there stay), then all roles in one transaction, and the passfile here the moment that is through.
"""

from __future__ import annotations

from collections.abc import Collection

from pgha.cluster import role_passwords
from pgha.cluster.clients import log_in
from pgha.cluster.gates import require_open
from pgha.cluster.view import require_leader
from pgha.console import Progress
from pgha.errors import NotRendered, PghaError, ToolFailed
from pgha.project.coming import PASSWORDS
from pgha.project.files import write_file
from pgha.project.passwords import (
    ROTATED,
    Passwords,
    begin_rotation,
    coming_names,
    kept_passwords,
    rotated,
    write_passwords,
)
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.remote.engine import has_clone
from pgha.stack.rotating import (
    Rotated,
    RotationPlan,
    Step,
    completes,
    require_as_rendered,
    require_rotatable,
    running_of,
)
from pgha.stack.writing import files_with
from pgha.tools import patroni, rotation
from pgha.tools.command import Answer, Command
from pgha.waiting import Stopwatch, wait_until

COMPLETES = completes(PASSWORDS)


def rotate_passwords(project: Project, progress: Progress) -> Rotated:
    """Replace the passwords of the project's own roles and of Patroni's REST API. The caller holds the lock.

    Interrupted anywhere the same command completes it: old and new ones stand in the project's file until all is done.
    Raises HalfDone during a rollout, Unhealthy when the cluster is not well before it begins.
    """
    clock = Stopwatch()
    begun, resumed = _begin(project)
    given = tuple(name for name in ROTATED if name not in begun.coming)
    if not begun.coming:
        return Rotated(PASSWORDS, (), False, (), clock.seconds, given=given)
    if resumed:
        progress.note("a rotation of the passwords is half done: this goes on with it")
    leader = require_leader(project).name
    hosts, later = _hosts(project)
    new = rotated(begun)
    files = files_with(project, new)
    with progress.stage(f"new files on {', '.join(hosts)}, and Patroni reads them"):
        bring_files(project, hosts, files)
        _wait_until_known(project, hosts, new)
    with progress.stage(f"new passwords in the database (on {leader})"):
        _change(project, leader, new, files["pgpass"])
        _adopt(project, hosts)
        _wait_until_replayed(project, hosts, new)
    _require_login(project, leader)
    # Last what tells an interrupted command's successor that all is done; a container that starts reads these files.
    for path, text in files.items():
        write_file(project.folder / path, text, 0o600)
    engine.deliver(project, hosts)
    write_passwords(project, new)
    if has_clone(project):
        progress.note("the clone keeps the former password: inv clone --remove, then make another one")
    return Rotated(PASSWORDS, tuple(begun.coming), resumed, hosts, clock.seconds, later, given)


def plan_passwords(project: Project) -> RotationPlan:
    """What a rotation would do; nothing is touched."""
    hosts, later = _hosts(project)
    resumed, refusals = False, []
    leader: tuple[str, ...] = ()
    try:
        leader = (require_leader(project).name,)
        resumed = _check(project)
    except PghaError as error:
        refusals.append(error)
    kept = kept_passwords(project)
    names = tuple(kept.coming if kept and resumed else coming_names(project, kept))
    steps = (
        Step("new files, and Patroni reads them", hosts),
        Step("new passwords in the database, in one transaction", leader),
        Step("the passfile", hosts),
    )
    given = tuple(name for name in ROTATED if name not in names)
    return RotationPlan(PASSWORDS, resumed, names, steps if names else (), later, given, tuple(refusals))


def _begin(project: Project) -> tuple[Passwords, bool]:
    """What is replaced by what, written down, and whether it was already; nothing is touched before all is well."""
    resumed, kept = _check(project), kept_passwords(project)
    if kept is None:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    return (kept, True) if resumed else (begin_rotation(project, kept), False)


def _check(project: Project) -> bool:
    """Whether it goes on with one that is half done."""
    if require_rotatable(project, PASSWORDS):
        return True
    require_as_rendered(project, [node.name for node in project.topology.nodes])
    require_open(project, ())
    return False


def _hosts(project: Project) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nodes that run, and those that do not: they take their files when they start."""
    names = [node.name for node in project.topology.nodes]
    running = running_of(project, names)
    return running, tuple(name for name in names if name not in running)


def bring_files(project: Project, hosts: Collection[str], files: dict[str, str]) -> None:
    """Put Patroni's files in place, the passfile beside the one that holds, and let Patroni read its own again."""
    ssh = connect(project)
    for host in hosts:
        for path, text in (
            (patroni.CONFIG, files[f"{host}/patroni.conf"]),
            (rotation.NEXT_PASSFILE, files["pgpass"]),
        ):
            answer = ssh.feed(host, rotation.place(path), text)
            if not answer.ok:
                raise ToolFailed(f"{path} could not be written (on {host})", answer.words, COMPLETES)
    _everywhere(project, hosts, rotation.reload(), "Patroni could not be told to read its file again")


def _wait_until_known(project: Project, hosts: Collection[str], new: Passwords) -> None:
    """Patroni reads its file before its next look; its REST API then takes the new login."""
    login = rotation.restapi_login(new.restapi)

    ask = rotation.ask_restapi(project.topology.urls)

    def lacking() -> list[str]:
        return [host for host in hosts if connect(project).feed(host, ask, login).stdout != "202"]

    wait_until(
        lacking,
        lambda left: not left,
        "Every Patroni has read its file again",
        timeout=2 * project.settings.loop_wait + 30,
        explain=lambda left: f"not yet: {', '.join(left)}",
        hint=COMPLETES,
    )


def _change(project: Project, leader: str, new: Passwords, passfile: str) -> None:
    """All roles in one transaction; the moment it is through this host's passfile is the new one."""
    roles = role_passwords.differing(project, leader, new)
    if roles:
        ssh = connect(project)
        script = rotation.set_verifiers(role_passwords.verifiers(new, roles), tell=True)
        placed = ssh.feed(leader, rotation.place(rotation.SCRIPT), script)
        if not placed.ok:
            raise ToolFailed(f"{rotation.SCRIPT} could not be written (on {leader})", placed.words, COMPLETES)

        def line(text: str) -> None:
            if text == rotation.COMMITTED:
                write_file(project.pgpass, passfile, 0o600)

        answer = ssh.run(leader, rotation.run_script(), line)
        left = role_passwords.differing(project, leader, new)
        if left:
            raise ToolFailed(
                f"The passwords of {' and '.join(left)} were not set (on {leader})", answer.words, COMPLETES
            )
    # For a command that was interrupted right there.
    write_file(project.pgpass, passfile, 0o600)


def _adopt(project: Project, hosts: Collection[str]) -> None:
    _everywhere(project, hosts, rotation.adopt_passfile(), "The passfile could not be put in place")
    _everywhere(project, hosts, rotation.remove_script(), "What was placed for it could not be removed")


def _wait_until_replayed(project: Project, hosts: Collection[str], new: Passwords) -> None:
    """Whoever logs in at a standby is judged by what that has replayed."""
    wait_until(
        lambda: [host for host in hosts if role_passwords.differing(project, host, new)],
        lambda left: not left,
        "Every member has the new passwords",
        timeout=project.settings.up_timeout,
        explain=lambda left: f"not yet: {', '.join(left)}",
        hint=COMPLETES,
    )


def _require_login(project: Project, leader: str) -> None:
    refusal = log_in(project, leader)
    if refusal:
        raise ToolFailed(f"A client cannot log in with the new password at {leader}", refusal.words, COMPLETES)


def _everywhere(project: Project, hosts: Collection[str], command: Command, message: str) -> None:
    for host, answer in connect(project).everywhere(dict.fromkeys(hosts, command)).items():
        if isinstance(answer, PghaError):
            answer.hint = "; ".join(filter(None, (answer.hint, COMPLETES)))
            raise answer
        if isinstance(answer, Answer) and not answer.ok:
            raise ToolFailed(f"{message} (on {host})", answer.words, COMPLETES)
