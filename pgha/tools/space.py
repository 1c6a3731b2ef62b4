"""How full the disks of a host are."""

from __future__ import annotations

import json
from dataclasses import dataclass

NODE = "/pgdata /pgdata/*/pg_wal /pgdata/*/pg_tblspc/*"
"""A node's data, its WAL and its tablespaces: volumes of their own, or the same one."""

REPOSITORY = "/pgha/pgbackrest"


@dataclass(frozen=True)
class Disk:
    """A file system; bytes that are used, and that are left to those who are not root."""

    place: str
    """where it is mounted"""
    used: int
    free: int

    @property
    def size(self) -> int:
        return self.used + self.free

    @property
    def percent(self) -> float:
        """How full it is, as df counts."""
        return 100 * self.used / self.size if self.size else 0.0


def ask(places: str) -> str:
    """A shell line that prints a JSON document for each of these places."""
    document = r"""{"place": "\3", "used": \1, "free": \2}"""
    return (
        f"df -B1 --output=used,avail,target {places} 2>/dev/null | "
        f"sed -nE '2,$s|^ *([0-9]+) +([0-9]+) +(/.*)$|{document}|p'"
    )


def parse(text: str) -> tuple[Disk, ...]:
    """Each file system once, from lines among which are other documents."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith('{"place"')]
    return tuple({entry["place"]: Disk(**entry) for entry in found}.values())
