"""A throwaway clone: the same recovery as a restore, into a container beside the cluster.

It never archives and never joins: it has no Patroni, and its Postgres archives nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgha.backup import preparation, recovery
from pgha.backup.preparation import Prepared
from pgha.backup.stanza import require_repository
from pgha.cluster import reaching
from pgha.cluster.clients import SUPERUSER
from pgha.cluster.view import require_leader
from pgha.console import Progress
from pgha.errors import BadValue, NotUp, PghaError
from pgha.model.topology import STANZA, WAN
from pgha.project.checkout import checkout_id
from pgha.project.ports import can_bind, next_free, reserved_by_others
from pgha.project.project import Project
from pgha.remote import engine
from pgha.remote.connections import connect
from pgha.remote.engine import Engine, engine_of
from pgha.stack import rendering
from pgha.tools import beside, docker, postgres, trust
from pgha.tools.command import Answer, Command
from pgha.tools.rotation import PASSFILE
from pgha.waiting import wait_until


@dataclass(frozen=True)
class Clone:
    """The clone's container as the place of a recovery."""

    name: str
    data: str
    engine: Engine
    preload: str
    options: tuple[str, ...] = ("--tablespace-map-all=/pgdata/tablespaces",)
    """where the cluster has them is nothing in this container"""

    def run(self, command: Command, line: Callable[[str], None] | None = None) -> Answer:
        return self.engine.run(docker.execute(self.name, command), line)


@dataclass(frozen=True)
class Report:
    """A clone that is ready."""

    point: recovery.Point
    label: str
    port: int
    conninfo: str


def place_of(project: Project) -> Clone:
    settings = project.settings
    return Clone(
        project.container("clone"),
        postgres.data_dir(settings.postgres),
        engine_of(project, "clone"),
        settings.scratch_preload_libraries,
    )


def find(project: Project) -> beside.Beside | None:
    """The clone there is, whole or not yet; None without one. Raises as `Engine.must`."""
    place = place_of(project)
    return beside.parse(place.engine.must(beside.look(place.name)).stdout)


def make(project: Project, prepared: Prepared, port: int, progress: Progress) -> Report:
    """Recover into a new container and open it to clients of this host. The caller holds the lock.

    Whatever goes wrong, no half-made clone stays. Raises BadValue for a port that is taken or a clone that is there.
    """
    if find(project):
        raise BadValue(f"Project {project.name} has a clone already", "inv clone --remove")
    port = _port(project, port)
    place = place_of(project)
    target = preparation.settle_end(project, preparation.settle(project, prepared, progress))
    try:
        with progress.stage(f"start {place.name}"):
            _start(project, place, port)
            wait_until(lambda: place.run(READY), lambda answer: answer.ok, f"{place.name} is ready", timeout=30)
            _make_tablespaces(project, place)
        with progress.stage(f"pgbackrest restore {target.backup.label}"):
            recovery.put_backup(place, target, progress)
        with progress.stage("recover, archiving off"):
            point = recovery.recover(place, target, progress)
        with progress.stage("promote and listen"):
            recovery.promote(place, progress)
            recovery.stop(place)
            _listen(project, place)
            # The data may be older than the password that is in use now.
            command = postgres.set_password(SUPERUSER, PASSFILE)
            recovery.must(place, command, "The password of the clone could not be set")
    except BaseException:
        remove(project)
        raise
    address = place.engine.machine.address if place.engine.machine else ""
    conninfo = reaching.clone_string(
        project, port, SUPERUSER, "postgres", passfile=str(project.pgpass), address=address
    )
    return Report(point, target.backup.label, port, conninfo)


HBA = "/pgha/config/clone_hba.conf"

LOCAL = ("local all postgres peer", "local all all scram-sha-256", "host all all all scram-sha-256")
"""Whom the clone lets in, and how; there is nobody to replicate to."""

READY = Command(("test", "-e", "/pgha/config/pgbackrest.conf"), timeout=10)


