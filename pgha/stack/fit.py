"""Whether the settings fit the data that is there. Asked before anything is written or started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pgha.errors import HalfDone, NotReady, OtherData
from pgha.model.topology import MONITORING, REPOSITORY
from pgha.project.passwords import GIVEN, Passwords, kept_passwords, passwords_file, replaced, settled_passwords
from pgha.project.project import Project
from pgha.project.upgrade_record import read_upgrade
from pgha.remote import engine
from pgha.remote.engine import Volume
from pgha.stack.placing import require_places
from pgha.stack.rendering import shape

PASSPHRASE = GIVEN["repository"]

PASSPHRASE_HELP = 'docs/restore.md, "The passphrase of the repository"'


def fitting_passwords(project: Project) -> Passwords:
    """The passwords to go on with: kept, given or new ones, but none that the data was not made with.

    Nothing is written. Raises OtherData when shape, passwords or passphrase are not those of the volumes, and NotReady
    when a kept password would be replaced and no engine can tell whether there is data.
    """
    kept = kept_passwords(project)
    changed = replaced(project, kept)
    passwords = settled_passwords(project, kept)
    problem = engine.engine_problem(project)
    if problem is None:
        volumes = engine.volumes(project)
        require_places(project, volumes)
        _require_shape(project, volumes)
        _require_passwords(project, volumes, kept, passwords, changed)
    elif changed:
        raise NotReady(
            f"{' and '.join(changed)} would replace what {_file(project)} keeps, and whether there is data that was "
            f"made with it cannot be seen: {problem.message}",
            problem.hint,
        )
    return passwords


def _require_shape(project: Project, volumes: Iterable[Volume]) -> None:
    under_way = read_upgrade(project)
    if under_way and project.settings.postgres in (under_way.old, under_way.new):
        # Until it has ended the data is of the old major, or on its way to the new one.
        project = replace(project, settings=replace(project.settings, postgres=under_way.old))
    found = {v.name.removeprefix(f"{project.name}_"): v.shape for v in volumes if v.shape}
    repository = found.pop(REPOSITORY, "")
    # What was measured is of no shape.
    found.pop(MONITORING, None)
    repository = (repository and project.record().repository) or repository
    _require_shape_of_nodes(project, found)
    # Last: it knows the major version only, so the way back that it could name is not the whole one.
    if repository and repository != shape(project, REPOSITORY):
        raise _other_shape(project, repository, shape(project, REPOSITORY))


def _require_shape_of_nodes(project: Project, found: Mapping[str, str]) -> None:
    """The record tells the shape of a cluster that was scaled; the labels of its volumes tell with which they were
    made, and are enough where there is no record."""
    record, wanted = project.record(), shape(project)
    if record.scaling:
        if record.scaling != shape_flags(project):
            raise half_scaled(project, record.scaling)
    elif record.shape:
        if found and record.shape != wanted:
            raise _other_shape(project, record.shape, wanted)
    elif wanted in found.values() and all(project.whole.host(host) for host in found):
        # All of that shape; or the last scale made the newest of them so.
        return
    elif found:
        raise _other_shape(project, next(held for held in found.values() if held != wanted), wanted)


def shape_flags(project: Project) -> dict[str, str]:
    """The settings of a project that `inv scale` changes, as the flags of `inv render` are kept."""
    return {"data_centers": str(project.settings.data_centers), "nodes": str(project.settings.nodes)}


def half_scaled(project: Project, flags: Mapping[str, str]) -> HalfDone:
    """What is refused while a scale has begun and has not ended."""
    to = f"-d {flags.get('data_centers')} -p {flags.get('nodes')}"
    return HalfDone(f"Project {project.name} is being scaled to {to}, and that is half done", f"inv scale {to}")


def _other_shape(project: Project, held: str, wanted: str) -> OtherData:
    flags, others = (text.split(" etcd=")[0] for text in (held, wanted))
    size, _, rest = others.partition(" -n ")
    scaled = f"inv scale {size} makes a running cluster so; " if rest and flags.endswith(f" -n {rest}") else ""
    major, other = (text.split("-v ")[-1] for text in (flags, others))
    if flags.split("-v ")[0] == others.split("-v ")[0] and int(major) < int(other):
        scaled = f"inv upgrade --major {other} makes a running cluster so; "
    return OtherData(
        f"Project {project.name} has data of another shape: its volumes hold {held}, the settings say {wanted}",
        f"{scaled}inv render {flags} to return to that cluster, or inv destroy to give its data up",
    )


def _require_passwords(
    project: Project, volumes: Iterable[Volume], kept: Passwords | None, passwords: Passwords, changed: list[str]
) -> None:
    """A volume without a mark is older than the marks: it holds what the kept file is the key to."""
    names = " and ".join(key for key in changed if key != PASSPHRASE)
    for volume in volumes:
        if kept is None or (volume.passwords or kept.id) != passwords.id:
            if kept and names:
                raise OtherData(
                    f"Project {project.name} has data that was made with another {names}",
                    "leave that setting out: the password in use is kept; or inv rotate --what passwords",
                )
            raise OtherData(
                f"Project {project.name} has data whose passwords are not those of {_file(project)}",
                "put that file (or the password settings) back as it was, or inv destroy to give the data up",
            )
        is_repository = volume.name == f"{project.name}_{REPOSITORY}"
        if is_repository and (volume.passphrase or kept.repository_id) != passwords.repository_id:
            where = f"the setting {PASSPHRASE}" if PASSPHRASE in changed else _file(project)
            raise OtherData(
                f"The repository of project {project.name} is encrypted with another passphrase than that of {where}",
                f"leave the passphrase as it was; inv rotate --what passphrase brings in another; {PASSPHRASE_HELP}",
            )


def _file(project: Project) -> str:
    return project.relative(passwords_file(project))
