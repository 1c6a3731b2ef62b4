"""pg_upgrade: the container it runs in, what is asked before, and the way back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.tools import docker, postgres
from pgha.tools.command import Command

FOLDER = "/pgdata"
"""Where the data directories of the majors are, each named for its own; a node's volume."""

FACTS = (
    "select json_build_object('prepared', (select coalesce(json_agg(gid order by gid), '[]') from pg_prepared_xacts),"
    " 'slots', (select coalesce(json_agg(slot_name order by slot_name), '[]') from pg_replication_slots"
    " where slot_type = 'logical' and not temporary),"
    " 'unusable', (select coalesce(json_agg(datname order by datname), '[]') from pg_database"
    " where datconnlimit = -2 or (not datallowconn and datname <> 'template0')),"
    " 'databases', (select json_agg(datname order by datname) from pg_database where datallowconn),"
    " 'size', (select sum(pg_database_size(oid)) from pg_database))"
)

EXTENSIONS = """
psql -XAtq -d postgres -c "select datname from pg_database where datallowconn" | while read -r database; do
    psql -XAtq -d "dbname='$database'" -v ON_ERROR_STOP=1 -c \\
        "select format('%s %s', extname, current_database()) from pg_extension" || exit
done
"""

COLLATIONS = (
    "select datname from pg_database where datallowconn and datcollversion is not null"
    " and datcollversion is distinct from pg_database_collation_actual_version(oid) order by datname"
)
"""Databases whose text was sorted by another version of the C library or of ICU; since PostgreSQL 15."""


@dataclass(frozen=True)
class Facts:
    """What a leader says of itself before an upgrade."""

    prepared: tuple[str, ...]
    """transactions that were prepared and not committed"""
    slots: tuple[str, ...]
    """logical slots"""
    unusable: tuple[str, ...]
    """databases that nobody can connect to: pg_upgrade has to"""
    databases: tuple[str, ...]
    size: int
    """bytes"""


def parse_facts(text: str) -> Facts:
    """The answer to `FACTS`. Raises ToolFailed."""
    try:
        document = json.loads(text)
        lists = {key: tuple(document[key]) for key in ("prepared", "slots", "unusable", "databases")}
        return Facts(size=int(document["size"]), **lists)
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("psql did not answer the question before the upgrade", text) from error


def extensions() -> Command:
    """On the leader: a line for each extension of each database."""
    return Command(("env", postgres.FREE, "sh", "-c", EXTENSIONS), timeout=120)


def parse_extensions(text: str) -> dict[str, tuple[str, ...]]:
    """Extension -> its databases."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        name, _, database = line.partition(" ")
        found[name] = (*found.get(name, ()), database)
    return found


def offered(image: str, major: int) -> Command:
    """The extensions an image has, a control file a line."""
    return docker.docker("run", "--rm", "--network", "none", image, "ls", f"/usr/share/postgresql/{major}/extension")


def parse_offered(text: str) -> set[str]:
    """The answer to `offered`."""
    return {name.removesuffix(".control") for name in text.split() if name.endswith(".control")}


@dataclass(frozen=True)
class Aside:
    """The container beside the cluster in which pg_upgrade runs: it is gone afterwards."""

    name: str
    image: str
    labels: tuple[str, ...]
    shm_size: str

    def _run(self, *arguments: str) -> Command:
        labels = tuple(word for label in self.labels for word in ("--label", label))
        argv = ("run", "--rm", "--init", "--name", self.name, *labels, "--shm-size", self.shm_size, *arguments)
        return docker.docker(*argv, timeout=0)

    def rehearse(
        self, old: int, new: int, preload: str, *, network: str, host: str, files: Mapping[str, str]
    ) -> Command:
        """A copy of the schemas of this host's Postgres is upgraded (images/upgrade/rehearse-upgrade). `files`: secrets
        that the entrypoint puts in place -> their paths."""
        script = ("s6-setuidgid", "postgres", "rehearse-upgrade", str(old), str(new), preload, host)
        volumes = [w for name, path in files.items() for w in ("--volume", f"{path}:/run/secrets/{name}:ro")]
        return self._run("--network", network, *volumes, self.image, "/entrypoint.sh", *script)

    def upgrade(self, volume: str, old: int, new: int, preload: str) -> Command:
        """The data of a node's volume, whose server does not run (images/upgrade/upgrade-data)."""
        script = ("upgrade-data", FOLDER, str(old), str(new), preload, "--link")
        return self._run("--network", "none", "--user", "postgres", "--volume", f"{volume}:{FOLDER}", self.image,
                         *script)  # fmt: skip


TAKE_BACK = """
old=$0/$1 new=$0/$2
if [ -e "$new/patroni.dynamic.json" ]; then
    echo "the new server of $new was started: what it has written is also the old one's" >&2
    exit 9
fi
rm -rf "$old"/pg_tblspc/*/PG_"$2"_*[0-9] "$new" "$new.upgrade" || exit
[ ! -e "$old/global/pg_control.old" ] || mv "$old/global/pg_control.old" "$old/global/pg_control" || exit
[ -d "$old.slots" ] || exit 0
for slot in "$old.slots"/*; do
    [ ! -e "$slot" ] || mv "$slot" "$old/pg_replslot/" || exit
done
rmdir "$old.slots"
"""


def unknown_parameter(words: str) -> str:
    """What the new major does not know although the old one writes it: packages of one day are as new as each other,
    and a mirror may have those of the new major later. Nothing when it failed for another reason."""
    found = re.search(r'unrecognized (?:configuration )?parameter "?([\w.]+)', words)
    return found[1] if found else ""


def take_back(old: int, new: int) -> Command:
    """On the node: what pg_upgrade made goes, and the old data is as it was. Fails when the new server was started."""
    return Command(("sh", "-c", TAKE_BACK, FOLDER, str(old), str(new)), timeout=600)


def is_whole(new: int) -> Command:
    """On the node: whether pg_upgrade came to its end."""
    return Command(("test", "-e", f"{FOLDER}/{new}.upgrade/whole"), timeout=10)


def updates(new: int) -> Command:
    """On the node: the statements pg_upgrade left for extensions of which there is a newer version now."""
    return Command(("sh", "-c", 'cat "$0" 2> /dev/null || true', f"{FOLDER}/{new}.upgrade/update_extensions.sql"))


def forget_old(old: int, new: int) -> Command:
    """On the node: the old data and what pg_upgrade noted go."""
    script = 'rm -rf "$0/$1"/pg_tblspc/*/PG_"$1"_*[0-9] "$0/$1" "$0/$1.slots" "$0/$1.log" "$0/$2.upgrade"'
    return Command(("sh", "-c", script, FOLDER, str(old), str(new)), timeout=600)


def analyze(new: int, processes: int) -> Command:
    """Statistics in three stages, the roughest first; PostgreSQL 18 brings most of them along."""
    missing = ("--missing-stats-only",) if new >= 18 else ()
    options = ("--all", "--analyze-in-stages", f"--jobs={processes}", *missing)
    return Command(("env", postgres.FREE, "vacuumdb", *options), timeout=0, terminal=True)


def kept_names(names: Sequence[str], limit: int = 5) -> str:
    """Some names, and how many more."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
