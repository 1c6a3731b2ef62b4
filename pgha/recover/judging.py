"""Who leads of those that are left, and what only the lost ones may have had. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pgha.model.words import size_text, time_of, time_text
from pgha.tools.etcd_alone import Known
from pgha.tools.position import Position
from pgha.tools.repository import Archive
from pgha.tools.wal import SEGMENT_SIZE, lsn_text, name_some, segment_name


@dataclass(frozen=True)
class Survivor:
    """A Postgres that is left."""

    name: str
    site: str
    position: Position

    def document(self) -> dict[str, Any]:
        """For programs and for the record."""
        position = self.position
        return {
            "name": self.name,
            "site": self.site,
            "timeline": position.timeline,
            "received": lsn_text(position.received) if position.received else None,
            "replayed": lsn_text(position.replayed),
            "last_commit": position.committed,
            "leads": not position.in_recovery,
        }


@dataclass(frozen=True)
class Archived:
    """What the archive has that the survivor has not."""

    beyond: tuple[str, ...] = ()
    """segments, the oldest first"""
    timeline: int = 0
    """the newest one of the archive"""
    words: str = ""
    """why it is not known"""

    def document(self) -> dict[str, Any]:
        """For programs and for the record."""
        return {"beyond": list(self.beyond), "timeline": self.timeline or None, "unknown": self.words or None}


def choose(survivors: Sequence[Survivor], known: Known) -> Survivor:
    """The one on the newest timeline that has the most WAL; among equals the one that led, then the first."""
    return max(survivors, key=lambda survivor: (survivor.position.furthest, survivor.name == known.led))


def archived_beyond(archive: Archive, chosen: Survivor) -> Archived:
    """Segments of the survivor's timeline, and of newer ones, that end beyond what it has."""
    timeline, at = chosen.position.furthest
    names = [
        segment_name(newer, number)
        for newer in sorted(archive.segments)
        for number in sorted(archive.segments[newer])
        if newer > timeline or (newer == timeline and (number + 1) * SEGMENT_SIZE > at)
    ]
    return Archived(tuple(names), archive.newest_timeline)


def what_may_be_lost(
    chosen: Survivor, known: Known, archived: Archived, gone: Collection[str], member: str
) -> tuple[bool, str]:
    """Whether every acknowledged commit is on the survivor for certain, and a sentence that says why or what is not.

    `member` is the etcd member whose data this is known from. A cut that was older than the loss can have kept the
    last of it from there: a newer timeline in the archive shows that.
    """
    at, until = describe(chosen), f"as far as {member} has heard"
    newer = archived.timeline > chosen.position.timeline
    lost = [name for name in known.standbys if name in gone]
    if not newer and known.led == chosen.name:
        return True, f"nothing that was acknowledged, {until}: {chosen.name} led itself, and has all of it, up to {at}"
    if not newer and known.waits_for > len(lost) and chosen.name in known.standbys:
        return True, (
            f"nothing that was acknowledged, {until}: a commit waited for {known.waits_for} of "
            f"{', '.join(known.standbys)}, of which {len(lost)} are lost; {chosen.name} is the furthest, at {at}"
        )
    had = " and ".join(name for name in (known.led, *known.standbys) if name in gone) or "the lost ones"
    what = f"what was committed after {at} and only {had} had"
    if newer:
        what += f"; somebody led on timeline {archived.timeline} after that"
    ahead = known.written - chosen.position.furthest[1]
    if ahead > 0:
        what += f"; the leader had written {size_text(ahead)} more when {member} heard of it last"
    return False, f"{what}. How much that is nobody who is left can tell"


def describe(survivor: Survivor) -> str:
    """How far a survivor is, in LSN and time."""
    timeline, at = survivor.position.furthest
    when = survivor.position.committed
    committed = f", last commit {time_text(time_of(when))}" if when is not None else ""
    return f"{lsn_text(at)} (timeline {timeline}{committed})"


def describe_archived(archived: Archived) -> str:
    """What the archive has beyond the survivor, in words."""
    if archived.words:
        return archived.words
    if not archived.beyond:
        return "has nothing that the survivor has not"
    return f"has {name_some(archived.beyond)} beyond it: fetched before it leads"
