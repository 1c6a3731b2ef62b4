"""What a project remembers between two commands, in build/<project>/project.yaml."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged

RECORD = "project.yaml"


@dataclass(frozen=True)
class Record:
    """What a project remembers between two commands: the flags of `render`, the ports and addresses it was given."""

    flags: dict[str, str]
    ports: dict[str, dict[str, int]]
    first: dict[str, int] = field(default_factory=dict)
    """The settings' first ports when these ports were chosen: with others they are chosen again."""
    scheduled: bool = False
    """Whether cron runs the schedule in the containers."""
    taken: tuple[str, ...] = ()
    """Ids of checkouts this project was taken over from."""
    subnet: str = ""
    """The block its addresses are from."""
    replacing: str = ""
    """The host whose data `inv replace` has removed and that is not whole again."""
    shape: str = ""
    """The shape `inv scale` gave the cluster last; nothing while it has the one it was made with."""
    made: dict[str, str] = field(default_factory=dict)
    """Host -> the shape its volume was made with, where that is an older one: a volume's labels cannot change."""
    scaling: dict[str, str] = field(default_factory=dict)
    """The flags of an `inv scale` that has begun and has not ended."""
    identities: dict[str, str] = field(default_factory=dict)
    """A host's keys and certificates that `inv rotate` brought into its container -> those that this was made with;
    digests of both: a label stays as it was made."""
    freed: dict[str, dict[str, int]] = field(default_factory=dict)
    """The ports of hosts that went, as in `ports`: one that comes back gets its own again, if nobody has it."""
    gone: tuple[str, ...] = ()
    """Hosts that `inv recover` has given up; `inv scale` makes them anew."""
    repository: str = ""
    """The shape of what is in the repository, where its volume was made with an older one: another major version."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Engine -> the address of its machine, as it was looked up."""


def folder_of(root: Path, name: str) -> Path:
    """Where a project of this checkout keeps its files."""
    return root / "build" / name


def read_record(root: Path, name: str) -> Record:
    """The record of a project; empty when there is none. Raises Missing when it is damaged."""
    path = folder_of(root, name) / RECORD
    try:
        document = read_yaml(path.read_text())
        flags = {str(k): str(v) for k, v in document["flags"].items()}
        ports, freed = _ports(document["ports"]), _ports(document.get("freed", {}))
        first = {str(kind): int(port) for kind, port in document["first"].items()}
        scheduled = bool(document.get("scheduled", False))
        subnet = str(document.get("subnet", ""))
        if subnet:
            IPv4Network(subnet)
        replacing = str(document.get("replacing", ""))
        shape = str(document.get("shape", ""))
        made, scaling, identities, addresses = (
            {str(k): str(v) for k, v in document.get(key, {}).items()}
            for key in ("made", "scaling", "identities", "addresses")
        )
        gone = tuple(str(host) for host in document.get("gone", ()))
        repository = str(document.get("repository", ""))
        taken = tuple(str(owner) for owner in document.get("taken", ()))
    except (FileNotFoundError, NotADirectoryError):
        # Also when another project of this checkout is destroyed at this moment.
        return Record({}, {})
    except (
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise Damaged(
            f"{path.relative_to(root)} is damaged ({type(error).__name__}); it holds the flags of `inv render` "
            "and the ports",
            f"rm {path.relative_to(root)}, then `inv render` with the flags used before",
        ) from None
    known = (scheduled, taken, subnet, replacing, shape, made, scaling, identities, freed, gone, repository, addresses)
    return Record(flags, ports, first, *known)


def _ports(document: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {str(kind): {str(host): int(port) for host, port in entries.items()} for kind, entries in document.items()}


def other_records(root: Path, name: str) -> list[Record]:
    """The records of the projects rendered beside this one.

    One that is damaged is left out: its own commands name it, and what it was given and this project takes meanwhile is
    chosen again there.
    """
    names = sorted(p.parent.name for p in (root / "build").glob(f"*/{RECORD}") if p.parent.name != name)
    records = []
    for other in names:
        with suppress(Damaged):
            records.append(read_record(root, other))
    return records
