"""Which WAL segments a backup needs on its way to a timeline, and which of them the archive lacks."""

import os
import subprocess

SEGMENT = 16 << 20
"""Bytes of a WAL segment."""

PER_LOG = (1 << 32) // SEGMENT

STANZA = os.environ.get("STANZA_NAME", "pg_ha_db")


def ask(*arguments):
    """What pgBackRest prints; its server answers only for a stanza. Raises CalledProcessError."""
    command = ["pgbackrest", f"--stanza={STANZA}", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def position(lsn):
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def number(name):
    """The number of a segment, whatever its timeline."""
    return int(name[8:16], 16) * PER_LOG + int(name[16:24], 16)


def parse_history(text):
    """Where each timeline was left, of a history file: {1: position, ...}"""
    fields = (line.split() for line in text.split("\n") if line[:1].isdigit())
    return {int(parent): position(lsn) for parent, lsn, *_ in fields}


def newest_on(stanza, ends):
    """The newest good backup of a stanza that became consistent on this history: timeline -> where it was left."""
    fitting = None
    for backup in stanza["backup"]:
        on = int(backup["archive"]["start"][:8], 16)
        if not backup.get("error") and on in ends and position(backup["lsn"]["stop"]) <= ends[on]:
            fitting = backup
    return fitting


def needed(first, stop, ends):
    """The names of the segments from number `first` to before `stop` along the history: each from the newest timeline
    in it."""
    begins, begin = {}, 0
    for timeline, end in ends.items():
        begins[timeline], begin = begin // SEGMENT, end
    for segment in range(first, stop):
        timeline = [timeline for timeline, begins_in in begins.items() if begins_in <= segment][-1]
        yield f"{timeline:08X}{segment // PER_LOG:08X}{segment % PER_LOG:08X}"


def missing(archive, names):
    """Those of these segments that the archive lacks. Only the folders they would be in are listed."""
    names = list(names)
    there = set()
    for folder in sorted({name[:16] for name in names}):
        listed = ask("repo-ls", f"archive/{STANZA}/{archive}/{folder}").split("\n")
        there.update(line[:24] for line in listed if ".partial" not in line)
    return [name for name in names if name not in there]
