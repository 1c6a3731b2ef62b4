"""The SSH keys: who may log in where, and a host key for each host, known in advance.

The operator's key opens every container and is in none. The containers' key opens every container from every other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgha.errors import Damaged
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
    users = [
        (project.identity_file, f"pgha@{project.name}"),
        (containers_key(project), f"containers@{project.name}"),
    ]
    hosts = [(host_key(project, host.name), host.name) for host in project.topology.ssh_hosts]
    for path, comment in [*users, *hosts]:
        known = path.exists() and not rotate
        private = _read(project, path) if known else Ed25519PrivateKey.generate()
        if not known:
            write_file(path, _private_text(private), 0o600)
        path.chmod(0o600)
        write_file(path.with_name(path.name + ".pub"), _public_text(private, comment))
        (kept if known else made).append(project.relative(path))
    write_file(project.known_hosts, known_hosts_text(project))
    return KeysReport(tuple(made), tuple(kept))


def known_hosts_text(project: Project) -> str:
    """Every host of the topology with its key, by its name."""
    names = [host.name for host in project.topology.ssh_hosts]
    return "".join(f"{name} {_type_and_key(host_key(project, name))}\n" for name in names)


def authorized_keys_text(project: Project) -> str:
    """Who may log in on a host: the operator, and people who are in another container."""
    paths = (project.identity_file, containers_key(project))
    return "".join(path.with_name(path.name + ".pub").read_text() for path in paths)


def require_user_key(project: Project) -> None:
    """Raises Missing when the user key is not there or not readable."""
    _read(project, project.identity_file)


def _type_and_key(private: Path) -> str:
    return " ".join(private.with_name(private.name + ".pub").read_text().split()[:2])


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
