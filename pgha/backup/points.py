"""A point resolved: the backup it needs, the history it lies on, the WAL up to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgha.backup.catalogue import Catalogue
from pgha.backup.targets import Finder, Request, Situation, Target, parse_time
from pgha.errors import BadValue
from pgha.model.words import time_of, time_text
from pgha.tools import repository, wal


def resolve(request: Request, catalogue: Catalogue, situation: Situation, find: Finder) -> Target:
    """The target of a request. Raises BadValue with the window that can be restored."""
    point = request.point
    search = _Search(request, catalogue, _history(request, catalogue, situation), situation, find)
    if not search.usable and not request.set:
        raise BadValue(
            f"No backup lies on the history of timeline {search.history.timeline}",
            "inv info; --timeline names another history, --set a backup",
        )
    if point is None:
        return search.end_of_set() if request.set else search.end()
    kind, value = point
    return search.time(value) if kind == "time" else search.position(kind, value)


def find_end(target: Target, catalogue: Catalogue, find: Finder) -> Target:
    """The end of the archive as a position: its last record. To be asked when nobody writes any more.

    A recovery that simply runs to the end would promote itself there, before anyone could look at it.
    """
    nobody = Situation(datetime.now(UTC), None, None, None)
    search = _Search(Request(), catalogue, target.history, nobody, find)
    search.require_begun()
    segments = search.reachable(target.backup)
    found = find("last", "", segments[::-1])
    if not found:
        raise BadValue(f"The archive of timeline {target.history.timeline} holds no record", "inv info")
    return replace(target, kind="lsn", value=wal.lsn_text(found[0].lsn), segments=tuple(segments))


def _history(request: Request, catalogue: Catalogue, situation: Situation) -> wal.History:
    """The history to follow: the one that is asked for, else the cluster's own, else the archive's newest."""
    archive = catalogue.archive
    known = sorted({*archive.segments, *archive.histories})
    if not request.timeline:
        return catalogue.history(situation.timeline or archive.newest_timeline)
    if not _is_number(request.timeline) or int(request.timeline) not in known:
        raise BadValue(
            f"The archive has no timeline {request.timeline}", f"it has {', '.join(map(str, known)) or 'none'}"
        )
    return catalogue.history(int(request.timeline))


def _lsn_of(text: str) -> int:
    try:
        return wal.parse_lsn(text)
    except ValueError as error:
        raise BadValue(str(error), "such as 0/5000060: select pg_current_wal_lsn()") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@dataclass(frozen=True)
class _Search:
    """One request on one history."""

    request: Request
    catalogue: Catalogue
    history: wal.History
    situation: Situation
    find: Finder

    @property
    def usable(self) -> list[repository.Backup]:
        return self.catalogue.usable(self.history)

    @property
    def last(self) -> tuple[int, int]:
        """The newest archived segment. Raises BadValue when there is none."""
        last = self.catalogue.last_segment(self.history)
        if last is None:
            raise BadValue(f"The archive holds no WAL of timeline {self.history.timeline}", "inv info")
        return last

    @property
    def is_own(self) -> bool:
        """Whether this is the history the cluster itself is on."""
        return self.history.timeline == self.situation.timeline

    @property
    def goes_on(self) -> bool:
        """Whether a leader archives more of it."""
        return self.is_own and self.situation.position is not None

    @property
    def window(self) -> str:
        return f"what can be restored: {self.catalogue.window(self.history) or 'nothing'}; inv info"

    def require_begun(self) -> None:
        """Raises BadValue when nothing of the history's own timeline is archived, nor will be.

        The segment in which its parent was left holds what the parent wrote after that, too: it is no end of this.
        """
        if self.history.parents and self.last[0] != self.history.timeline and not self.goes_on:
            parent = self.history.parents[-1][0]
            raise BadValue(f"Timeline {self.history.timeline} has archived nothing yet", f"--timeline {parent}")

    # The kinds of points ----------------------------------------------------------------------------------

    def end_of_set(self) -> Target:
        backup = self.named_set()
        if self.request.timeline and self.request.timeline != str(backup.timeline):
            raise BadValue(f"Backup {backup.label} ends on timeline {backup.timeline}", "leave --timeline out")
        own = replace(self, history=self.catalogue.history(backup.timeline))
        return Target("immediate", "", backup, own.history, own.wal(backup, wal.number_of(backup.stop_lsn - 1)))

    def end(self) -> Target:
        self.require_begun()
        backup = self.usable[-1]
        return Target("end", "", backup, self.history, self.wal(backup, self.last[1]))

    def time(self, text: str) -> Target:
        when, assumed = parse_time(text)
        what = f"--time {time_text(when)}" + (f" ({when.tzname()} was assumed)" if assumed else "")
        if when > self.situation.now:
            raise BadValue(f"{what} is in the future", self.window)
        self.require_begun()
        backup = self.choose_set(what, lambda backup: when >= time_of(backup.consistent_from))
        last = self.last
        if self.catalogue.archived_at(*last) < when and not self.goes_on:
            raise BadValue(f"{what} is after the newest archived WAL, and no leader archives more", self.window)
        segments = self.wal(backup, self.segment_at(when, backup))
        notes = tuple(filter(None, [assumed, *self.branch_notes(when)]))
        if not self.goes_on and self.is_after_every_transaction(when, backup):
            note = "no archived transaction ended after that time: the end of the archive is the same"
            return Target("end", "", backup, self.history, segments, (*notes, note))
        # pgBackRest knows no Z.
        value = time_text(when).replace("Z", "+00")
        return Target("time", value, backup, self.history, segments, notes)

    def position(self, kind: str, value: str) -> Target:
        """An LSN, or the LSN of a transaction's end or a restore point."""
        self.require_begun()
        lsn, note = (_lsn_of(value), "") if kind == "lsn" else self.look_up(kind, value)
        what = f"--{kind} {value}"
        backup = self.choose_set(what, lambda backup: backup.stop_lsn <= lsn)
        last = self.last[1]
        if self.goes_on:
            # What is archived before the restore begins ends with a record of its own, behind this.
            end = self.situation.position or 0
        else:
            names = self.reachable(backup) or list(self.wal(backup, last))
            found = self.find("last", "", names[::-1])
            end = found[0].lsn if found else 0
        if lsn > end:
            raise BadValue(f"{what} is after the last archived position {wal.lsn_text(end)}", self.window)
        segments = self.wal(backup, min(last, wal.number_of(lsn)))
        return Target("lsn", wal.lsn_text(lsn), backup, self.history, segments, (note,) if note else ())

    # What they need ---------------------------------------------------------------------------------------

    def named_set(self) -> repository.Backup:
        label, backups = self.request.set, self.catalogue.stanza.backups
        named = next((backup for backup in backups if backup.label == label), None)
        if named is None or named.error:
            state = "is not a good backup" if named else "is not in the repository"
            raise BadValue(f"Backup {label} {state}", f"one of {', '.join(b.label for b in backups if not b.error)}")
        return named

    def choose_set(self, what: str, fits: Callable[[repository.Backup], bool]) -> repository.Backup:
        """The set that was asked for, else the newest one from which the point can be reached."""
        usable = self.usable
        if self.request.set:
            named = self.named_set()
            if named not in usable:
                raise BadValue(
                    f"Backup {named.label} does not lie on the history of timeline {self.history.timeline}",
                    f"--timeline {named.timeline} is its own",
                )
            usable = [named]
        fitting = [backup for backup in usable if fits(backup)]
        if not fitting:
            which = f"backup {self.request.set}" if self.request.set else "the first backup"
            raise BadValue(f"{what} is before {which} was consistent", self.window)
        return fitting[-1]

    def segments(self, backup: repository.Backup, last: int) -> tuple[list[str], list[str]]:
        """The segments from the backup to this one, and those that are missing."""
        first = wal.parse_segment(backup.wal_start)[1]
        return wal.segments_on(self.catalogue.archive.segments, self.history, first, max(first, last))

    def wal(self, backup: repository.Backup, last: int) -> tuple[str, ...]:
        """The segments from the backup to this one. Raises BadValue when one is missing."""
        names, lacking = self.segments(backup, last)
        if lacking:
            raise BadValue(
                f"The archive lacks WAL that is needed after backup {backup.label}: {wal.name_some(lacking)}",
                "a point before it (--time, --lsn), or a newer backup (--set): inv info",
            )
        return tuple(names)

    def reachable(self, backup: repository.Backup) -> list[str]:
        """The segments that recovery from this backup can read: up to the first that is missing."""
        names, lacking = self.segments(backup, self.last[1])
        if not lacking:
            return names
        gap = wal.parse_segment(lacking[0])[1]
        return [name for name in names if wal.parse_segment(name)[1] < gap]

    def segment_at(self, when: datetime, backup: repository.Backup) -> int:
        """The number of the first segment that was archived after that time; of the last one when none was."""
        names, _ = self.segments(backup, self.last[1])
        later = (
            number
            for timeline, number in map(wal.parse_segment, names)
            if self.catalogue.archived_at(timeline, number) > when
        )
        return next(later, self.last[1])

    def is_after_every_transaction(self, when: datetime, backup: repository.Backup) -> bool:
        """Recovery to a time ends with an error when no later transaction tells it that the time has passed."""
        records = self.find("last", "", self.reachable(backup)[::-1])
        ended = [record.committed for record in records if record.committed]
        return not ended or max(ended) <= when

    def look_up(self, kind: str, value: str) -> tuple[int, str]:
        """The LSN of a transaction's end or a restore point, and a note on where it was found."""
        if kind == "xid":
            if not _is_number(value):
                raise BadValue(f"--xid {value} is not a transaction number", "select pg_current_xact_id()")
            upcoming = self.situation.next_xid if self.is_own else None
            if upcoming is not None and int(value) >= upcoming:
                raise BadValue(f"--xid {value} has not been given out yet", f"the next one is {upcoming}")
        names, _ = self.segments(self.usable[0], self.last[1])
        found = self.find(kind, value, names[::-1])
        if not found:
            what = "restore point" if kind == "name" else "transaction"
            raise BadValue(f"The archive of timeline {self.history.timeline} holds no {what} {value}", self.window)
        return found[0].lsn, f"--{kind} {value} is at {wal.lsn_text(found[0].lsn)} in WAL {found[0].segment}"

    def branch_notes(self, when: datetime) -> list[str]:
        """Say so when an older timeline went on at that time: an earlier restore left it behind."""
        return [
            f"at that time timeline {parent} went on, which was left at {wal.lsn_text(end)}; --timeline {parent} "
            "reaches what it wrote after that"
            for parent, end in self.history.parents
            if self.was_left_but_wrote(parent, end, when)
        ]

    def was_left_but_wrote(self, parent: int, end: int, when: datetime) -> bool:
        segments = self.catalogue.archive.segments
        after = [at for number, at in segments.get(parent, {}).items() if number >= wal.number_of(end)]
        # When the next timeline began; one of which nothing is archived yet began after all that is.
        next_ones = [timeline for timeline, _ in self.history.parents if timeline > parent] + [self.history.timeline]
        begun = min((at for timeline in next_ones for at in segments.get(timeline, {}).values()), default=math.inf)
        return bool(after) and min(after) - 1 <= when.timestamp() <= max(after) and when.timestamp() < begun
