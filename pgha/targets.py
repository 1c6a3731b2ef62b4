"""Where a restore shall go: what the operator asked for, checked against the repository before anything is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from pgha.catalogue import Catalogue, text_of, time_of
from pgha.errors import BadValue
from pgha.tools import pgbackrest, wal

Finder = Callable[[str, str, list[str]], list[pgbackrest.WalRecord]]
"""Looks for `xid`, `name` or `last` in these segments, newest first; an empty list when it is not there."""


@dataclass(frozen=True)
class Request:
    """What the operator typed; at most one of the points, perhaps with a set and a timeline."""

    time: str = ""
    lsn: str = ""
    xid: str = ""
    name: str = ""
    set: str = ""
    timeline: str = ""

    @property
    def point(self) -> tuple[str, str] | None:
        """The one that was given. Raises BadValue when there are two."""
        given = [(kind, getattr(self, kind)) for kind in ("time", "lsn", "xid", "name") if getattr(self, kind)]
        if len(given) > 1:
            flags = " and ".join(f"--{kind}" for kind, _ in given)
            raise BadValue(f"{flags} name two points", "give one of --time, --lsn, --xid, --name")
        return given[0] if given else None

    def __str__(self) -> str:
        words = [f"{kind} {value}" for kind in ("time", "lsn", "xid", "name", "set", "timeline")
                 if (value := getattr(self, kind))]  # fmt: skip
        return ", ".join(words) or "the end of the archive"


@dataclass(frozen=True)
class Target:
    """A point that the repository can reach, in pgBackRest's words."""

    kind: str
    """time, lsn, immediate (the end of the backup) or end (of the archive)"""
    value: str
    """the time or LSN for recovery; for `end` it is found when nobody writes any more"""
    backup: pgbackrest.Backup
    history: wal.History
    """that recovery follows"""
    segments: tuple[str, ...]
    """WAL from the backup to the point, oldest first, as far as it is known to be needed"""
    notes: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """pgbackrest restore's options; recovery pauses at the point, so that it can be looked at."""
        type_ = ("--type=immediate",) if self.kind == "immediate" else (f"--type={self.kind}", f"--target={self.value}")
        return (*type_, "--target-action=pause", f"--target-timeline={self.history.timeline}")


@dataclass(frozen=True)
class Situation:
    """What the cluster itself can tell."""

    now: datetime
    timeline: int | None
    """the leader's, when it is a leader of the database in the repository"""
    position: int | None
    """bytes of WAL the leader has written"""
    next_xid: int | None

    @property
    def writes(self) -> bool:
        """A leader archives: what it has written up to now will be in the archive before it is stopped."""
        return self.position is not None


