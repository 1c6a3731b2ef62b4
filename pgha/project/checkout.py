"""Which checkout this is: containers and volumes carry it, so that no other checkout changes or destroys them."""

from __future__ import annotations

import fcntl
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from pgha.documents import read_yaml
from pgha.errors import Damaged
from pgha.project.files import write_file

FILE = "checkout.yaml"


@dataclass(frozen=True)
class Checkout:
    """A checkout keeps its id when its folder is moved; `path` tells a copy from that."""

    id: str
    path: str


def checkout_id(root: Path) -> str:
    """This checkout's id, made when it is asked for first. A copy beside its original gets one of its own.

    Raises Damaged for a file that cannot be read: with another id the stacks would be somebody else's.
    """
    file = file_of(root)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Commands of two projects may ask at once.
    with (file.parent / f".{FILE}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_checkout(root)
        here = str(root.resolve())
        if known is None or (known.path != here and _is_there(root, known)):
            known = Checkout(secrets.token_hex(8), here)
        write_file(file, yaml.safe_dump(asdict(Checkout(known.id, here))))
    return known.id


def read_checkout(root: Path) -> Checkout | None:
    file = file_of(root)
    if not file.exists():
        return None
    try:
        document = read_yaml(file.read_text())
        return Checkout(str(document["id"]), str(document["path"]))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise Damaged(
            f"build/{FILE} is damaged ({type(error).__name__}); it tells which stacks are this checkout's",
            f"restore the file, or rm build/{FILE}, then `inv up --take-over` for each project",
        ) from None


def root_of(folder: str) -> Path:
    """The checkout that a compose file's folder is in: `<root>/build/<project>`, or a machine's within that."""
    path = Path(folder)
    return next((parent.parent for parent in path.parents if parent.name == "build"), path.parent.parent)


def file_of(root: Path) -> Path:
    return root / "build" / FILE


def _is_there(root: Path, known: Checkout) -> bool:
    """Whether the checkout of that path is there still, as another one than this."""
    other = Path(known.path)
    try:
        if file_of(other).samefile(file_of(root)):
            return False
        found = read_checkout(other)
    except (OSError, Damaged):
        return False
    return found is not None and found.id == known.id
