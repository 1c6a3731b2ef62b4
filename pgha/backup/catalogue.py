"""What can be restored: the backups and the archive of the repository, and the histories of its timelines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgha.backup.stanza import read_stanza
from pgha.errors import Missing, NoBackup, NoStanza, ToolFailed
from pgha.model.topology import REPOSITORY
from pgha.model.words import time_of, time_text
from pgha.project.project import Project
from pgha.project.repositories import former, in_use
from pgha.remote.connections import connect
from pgha.tools import pgbackrest, repository, wal


@dataclass(frozen=True)
class Window:
    """The points in time that can be restored: from the first consistent one to the newest archived WAL."""

    begin: datetime
    end: datetime
    segment: str
    """the newest archived segment"""
    lacking: tuple[str, ...] = ()
    """segments in between that are not in the archive: no point from there to the next backup can be reached"""

    def __str__(self) -> str:
        text = f"{time_text(self.begin)} to {time_text(self.end)} (WAL {self.segment})"
        if not self.lacking:
            return text
        return f"{text}; the archive lacks {wal.name_some(self.lacking)}: no point from there to the next backup"


@dataclass(frozen=True)
class Catalogue:
    """The repository as one read found it."""

    stanza: repository.StanzaView
    archive: repository.Archive
    histories: dict[int, wal.History]
    """timeline -> how it came about; every timeline of the archive"""
    repo: int = 0
    """pgBackRest's number of it; 0 when there is but one"""

    def history(self, timeline: int) -> wal.History:
        return self.histories.get(timeline, wal.History(timeline, ()))

    def usable(self, history: wal.History) -> list[repository.Backup]:
        """Good backups that became consistent on this history, the oldest first."""
        return [b for b in self.stanza.backups if not b.error and history.holds(b.timeline, b.stop_lsn)]

    def last_segment(self, history: wal.History) -> tuple[int, int] | None:
        """Timeline and number of the newest archived segment on this history."""
        for timeline in (history.timeline, *(parent for parent, _ in reversed(history.parents))):
            end = history.end_of(timeline)
            numbers = self.archive.segments.get(timeline, {})
            held = [number for number in numbers if end is None or number <= wal.number_of(end)]
            if held:
                return timeline, max(held)
        return None

    def archived_at(self, timeline: int, number: int) -> datetime:
        return time_of(self.archive.segments[timeline][number])

    def window(self, history: wal.History) -> Window | None:
        """None without a usable backup or without WAL."""
        usable, last = self.usable(history), self.last_segment(history)
        if not usable or last is None:
            return None
        begin = time_of(usable[0].consistent_from)
        first = wal.parse_segment(usable[0].wal_start)[1]
        _, lacking = wal.segments_on(self.archive.segments, history, first, max(first, last[1]))
        return Window(begin, max(begin, self.archived_at(*last)), wal.segment_name(*last), tuple(lacking))


def read_archive(project: Project, stanza: repository.StanzaView, repo: int = 0) -> repository.Archive:
    """The archive's files as this repository lists them; the one in use when none is named."""
    command = pgbackrest.archive_list(stanza.archive_id, repo or in_use(project))
    return repository.parse_archive(connect(project).must(REPOSITORY, command, "pgbackrest repo-ls failed").stdout)


def read_window(project: Project, repo: int = 0) -> Window | None:
    """What can be restored without naming a timeline: the window of the newest one. None without a backup."""
    try:
        found = read_catalogue(project, repo)
    except Missing:
        return None
    return found.window(found.history(found.archive.newest_timeline))


def find_backup(project: Project, label: str) -> tuple[repository.Backup, int] | None:
    """The backup of this name and its repository: the one in use, or the former one that is kept."""
    for repo in (in_use(project), *filter(None, (former(project),))):
        found = next((b for b in read_stanza(project, repo).backups if b.label == label), None)
        if found:
            return found, repo
    return None


def read_catalogue(project: Project, repo: int = 0) -> Catalogue:
    """Everything a restore has to know of this repository; of the one in use when none is named.

    Raises Missing without a stanza or a backup, Unreachable or ToolFailed when the repository is away.
    """
    repo = repo or in_use(project)
    stanza = read_stanza(project, repo)
    if stanza.missing or not stanza.archive_id:
        raise NoStanza("There is no stanza yet, so there is nothing to restore", "inv stanza backup")
    if not any(not backup.error for backup in stanza.backups):
        raise NoBackup("There is no backup yet, so there is nothing to restore", "inv backup")
    archive = read_archive(project, stanza, repo)
    return Catalogue(stanza, archive, _read_histories(project, stanza.archive_id, archive, repo), repo)


def _read_histories(
    project: Project, archive_id: str, archive: repository.Archive, repo: int
) -> dict[int, wal.History]:
    if not archive.histories:
        return {}
    names = [f"{timeline:08X}.history" for timeline in archive.histories]
    command = pgbackrest.read_archived(archive_id, names, repo)
    answer = connect(project).must(REPOSITORY, command, "The histories of the timelines cannot be read")
    found = pgbackrest.parse_archived(answer.stdout)
    try:
        return {
            timeline: wal.parse_history(timeline, found[name])
            for timeline, name in zip(archive.histories, names, strict=True)
        }
    except ValueError as error:
        raise ToolFailed(str(error)) from error
