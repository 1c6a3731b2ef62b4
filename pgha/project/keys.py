"""The SSH keys: who may log in where, and a host key for each host, known in advance.

The operator's key opens every container and is in none. The containers' key opens every container from every other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgha.errors import Damaged
from pgha.project import coming
from pgha.project.files import write_file
from pgha.project.project import Project


@dataclass(frozen=True)
class KeysReport:
    """Which files were made, and which were there: private keys, or certificates."""

    made: tuple[str, ...]
    kept: tuple[str, ...]


Read = TypeVar("Read")


def host_key(project: Project, host: str) -> Path:
    return project.keys_folder / "host_keys" / host


def host_public_key(project: Project, host: str) -> str:
    """Kind and key, as known_hosts has them."""
    return _type_and_key(host_key(project, host))


def containers_key(project: Project) -> Path:
    """The key that is in every container with sshd."""
    return project.keys_folder / "containers_id_ed25519"


def ensure_keys(project: Project, rotate: bool = False) -> KeysReport:
    """Make the keys that are missing, or all of them again.

    A pair is made whole: the public file is derived from the private one, also when only it was lost.
    Raises Missing for a private key that cannot be read.
    """
    made: list[str] = []
    kept: list[str] = []
    if rotate:
        coming.forget(project, coming.KEYS)
    for path, comment in _files(project, project.keys_folder).items():
        known = path.exists() and not rotate
        private = _read(project, path) if known else Ed25519PrivateKey.generate()
        if not known:
            write_file(path, _private_text(private), 0o600)
        path.chmod(0o600)
        write_file(_public(path), _public_text(private, comment))
        (kept if known else made).append(project.relative(path))
    write_file(project.known_hosts, known_hosts_text(project))
    return KeysReport(tuple(made), tuple(kept))


def _files(project: Project, folder: Path) -> dict[Path, str]:
    """Every private key in such a folder -> the comment of its public half."""
    users = {
        folder / project.identity_file.name: f"pgha@{project.name}",
        folder / containers_key(project).name: f"containers@{project.name}",
    }
    return users | {folder / "host_keys" / host.name: host.name for host in project.topology.ssh_hosts}


def user_and_host_keys(project: Project) -> tuple[Path, ...]:
    """Every private key of the project."""
    return tuple(_files(project, project.keys_folder))


def _public(private: Path) -> Path:
    return private.with_name(private.name + ".pub")


def known_hosts_text(project: Project, *, settled: bool = False) -> str:
    """Every host of the topology with its key, by its name. While other keys are coming, with the old and the new one;
    not when all is `settled`."""
    both = coming.coming(project, coming.KEYS) / project.known_hosts.name
    return _known_hosts(project, project.keys_folder) if settled or not both.exists() else both.read_text()


def _known_hosts(project: Project, folder: Path) -> str:
    names = [host.name for host in project.topology.ssh_hosts]
    return "".join(f"{name} {_type_and_key(folder / 'host_keys' / name)}\n" for name in names)


def authorized_keys_text(project: Project, *, settled: bool = False) -> str:
    """Who may log in on a host: the operator, and people who are in another container. While other keys are coming,
    with the old and the new ones."""
    both = coming.coming(project, coming.KEYS) / "authorized_keys"
    return _authorized_keys(project, project.keys_folder) if settled or not both.exists() else both.read_text()


def _authorized_keys(project: Project, folder: Path) -> str:
    names = (project.identity_file.name, containers_key(project).name)
    return "".join(_public(folder / name).read_text() for name in names)


def begin_keys(project: Project, marks: Mapping[str, str]) -> None:
    """Make the keys that are to come, beside those in use."""

    def fill(folder: Path) -> None:
        for path, comment in _files(project, folder).items():
            private = Ed25519PrivateKey.generate()
            write_file(path, _private_text(private), 0o600)
            write_file(_public(path), _public_text(private, comment))
        own = project.keys_folder
        write_file(folder / project.known_hosts.name, _known_hosts(project, own) + _known_hosts(project, folder))
        both = _authorized_keys(project, own) + _authorized_keys(project, folder)
        write_file(folder / "authorized_keys", both)

    coming.begin(project, coming.KEYS, marks, fill)


def adopt_keys(project: Project) -> None:
    """The keys that are to come take the place of those in use; done twice, nothing."""
    folder = coming.coming(project, coming.KEYS)
    for path in _files(project, folder):
        own = project.keys_folder / path.relative_to(folder)
        text = path.read_text()
        if own.read_text() != text:
            # ssh believes the public half that lies beside a key; without one it takes that of the key itself.
            _public(own).unlink(missing_ok=True)
            write_file(own, text, 0o600)
        write_file(_public(own), _public(path).read_text())


def require_user_key(project: Project) -> None:
    """Raises Missing when the user key is not there or not readable."""
    _read(project, project.identity_file)


def _type_and_key(private: Path) -> str:
    return " ".join(_public(private).read_text().split()[:2])


def read_key(
    project: Project, path: Path, load: Callable[[bytes], Read], missing: str = "inv keys", what: str = "a private key"
) -> Read:
    """A file of ours as what it should be. Raises Damaged; `missing` is what to do when it is not there."""
    name = project.relative(path)
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise Damaged(f"{name} is missing", missing) from None
    except PermissionError:
        raise Damaged(f"{name} may not be read by this user", f"chown and chmod 0600 {name}") from None
    except (ValueError, TypeError, OSError, UnsupportedAlgorithm) as error:
        raise Damaged(f"{name} is not {what}: {error}", "inv keys --rotate") from None


def _read(project: Project, path: Path) -> Ed25519PrivateKey:
    key = read_key(project, path, lambda text: serialization.load_ssh_private_key(text, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise Damaged(f"{project.relative(path)} is not an ed25519 key", "inv keys --rotate")
    return key


def _private_text(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()


def _public_text(key: Ed25519PrivateKey, comment: str) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.decode()} {comment}\n"
