"""What an upgrade works on: the members, held; the container beside them; the containers of one major or the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pgha.backup.members import everywhere, is_held
from pgha.cluster.view import node_names
from pgha.console import Progress
from pgha.errors import UpgradeRefused
from pgha.model.topology import REPOSITORY, WAN
from pgha.project.certificates import authority
from pgha.project.checkout import checkout_id
from pgha.project.project import Project
from pgha.project.upgrade_record import Record, way_on, write_upgrade
from pgha.remote import connections, engine
from pgha.remote.connections import connect
from pgha.remote.engine import engine_of
from pgha.remote.readiness import compose_version
from pgha.stack import rollout
from pgha.stack.rendering import shape
from pgha.stack.writing import render_project
from pgha.tools import beside, docker, patroni, pg_upgrade, postgres
from pgha.tools.command import Answer, Command
from pgha.waiting import Stopwatch, wait_until

OLDER = (
    "mend what it names. A minor release of the new major that is older than the old one's may not know what that one "
    "writes: try again when the package mirror has a newer one"
)

NEWER = "the same command, when the package mirror has a newer PostgreSQL {new}; docs/upgrade.md"

REACHED = Command(("true",), timeout=5)


@contextmanager
def timed(project: Project, record: Record, progress: Progress, name: str, title: str) -> Iterator[None]:
    """A stage of the progress whose seconds the record keeps; an interrupted one adds to what it took before."""
    clock = Stopwatch()
    with progress.stage(title):
        yield
    record.seconds[name] = round(record.seconds.get(name, 0) + clock.seconds, 1)
    write_upgrade(project, record)


# The members ------------------------------------------------------------------------------------------------


def hold(project: Project, record: Record) -> None:
    """Stop every member, the leader last, so that none takes over from it; containers stay."""
    why = f"inv upgrade holds Patroni back; {way_on(record)}"
    names = node_names(project)
    data = postgres.data_dir(record.old)
    for group in ([n for n in names if n != record.leader], [record.leader]):
        everywhere(project, dict.fromkeys(group, patroni.hold(why)), "Patroni could not be stopped")
    # Patroni stops its Postgres itself; one that lost its Patroni is still there.
    everywhere(project, dict.fromkeys(names, postgres.stop(data)), "Postgres could not be stopped")


def release(project: Project, names: list[str]) -> None:
    """Let these members go that are still held."""
    held = [name for name in names if is_held(project, name)]
    everywhere(project, dict.fromkeys(held, patroni.release()), "Patroni could not be started")


# The container beside them ----------------------------------------------------------------------------------


def image_of(project: Project, record: Record) -> str:
    """The image with the programs of both majors."""
    own = project.settings.image_tag
    return f"pgha-upgrade:{record.old}-{record.new}" + (f"-{own}" if own else "")


def aside(project: Project, record: Record) -> pg_upgrade.Aside:
    """With the label of a clone: what is left of it goes with `down` and `destroy`, too."""
    labels = (beside.label(project.name), f"{docker.CHECKOUT_LABEL}={checkout_id(project.root)}")
    return pg_upgrade.Aside(project.container("upgrade"), image_of(project, record), labels, project.settings.shm_size)


def remove_aside(project: Project, record: Record) -> None:
    """One that a killed command left goes on by itself: it is ended before anything else is done."""
    engine_of(project, record.leader).run(docker.remove(project.container("upgrade")))


def rehearse(project: Project, record: Record, progress: Progress) -> None:
    """pg_upgrade of a copy of the schemas. Raises UpgradeRefused with its words."""
    remove_aside(project, record)
    files = {"pgpass": project.pgpass}
    if project.settings.tls:
        files["ca.crt"] = authority(project).certificate
    command = aside(project, record).rehearse(
        record.old, record.new, project.settings.scratch_preload_libraries, network=f"{project.name}_{WAN}",
        host=record.leader, files={name: str(path.resolve()) for name, path in files.items()},
    )  # fmt: skip
    answer = engine_of(project, record.leader).run(command, progress.detail)
    if not answer.ok:
        unknown = pg_upgrade.unknown_parameter(answer.words)
        sentence = "pg_upgrade fails with a copy of the schemas"
        if unknown:
            sentence += f": {record.new} is of an older minor release than {record.old}, and does not know {unknown}"
        hint = NEWER.format(new=record.new) if unknown else OLDER
        raise UpgradeRefused(f"{sentence}; nothing was touched", answer.words, hint)


def is_upgraded(project: Project, record: Record) -> bool:
    """Whether pg_upgrade came to its end before a command was killed; else what it has made so far is taken back."""
    ssh = connect(project)
    if ssh.run(record.leader, pg_upgrade.is_whole(record.new)).ok:
        return True
    ssh.must(record.leader, pg_upgrade.take_back(record.old, record.new), "The old data could not be taken back")
    return False


def upgrade_data(project: Project, record: Record, progress: Progress) -> None:
    """pg_upgrade --link of the leader's data. Raises UpgradeRefused with its words."""
    volume, preload = f"{project.name}_{record.leader}", project.settings.scratch_preload_libraries
    command = aside(project, record).upgrade(volume, record.old, record.new, preload)
    answer = engine_of(project, record.leader).run(command, progress.detail)
    if not answer.ok:
        raise UpgradeRefused(f"pg_upgrade fails with the data of {record.leader}", answer.words)


# The containers ---------------------------------------------------------------------------------------------


def keep_labels(project: Project) -> None:
    """A volume's labels cannot change: the compose file goes on naming those it was made with."""
    made = {
        host: volume.shape
        for volume in engine.volumes(project)
        if (host := volume.name.removeprefix(f"{project.name}_")) and volume.shape
    }
    project.write_record(replace(project.record(), made=made))


def remake(project: Project, progress: Progress) -> None:
    """Make the containers of the nodes and the repository as this project's files say, all at once: no Postgres runs in
    them. etcd's go on as they are."""
    keep_labels(project)
    rendered = render_project(project)
    planned = rollout.plan(project, rendered.services, rendered.block, compose_version)
    hosts = [host.name for host in project.topology.ssh_hosts]
    again = [host for host in hosts if host in planned.again]
    if again:
        engine.signal(project, "stop", again)
        engine.remove(project, again)
    lacking = [host for host in hosts if host in (*again, *planned.create, *planned.start)]
    if lacking:
        message = f"Compose could not make {', '.join(lacking)}"
        engine.compose(project, message, "up", "--detach", "--no-deps", *lacking, line=progress.detail)
    connections.close_all()
    wait_until(
        lambda: connect(project).everywhere(dict.fromkeys(hosts, REACHED)),
        lambda answers: all(isinstance(answer, Answer) and answer.ok for answer in answers.values()),
        "Every container can be reached over SSH",
        timeout=60,
        hint="inv status",
    )


def note_shape(project: Project) -> None:
    """From now on the cluster is of this major; volumes and the repository keep the label they were made with."""
    keep_labels(project)
    repository = shape(project, REPOSITORY) if project.topology.repository else ""
    record = replace(project.record(), shape=shape(project), repository=repository, flags=project.flags)
    project.write_record(record)
