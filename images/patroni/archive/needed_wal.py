"""Which backup a timeline can be reached from, and which of the WAL segments on the way the archive lacks."""

import json
import os
import re
import subprocess
from pathlib import Path

from wal import parse_lsn, parse_segment

STANZA = os.environ.get("STANZA_NAME", "pg_ha_db")


def ask(*arguments):
    """What pgBackRest prints; its server answers only for a stanza. Raises CalledProcessError."""
    command = ["pgbackrest", f"--stanza={STANZA}", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def info(*options):
    """What `pgbackrest info` tells of the stanza, of every repository that this node knows.

    Asked one by one: pgBackRest 2.55 on a node, asked for both, cannot read the second one.
    """
    config = Path(os.environ.get("PGHA_PGBACKREST", "/pgha/config/pgbackrest.conf"))
    known = re.findall(r"^repo(\d+)-host=", config.read_text(), re.MULTILINE) if config.exists() else []
    told = [
        json.loads(ask(*repo, *options, "--output=json", "--log-level-console=off", "info"))[0]
        for repo in ([[f"--repo={number}"] for number in known] if len(known) > 1 else [[]])
    ]
    lists = {key: [entry for one in told for entry in one.get(key) or []] for key in ("db", "archive", "backup")}
    if len(told) > 1:
        lists["backup"].sort(key=lambda backup: backup["label"])
    return {**told[0], **lists}


def repo_of(entry):
    """The number of the repository that an entry of `info` is about."""
    return entry.get("repo-key", 1)


def of_this_database(stanza):
    """The backups of the present database, in every repository: those of before a major upgrade are another one's."""
    present = {repo_of(database): database["id"] for database in stanza.get("db") or []}
    backups = stanza.get("backup") or []
    return [b for b in backups if not present or b["database"]["id"] == present[repo_of(b["database"])]]


def archive_of(stanza, backup=None):
    """Where the WAL is that goes with a backup: the name of its archive, and pgBackRest's option for its repository."""
    archives = stanza["archive"]
    if backup:
        repo = repo_of(backup.get("database", {}))
        archives = [archive for archive in archives if repo_of(archive.get("database", {})) == repo]
    repo = repo_of(archives[-1].get("database", {}))
    alone = {repo_of(archive.get("database", {})) for archive in stanza["archive"]} == {1}
    return archives[-1]["id"], [] if alone else [f"--repo={repo}"]


def newest_on(stanza, history):
    """The newest good backup of a stanza's database that became consistent on this history."""
    fitting = None
    for backup in of_this_database(stanza):
        timeline, _ = parse_segment(backup["archive"]["start"])
        if not backup.get("error") and history.holds(timeline, parse_lsn(backup["lsn"]["stop"])):
            fitting = backup
    return fitting


def first_of(backup):
    """The number of the first segment that a backup needs."""
    return parse_segment(backup["archive"]["start"])[1]


def missing(place, names):
    """Those of these segments that an archive (`archive_of`) lacks. Only the folders they would be in are listed."""
    archive, repo = place
    names = list(names)
    there = set()
    for folder in sorted({name[:16] for name in names}):
        listed = ask(*repo, "repo-ls", f"archive/{STANZA}/{archive}/{folder}").split("\n")
        there.update(line[:24] for line in listed if ".partial" not in line)
    return [name for name in names if name not in there]
