"""The stack's life: render, up, stop, start, down, destroy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgha import broken, clones, cluster, connections, engine, scheduling, shell
from pgha.console import Progress
from pgha.errors import Missing
from pgha.images import require_images
from pgha.keys import ensure_keys
from pgha.passwords import Passwords, ensure_passwords, path_of
from pgha.ports import Ports, can_bind, choose_ports, reserved_by_others
from pgha.project import RECORD, Project, write_file
from pgha.rendering import render, shape
from pgha.tools import docker, patroni
from pgha.topology import REPOSITORY


@dataclass(frozen=True)
class RenderReport:
    """What `render` did: which files changed, and which ports another program had."""

    changed: tuple[str, ...]
    ports: Ports
    moved: tuple[str, ...]
    """`pg1-node1 postgres 50551 -> 50557`"""
    digests: dict[str, str]
    """host name -> fingerprint of its container's files"""


@dataclass(frozen=True)
class UpReport:
    """The running cluster, and what `up` had to do."""

    view: patroni.ClusterView
    seconds: float
    notes: tuple[str, ...]


def render_project(project: Project) -> RenderReport:
    """Write every file of the project that changed. The caller holds the lock."""
    ensure_keys(project)
    passwords = ensure_passwords(project)
    record = project.record()
    own = _own_ports(project)
    reserved = reserved_by_others(project)
    address = project.settings.publish_address

    def is_free(port: int) -> bool:
        return port in own or (port not in reserved and can_bind(address, port))

    first = project.settings.first_ports
    recorded = {kind: entries for kind, entries in record.ports.items() if record.first.get(kind) == first[kind]}
    ports = choose_ports(project.settings, project.topology, recorded, is_free)
    project.write_record(replace(record, flags=project.flags, ports=ports, first=first))
    rendered = render(project, passwords, ports)
    changed = tuple(
        path
        for path, content in rendered.files.items()
        if write_file(project.folder / path, content, rendered.mode(path))
    )
    return RenderReport(changed, ports, tuple(_moved(project, recorded, ports)), rendered.digests)


def _own_ports(project: Project) -> set[int]:
    """Ports this project's running containers publish: taken, but by ourselves."""
    if engine.engine_problem() is not None:
        return set()
    return {
        port
        for container in engine.containers(project)
        if container.state in ("running", "paused", "restarting")
        for port in container.published
    }


def _moved(project: Project, recorded: Ports, chosen: Ports) -> list[str]:
    """Hosts whose port is not the recorded one, or not the settings' one when there is no record."""
    moved = []
    first = project.settings.first_ports
    for kind, entries in chosen.items():
        for index, (host, port) in enumerate(entries.items()):
            wished = recorded.get(kind, {}).get(host, first[kind] + index)
            if wished != port:
                moved.append(f"{host} {kind} {wished} -> {port}")
    return moved


def require_fit(project: Project, passwords: Passwords | None) -> None:
    """Refuse to start these settings over data that was made with others.

    Raises Missing when a volume's shape or passwords differ from the rendered ones.
    """
    for volume in engine.volumes(project):
        wanted = shape(project, volume.name.removeprefix(f"{project.name}_"))
        if volume.shape and volume.shape != wanted:
            flags = volume.shape.split(" etcd=")[0]
            raise Missing(
                f"Project {project.name} has data of another shape: its volumes hold {volume.shape}, "
                f"the settings say {wanted}",
                f"inv render {flags} to return to that cluster, or inv destroy to give its data up",
            )
        if passwords is None or (volume.passwords and volume.passwords != passwords.id):
            raise Missing(
                f"Project {project.name} has data whose passwords are not those of "
                f"{path_of(project).relative_to(project.folder.parent.parent)}",
                "put that file (or the password settings) back as it was, or inv destroy to give the data up",
            )


def _known_passwords(project: Project) -> Passwords | None:
    """The project's passwords, but none generated over data that was made with lost ones."""
    if not path_of(project).exists() and engine.volumes(project):
        return None
    return ensure_passwords(project)


def up(project: Project, progress: Progress) -> UpReport:
    """Create and start everything, and return when every member streams. The caller holds the lock.

    Raises Missing for what has to be there first, TimedOut when a member does not come.
    """
    engine.require_engine()
    engine.require_compose()
    require_fit(project, _known_passwords(project))
    require_images(project)
    clock = cluster.Stopwatch()
    report = render_project(project)
    _announce(project, report, progress)
    notes = [f"port taken, the next free one is used: {line}" for line in report.moved]
    with progress.stage(f"create and start {len(project.topology.hosts)} containers"):
        _compose_up(project, progress)
    connections.close_all()
    with progress.stage("wait until every member streams"):
        view = cluster.wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)
    if project.record().scheduled:
        scheduling.install(project)
    changes = cluster.apply_dynamic_configuration(project)
    notes += [f"dynamic configuration: {line}" for line in changes]
    if project.settings.durability == "quorum" and not project.settings.release.quorum_commit:
        notes.append(
            f"PostgreSQL {project.settings.postgres} comes with Patroni "
            f"{'.'.join(map(str, project.settings.release.patroni))}, which knows no quorum commit: "
            "synchronous_mode is on, its strongest mode"
        )
    return UpReport(view, clock.seconds, tuple(notes))


