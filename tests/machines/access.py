"""How an operator gets into the machines: keys, an ssh_config, and a `known_hosts` that was written before they ran."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OPENSSH = serialization.PrivateFormat.OpenSSH

CONFIG = """\
# ssh -F {folder}/ssh_config {first} docker version
{hosts}
Host {every}
    User root
    IdentityFile "{folder}/id_ed25519"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    BatchMode yes
    ConnectTimeout 5
    ServerAliveInterval 5
    ServerAliveCountMax 3
"""

SHIM = """\
#!/bin/sh
# OpenSSH reads the configuration of the user that the password file names, wherever HOME is. With -F of its own the
# caller's comes last and holds.
exec "{ssh}" -F "{folder}/ssh_config" "$@"
"""


def key_pair(path: Path) -> str:
    """The public key of this private one, which is made if it is not there."""
    if path.exists():
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    else:
        key = Ed25519PrivateKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(serialization.Encoding.PEM, OPENSSH, serialization.NoEncryption()))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def known_hosts(keys: dict[str, str], addresses: dict[str, str]) -> str:
    """Machine -> its public host key; each is known by name and by address."""
    return "".join(f"{name},{addresses[name]} {key}\n" for name, key in keys.items())


def ssh_config(folder: Path, addresses: dict[str, str]) -> str:
    """Each machine by its name and by its address."""
    hosts = "\n".join(f"Host {name}\n    HostName {address}" for name, address in addresses.items())
    every = " ".join([*addresses, *addresses.values()])
    return CONFIG.format(folder=folder, first=next(iter(addresses)), hosts=hosts, every=every)


def write_shim(folder: Path) -> Path:
    """A folder for PATH with an `ssh` that knows the machines; returns it."""
    ssh = shutil.which("ssh", path=os.pathsep.join(p for p in os.get_exec_path() if Path(p) != folder / "bin"))
    if ssh is None:
        raise SystemExit("ssh is not installed on this host")
    path = folder / "bin" / "ssh"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SHIM.format(ssh=ssh, folder=folder))
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path.parent


def write_docker_config(folder: Path, plugin: Path) -> Path:
    """A DOCKER_CONFIG with this Compose plugin beside what the user's own has; returns it."""
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    target = folder / "docker"
    (target / "cli-plugins").mkdir(parents=True, exist_ok=True)
    shutil.copy2(plugin, target / "cli-plugins" / "docker-compose")
    for entry in own.iterdir() if own.is_dir() and own != target else ():
        if entry.name != "cli-plugins" and not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)
    return target