def parse_time(text: str, zone: tzinfo | None = None) -> tuple[datetime, str]:
    """ISO 8601, with or without a zone; returns the time and a note on the zone that was assumed.

    Without a zone it is the zone of this host (or `zone`). Raises BadValue.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadValue(
            f"--time {text!r} is not a time in ISO 8601", "such as 2026-11-23T08:30:00+00:00 or '2026-11-23 08:30:00'"
        ) from None
    if when.tzinfo is not None:
        return when, ""
    when = when.replace(tzinfo=zone) if zone else when.astimezone()
    return when, f"--time has no zone; {when.tzname()} was assumed: {text_of(when)}"


def resolve(request: Request, catalogue: Catalogue, situation: Situation, find: Finder) -> Target:
    """The target of a request. Raises BadValue with the window that can be restored."""
    point = request.point
    history = _history(request, catalogue, situation)
    if not catalogue.usable(history) and not request.set:
        raise BadValue(
            f"No backup lies on the history of timeline {history.timeline}",
            "inv info; --timeline names another history, --set a backup",
        )
    if point is None:
        return _to_end_of_set(request, catalogue) if request.set else _to_end(request, catalogue, history)
    kind, value = point
    if kind == "time":
        return _to_time(request, value, catalogue, history, situation, find)
    lsn, note = _position(kind, value, catalogue, history, situation, find)
    return _to_lsn(request, f"--{kind} {value}", lsn, note, catalogue, history, situation)


def _history(request: Request, catalogue: Catalogue, situation: Situation) -> wal.History:
    """The history to follow: the one that is asked for, else the cluster's own, else the archive's newest."""
    archive = catalogue.archive
    known = sorted({*archive.segments, *archive.histories})
    if not request.timeline:
        return catalogue.history(situation.timeline or archive.newest_timeline)
    if not request.timeline.isdigit() or int(request.timeline) not in known:
        raise BadValue(
            f"The archive has no timeline {request.timeline}", f"it has {', '.join(map(str, known)) or 'none'}"
        )
    return catalogue.history(int(request.timeline))


def _window(catalogue: Catalogue, history: wal.History) -> str:
    return f"what can be restored: {catalogue.window(history) or 'nothing'}; inv info"


def _chosen_set(
    request: Request,
    catalogue: Catalogue,
    history: wal.History,
    what: str,
    fits: Callable[[pgbackrest.Backup], bool],
) -> pgbackrest.Backup:
    """The set that was asked for, else the newest one from which the point can be reached."""
    usable = catalogue.usable(history)
    if request.set:
        named = _named_set(request, catalogue)
        if named not in usable:
            raise BadValue(
                f"Backup {named.label} does not lie on the history of timeline {history.timeline}",
                f"--timeline {named.timeline} is its own",
            )
        usable = [named]
    fitting = [backup for backup in usable if fits(backup)]
    if not fitting:
        before = f"backup {request.set} was consistent" if request.set else "the first backup was consistent"
        raise BadValue(f"{what} is before {before}", _window(catalogue, history))
    return fitting[-1]


def _named_set(request: Request, catalogue: Catalogue) -> pgbackrest.Backup:
    named = next((b for b in catalogue.stanza.backups if b.label == request.set), None)
    if named is None or named.error:
        labels = ", ".join(b.label for b in catalogue.stanza.backups if not b.error)
        state = "is not a good backup" if named else "is not in the repository"
        raise BadValue(f"Backup {request.set} {state}", f"one of {labels}")
    return named


def _needed_wal(catalogue: Catalogue, history: wal.History, backup: pgbackrest.Backup, last: int) -> tuple[str, ...]:
    """The segments from the backup up to this one. Raises BadValue when one is missing."""
    first = wal.parse_segment(backup.wal_start)[1]
    names, lacking = wal.segments_on(catalogue.archive.segments, history, first, max(first, last))
    if lacking:
        raise BadValue(
            f"The archive lacks WAL that is needed after backup {backup.label}: "
            f"{lacking[0]}{f' and {len(lacking) - 1} more' if len(lacking) > 1 else ''}",
            "a point before it (--time, --lsn), or a newer backup (--set): inv info",
        )
    return tuple(names)


def _to_end_of_set(request: Request, catalogue: Catalogue) -> Target:
    backup = _named_set(request, catalogue)
    if request.timeline and request.timeline != str(backup.timeline):
        raise BadValue(f"Backup {backup.label} ends on timeline {backup.timeline}", "leave --timeline out")
    history = catalogue.history(backup.timeline)
    last = wal.number_of(backup.stop_lsn - 1)
    return Target("immediate", "", backup, history, _needed_wal(catalogue, history, backup, last))


def _to_end(request: Request, catalogue: Catalogue, history: wal.History) -> Target:
    backup = catalogue.usable(history)[-1]
    last = catalogue.last_segment(history)
    assert last is not None  # a usable backup has WAL
    return Target("end", "", backup, history, _needed_wal(catalogue, history, backup, last[1]))


def find_end(target: Target, catalogue: Catalogue, find: Finder) -> Target:
    """The end of the archive as a position: its last record. To be asked when nobody writes any more.

    A recovery that simply runs to the end would promote itself there, before anyone could look at it.
    """
    latest = _to_end(Request(), catalogue, target.history)
    found = find("last", "", list(reversed(latest.segments)))
    if not found:
        raise BadValue(f"The archive of timeline {target.history.timeline} holds no record", "inv info")
    return Target("lsn", wal.lsn_text(found[0].lsn), target.backup, target.history, latest.segments, target.notes)


def _to_time(
    request: Request,
    text: str,
    catalogue: Catalogue,
    history: wal.History,
    situation: Situation,
    find: Finder,
) -> Target:
    when, assumed = parse_time(text)
    what = f"--time {text_of(when)}"
    if when > situation.now:
        raise BadValue(f"{what} is in the future", _window(catalogue, history))

    def fits(backup: pgbackrest.Backup) -> bool:
        return when >= time_of(backup.consistent_from)

    backup = _chosen_set(request, catalogue, history, what, fits)
    notes = [assumed, *_branch_note(when, catalogue, history)]
    last = catalogue.last_segment(history)
    assert last is not None
    if catalogue.archived_at(*last) < when and not situation.writes:
        raise BadValue(f"{what} is after the newest archived WAL, and no leader archives more",
                       _window(catalogue, history))  # fmt: skip
    number = _segment_at(when, catalogue, history, backup, last[1])
    segments = _needed_wal(catalogue, history, backup, number)
    if not situation.writes:
        ended = find("last", "", list(reversed(_needed_wal(catalogue, history, backup, last[1]))))
        commits = [record.committed for record in ended if record.committed]
        if not commits or commits[0] <= when:
            notes.append("no archived transaction ended after that time: the end of the archive is the same")
            return Target("end", "", backup, history, segments, tuple(filter(None, notes)))
    value = text_of(when).replace("+00:00", "+00")
    return Target("time", value, backup, history, segments, tuple(filter(None, notes)))


def _segment_at(
    when: datetime, catalogue: Catalogue, history: wal.History, backup: pgbackrest.Backup, last: int
) -> int:
    """The first segment that was archived after that time; the last one when none was."""
    first = wal.parse_segment(backup.wal_start)[1]
    names, _ = wal.segments_on(catalogue.archive.segments, history, first, last)
    for timeline, number in map(wal.parse_segment, names):
        if catalogue.archived_at(timeline, number) > when:
            return number
    return last


def _branch_note(when: datetime, catalogue: Catalogue, history: wal.History) -> list[str]:
    """Say so when another timeline went on at that time: an earlier restore left it behind."""
    if not history.parents:
        return []
    parent, end = history.parents[-1]
    own = catalogue.archive.segments.get(history.timeline, {})
    begun = min(own.values(), default=0)
    left = [at for number, at in catalogue.archive.segments.get(parent, {}).items() if number >= wal.number_of(end)]
    if left and begun and min(left) - 1 <= when.timestamp() < begun and max(left) >= when.timestamp():
        return [
            f"timeline {history.timeline} had left timeline {parent} at {wal.lsn_text(end)}; what timeline {parent} "
            f"wrote after that is reached with --timeline {parent}"
        ]
    return []


def _position(
    kind: str,
    value: str,
    catalogue: Catalogue,
    history: wal.History,
    situation: Situation,
    find: Finder,
) -> tuple[int, str]:
    """The LSN of an `lsn`, `xid` or `name`, and a note on how it was found."""
    if kind == "lsn":
        return wal.parse_lsn(value), ""
    if kind == "xid":
        if not value.isdigit():
            raise BadValue(f"--xid {value} is not a transaction number", "select pg_current_xact_id()")
        if situation.next_xid is not None and int(value) >= situation.next_xid:
            raise BadValue(f"--xid {value} has not been given out yet", f"the next one is {situation.next_xid}")
    first = wal.parse_segment(catalogue.usable(history)[0].wal_start)[1]
    last = catalogue.last_segment(history)
    assert last is not None
    names, _ = wal.segments_on(catalogue.archive.segments, history, first, last[1])
    found = find(kind, value, names[::-1])
    if not found:
        what = "restore point" if kind == "name" else "transaction"
        raise BadValue(f"The archive of timeline {history.timeline} holds no {what} {value}",
                       _window(catalogue, history))  # fmt: skip
    return found[0].lsn, f"--{kind} {value} is at {wal.lsn_text(found[0].lsn)} in WAL {found[0].segment}"


def _to_lsn(
    request: Request,
    what: str,
    lsn: int,
    note: str,
    catalogue: Catalogue,
    history: wal.History,
    situation: Situation,
) -> Target:
    last = catalogue.last_segment(history)
    assert last is not None
    end = (last[1] + 1) * wal.SEGMENT_SIZE
    if situation.position is not None and history.timeline == situation.timeline:
        end = situation.position
    if lsn >= end:
        raise BadValue(f"{what} is after the last archived position {wal.lsn_text(end)}", _window(catalogue, history))
    backup = _chosen_set(request, catalogue, history, what, lambda backup: backup.stop_lsn <= lsn)
    segments = _needed_wal(catalogue, history, backup, min(last[1], wal.number_of(lsn)))
    notes = (note,) if note else ()
    return Target("lsn", wal.lsn_text(lsn), backup, history, segments, notes)


def is_reached(target: Target, lsn: int, last_transaction: datetime | None) -> str:
    """Why the point where recovery stopped is not the one that was asked for; nothing when it is."""
    if lsn < target.backup.stop_lsn:
        return f"it stopped at {wal.lsn_text(lsn)}, before the backup is consistent"
    if target.kind == "lsn" and lsn <= wal.parse_lsn(target.value):
        return f"it stopped at {wal.lsn_text(lsn)}, before {target.value}"
    if target.kind == "time" and last_transaction and last_transaction > datetime.fromisoformat(target.value):
        return f"it went on to {text_of(last_transaction)}"
    return ""