def _announce(project: Project, report: RenderReport, progress: Progress) -> None:
    """Say it before containers that run are made anew: nodes that restart together stop writes for seconds."""
    running = {c.service: c.config for c in engine.containers(project) if c.state == "running"}
    anew = [name for name, config in running.items() if report.digests.get(name, config) != config]
    if anew:
        progress.note(
            f"their files changed, so these containers are made anew, all at once: {', '.join(anew)}; "
            "writes stop until a leader is back"
        )


def _compose_up(project: Project, progress: Progress) -> None:
    with broken.ended_by_start(project):
        engine.revive(project)
        engine.compose(
            project,
            "Compose could not start the stack",
            "up",
            "--detach",
            "--remove-orphans",
            line=progress.detail,
        )


def require_rendered(project: Project) -> None:
    if not project.rendered:
        raise Missing(f"Nothing is rendered for project {project.name}", "inv render, or inv up")


def stop(project: Project, progress: Progress) -> None:
    """Stop the containers and keep them."""
    _compose(project, progress, "stop", "Compose could not stop the stack", "stop")


def start(project: Project, progress: Progress) -> patroni.ClusterView:
    """Start stopped containers; returns when every member streams."""
    engine.require_engine()
    require_rendered(project)
    if not engine.containers(project):
        raise Missing(f"Project {project.name} has no containers to start", "inv up")
    with broken.ended_by_start(project):
        _compose(project, progress, "start", "Compose could not start the stack", "start")
        # Compose 1.29 reports no error when a port is taken.
        away = [c for c in engine.containers(project) if c.state in ("exited", "created")]
        if away:
            with progress.stage(f"start {', '.join(c.service for c in away)} once more"):
                engine.start([c.name for c in away], hint="inv start")
    with progress.stage("wait until every member streams"):
        return cluster.wait_until_well(project, timeout=project.settings.up_timeout, detail=progress.detail)


def down(project: Project, progress: Progress) -> None:
    """Remove containers and networks; every volume stays. A clone, which hangs on a network, goes, too.

    Raises Missing when the record of what is broken is damaged.
    """
    engine.require_engine()
    # What was done to a container ends with it; the volume of a node that had a small disk still holds older data.
    over = [entry for entry in broken.read(project) if entry.mechanism != "fill"]
    _remove_containers(project, progress)
    broken.remove(project, over)


def _remove_containers(project: Project, progress: Progress) -> None:
    clones.remove(project)
    _compose(project, progress, "remove containers and networks", "Compose could not take the stack down", "down",
             "--remove-orphans")  # fmt: skip


def destroy(project: Project, progress: Progress, *, keep_repository: bool = False) -> list[str]:
    """Remove containers, networks, volumes and rendered files; returns what was removed.

    With `keep_repository` its volume stays, and with it the passwords: the restored data was made with them, and the
    repository is encrypted with one.
    """
    engine.require_engine()
    removed = []
    if project.rendered:
        _remove_containers(project, progress)
        broken.clear(project)
    clones.remove(project)
    leftover = [c.name for c in engine.containers(project)]
    if leftover:
        engine.must(docker.docker("rm", "--force", *leftover, timeout=180))
    networks = engine.must(
        docker.docker("network", "ls", "--quiet", "--filter", f"label={docker.PROJECT_LABEL}={project.name}")
    ).stdout.split()
    if networks:
        engine.must(docker.docker("network", "rm", *networks))
    kept = f"{project.name}_{REPOSITORY}" if keep_repository else ""
    names = [volume.name for volume in engine.volumes(project) if volume.name != kept]
    if names:
        with progress.stage(f"remove {len(names)} volumes"):
            engine.must(docker.remove_volumes(names))
        removed.append(f"{len(names)} volumes")
    if project.folder.exists():
        project.forget(keep=(path_of(project).name, RECORD) if keep_repository else ())
        removed.append("rendered files" if keep_repository else "rendered files, reports and passwords")
    return removed


def _compose(project: Project, progress: Progress, title: str, message: str, *arguments: str) -> None:
    engine.require_engine()
    require_rendered(project)
    connections.close_all()
    engine.revive(project)
    with progress.stage(title):
        engine.compose(project, message, *arguments, timeout=600, line=progress.detail)


def is_up(project: Project) -> bool:
    """Whether every host's container runs. Raises Missing without an engine."""
    engine.require_engine()
    states = [container.state for container in engine.containers(project)]
    return states.count("running") == len(project.topology.hosts)


def container_names(project: Project) -> dict[str, docker.Container]:
    """The project's containers by host name."""
    return {container.service: container for container in engine.containers(project)}


def show_logs(project: Project, host: str, *, follow: bool, tail: int) -> int:
    """Give this terminal to a container's log, or the whole project's; returns the exit code."""
    engine.require_engine()
    require_rendered(project)
    if host:
        return shell.attach(docker.logs(project.container(host), follow=follow, tail=tail))
    arguments = ["logs", "--tail", str(tail), *(["--follow"] if follow else [])]
    return shell.attach(engine.require_compose().command(project.compose_file, project.name, *arguments))
