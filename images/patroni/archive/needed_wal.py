"""Which backup a timeline can be reached from, and which of the WAL segments on the way the archive lacks."""

import os
import subprocess

from wal import parse_lsn, parse_segment

STANZA = os.environ.get("STANZA_NAME", "pg_ha_db")


def ask(*arguments):
    """What pgBackRest prints; its server answers only for a stanza. Raises CalledProcessError."""
    command = ["pgbackrest", f"--stanza={STANZA}", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def of_this_database(stanza):
    """The backups of the present database: those from before a major upgrade are of another one."""
    present = stanza["db"][-1]["id"] if stanza.get("db") else None
    backups = stanza.get("backup") or []
    return [backup for backup in backups if present is None or backup["database"]["id"] == present]


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


def missing(archive, names):
    """Those of these segments that the archive lacks. Only the folders they would be in are listed."""
    names = list(names)
    there = set()
    for folder in sorted({name[:16] for name in names}):
        listed = ask("repo-ls", f"archive/{STANZA}/{archive}/{folder}").split("\n")
        there.update(line[:24] for line in listed if ".partial" not in line)
    return [name for name in names if name not in there]