def remove(project: Project) -> bool:
    """Remove the clone with its data; returns whether there was one."""
    engine.require_engine(project)
    return engine.remove_clones(project)


def _start(project: Project, place: Clone, port: int) -> None:
    """With a node's certificate and pgBackRest's configuration, which is all that a restore needs, and the password it
    shall have."""
    secrets = rendering.secrets_of(project, project.topology.nodes[0])
    wanted = ("pgbackrest.conf", "ca.crt", "host.crt", "host.key", "pgpass")
    files = {key: str((Path(project.folder) / secrets[key]).resolve()) for key in wanted}
    if place.engine.machine is None:
        place.engine.must(_container(project, place, port, files))
        return
    place.engine.must(_container(project, place, port, {}, started=False))
    engine.bring(project, place.engine, place.name, files)
    place.engine.must(docker.signal("start", [place.name]))


def _address(project: Project, place: Clone) -> str:
    return place.engine.machine.address if place.engine.machine else project.settings.publish_address


def _container(project: Project, place: Clone, port: int, files: dict[str, str], started: bool = True) -> Command:
    return beside.run(
        place.name,
        project.settings.release.patroni_image,
        ("/entrypoint.sh", "sleep", "infinity"),
        labels=(beside.label(project.name), f"{docker.CHECKOUT_LABEL}={checkout_id(project.root)}"),
        network=f"{project.name}_{WAN}",
        port=f"{_address(project, place)}:{port}:{postgres.PORT}",
        shm_size=project.settings.shm_size,
        files=files,
        environment={"STANZA_NAME": STANZA, "NO_PROXY": "*", "no_proxy": "*"},
        started=started,
    )


def _make_tablespaces(project: Project, place: Clone) -> None:
    """WAL that makes a tablespace wants its directory where the cluster has it; a leader knows them all."""
    with suppress(PghaError):
        leader = require_leader(project).name
        answer = connect(project).run(leader, postgres.query(postgres.TABLESPACES))
        if answer.ok and answer.stdout.split("\n")[:-1]:
            place.engine.must(docker.make_folders(place.name, answer.stdout.split("\n")[:-1]))


def _listen(project: Project, place: Clone) -> None:
    """Start the clone as it stays: an ordinary primary that archives nothing. Whom it lets in is of now, and not of the
    time it was taken to."""
    rules = LOCAL if not project.settings.tls else (*LOCAL[:-1], LOCAL[-1].replace("host", "hostssl", 1))
    recovery.must(place, postgres.write_lines(HBA, rules), f"{HBA} could not be written")
    settings = [f"hba_file={HBA}", "listen_addresses=*", "unix_socket_directories=/var/run/postgresql,/tmp/aside"]
    if project.settings.tls:
        files = {"ca": trust.AUTHORITY, "cert": trust.CERTIFICATE, "key": trust.KEY}
        settings += ["ssl=on", *(f"ssl_{kind}_file={path}" for kind, path in files.items())]
    command = postgres.start_aside(place.data, place.preload, *settings, "restore_command=")
    recovery.must(place, command, "The clone does not start")
    wait_until(
        lambda: recovery.read_state(place),
        lambda seen: not seen.in_recovery,
        "The clone accepts connections",
        timeout=60,
    )


def _port(project: Project, port: int) -> int:
    address = project.settings.publish_address
    # What is taken on another machine only its engine tells, when the clone starts.
    here = not project.topology.machines
    if port:
        if here and not can_bind(address, port):
            raise BadValue(f"Port {port} is taken on this host", "inv clone --port <another>")
        return port
    own = {p for entries in project.ports.values() for p in entries.values()}
    first = max(own, default=project.settings.ssh_port) + 1
    return next_free(
        first, own | reserved_by_others(project), lambda candidate: not here or can_bind(address, candidate)
    )


def require_up(project: Project) -> None:
    """Raises Missing when the project is not up."""
    require_repository(project)
    engine.require_engine(project)
    if not any(container.state == "running" for container in engine.containers(project).values()):
        raise NotUp(f"Project {project.name} is not up", "inv up")
