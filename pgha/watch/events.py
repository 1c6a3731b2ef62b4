"""What changed between two status documents. Pure: the same two documents give the same events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgha.model.words import counted, json_time, time_of

Document = Mapping[str, Any]
"""What `inv status --json` prints, be it an error."""

PARTS = ("role", "state", "timeline")
"""What is told of a member when it changes; its lag changes all the time."""


@dataclass(frozen=True)
class Event:
    """One change."""

    at: float
    """seconds since 1970"""
    kind: str
    """begin, leader, member, problem, over, unseen, writes_stop or writes_again"""
    host: str
    """whom it is about; nothing when it is about the whole"""
    before: Any
    after: Any
    sentence: str

    def as_document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "at": json_time(time_of(round(self.at, 3))), "host": self.host or None}


def changes(before: Document | None, after: Document, at: float) -> list[Event]:
    """What an operator should hear of; `before` is None when nothing was seen yet."""
    if "error" in after:
        if before is not None and before.get("error") == after["error"]:
            return []
        return [Event(at, "unseen", "", None, after["error"], after["message"].splitlines()[0])]
    if before is None or "error" in before:
        leads = f"{after['leader']} leads" if after["leader"] else "nobody leads"
        sentence = f"{after['project']}: {leads}, {counted(len(after['members']), 'member')}"
        sentence += "" if after["problems"] else ", healthy"
        begin = Event(at, "begin", "", None, after["leader"], sentence)
        return [begin, *_problems({}, after, at)]
    return [*_leader(before, after, at), *_members(before, after, at), *_problems(before, after, at)]


def _leader(before: Document, after: Document, at: float) -> Iterator[Event]:
    old, new = before["leader"], after["leader"]
    if old != new:
        yield Event(at, "leader", new or "", old, new, f"leader: {old or '(none)'} -> {new or '(none)'}")


def _members(before: Document, after: Document, at: float) -> Iterator[Event]:
    old, new = ({member["name"]: member for member in document["members"]} for document in (before, after))
    for name in [*new, *(name for name in old if name not in new)]:
        was, now = _parts(old.get(name)), _parts(new.get(name))
        if was == now:
            continue
        if was is None or now is None:
            yield Event(at, "member", name, was, now, f"{name} is {'a member now' if now else 'no member any more'}")
            continue
        words = [
            _change(part, was[part], now[part]) for part in PARTS
            if was[part] != now[part] and (part != "timeline" or now[part] is not None)
        ]  # fmt: skip
        if words:
            yield Event(at, "member", name, was, now, f"{name}: {', '.join(words)}")


def _parts(member: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {part: member[part] for part in PARTS} if member else None


def _change(part: str, was: Any, now: Any) -> str:
    if part == "timeline":
        return f"timeline {was} -> {now}" if was is not None else f"timeline {now}"
    return f"{was or '(none)'} -> {now or '(none)'}"


def _problems(before: Document, after: Document, at: float) -> Iterator[Event]:
    old, new = _by_kind(before.get("problems", ())), _by_kind(after["problems"])
    for key, sentences in new.items():
        for sentence in _others(sentences, old.get(key, [])):
            yield Event(at, "problem", key[1], None, key[0], sentence)
    for key, sentences in old.items():
        # One that is told in other words now is not over.
        left = new.get(key, [])
        for sentence in _others(sentences, left)[: max(0, len(sentences) - len(left))]:
            yield Event(at, "over", key[1], key[0], None, f"over: {sentence}")


def _by_kind(problems: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        found.setdefault((str(problem["kind"]), problem["host"] or ""), []).append(problem["sentence"])
    return found


def _others(sentences: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those whose words are not among the known ones'. Numbers change while a problem stays as it is."""
    words = [_words(sentence) for sentence in known]
    found = []
    for sentence in sentences:
        if _words(sentence) in words:
            words.remove(_words(sentence))
        else:
            found.append(sentence)
    return found


def _words(sentence: str) -> str:
    return re.sub(r"\b\d\S*", "", sentence)
