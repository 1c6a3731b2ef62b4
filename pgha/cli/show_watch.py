"""What `inv watch` shows: a picture that is drawn again on a terminal, or a line a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from pgha.cli.words import lags_text
from pgha.model.words import counted, time_of, time_text
from pgha.watch.events import Event
from pgha.watch.stream import Snapshot
from pgha.watch.writes import SECONDS, Writes, sparkline

ROLES = {"leader": "bold green", "sync_standby": "cyan", "quorum_standby": "cyan"}

WELL = ("running", "streaming")

KINDS = {"problem": "red", "unseen": "red", "writes_stop": "red", "leader": "bold", "over": "green"}


def event_line(event: Event, date: bool = True) -> str:
    """A change with its time; without the date for a terminal, whose width it would take."""
    mark = "! " if event.kind == "problem" else ""
    when = time_text(time_of(int(event.at)))
    return f"{when if date else when.split()[1]} {mark}{event.sentence}"


def picture(snapshot: Snapshot, url: str, width: int, height: int) -> Group:
    """Everything, in so many columns and lines; what has no room is left out, the oldest events first."""
    above = list(_above(snapshot, url, width))
    below = list(_events(snapshot.recent, height - len(above) - 1))
    lines = [*above, *([Text("")] if below else []), *below][:height]
    for line in lines:
        line.truncate(max(1, width), overflow="ellipsis")
        line.no_wrap = True
    return Group(*lines)


def _above(snapshot: Snapshot, url: str, width: int) -> Iterator[Text]:
    document = snapshot.document
    yield _title(snapshot, url)
    if "error" in document:
        yield Text(document["message"].splitlines()[0], style="red")
        if document["hint"]:
            yield Text(f"HINT: {document['hint']}")
    else:
        yield from _members(document["members"], width)
        yield _etcd(document["etcd"])
    if snapshot.writes:
        yield _writes(snapshot.writes, width)
    for problem in document.get("problems", ()):
        yield Text(f"! {problem['sentence']}", style="red")


def _title(snapshot: Snapshot, url: str) -> Text:
    document = snapshot.document
    title = Text()
    if "error" not in document:
        title.append(document["project"], style="bold")
        leader = document["leader"]
        title.append(f"  {leader} leads" if leader else "  no leader", style="" if leader else "bold red")
        problems = len(document["problems"])
        title.append(
            f"  {counted(problems, 'problem')}" if problems else "  healthy", style="red" if problems else "green"
        )
        title.append("  paused" if document["paused"] else "", style="yellow")
        title.append("  ")
    title.append(time_text(time_of(int(snapshot.at))), style="dim")
    title.append(f"  {url}" if url else "", style="dim")
    return title


def _members(members: Sequence[Mapping[str, Any]], width: int) -> Iterator[Text]:
    """A site's name stands at its first member; the last columns go where the terminal is narrow."""
    columns = ("Data center", "Member", "Role", "State", "TL", "Lag")
    rows, site = [], None
    for m in members:
        lag = lags_text(m["lag_bytes"], m["replay_lag_bytes"])
        shown = "" if m["data_center"] == site else m["data_center"]
        rows.append((shown, m["name"], m["role"], m["state"], str(m["timeline"] or ""), lag))
        site = m["data_center"]
    sizes = [max(len(str(row[place])) for row in (columns, *rows)) for place in range(len(columns))]
    fit = [place for place in range(len(columns)) if sum(sizes[: place + 1]) + 2 * place <= width]
    kept = fit if len(fit) >= 4 else [1, 2, 3]
    yield Text("  ".join(columns[place].ljust(sizes[place]) for place in kept), style="bold")
    for row in rows:
        styles = ("", "bold" if row[2] == "leader" else "", ROLES.get(row[2], ""), _style(row[3]), "", "")
        yield Text("  ").join(Text(row[place].ljust(sizes[place]), style=styles[place]) for place in kept)


def _style(state: str) -> str:
    return "green" if state in WELL else "red" if state else ""


def _etcd(view: Mapping[str, Any]) -> Text:
    if "error" in view:
        return Text("etcd: unknown", style="red")
    if view["has_quorum"]:
        more = f"{view['may_fail']} more may fail"
    else:
        more = f"ALARM {view['alarm']}" if view["alarm"] else "QUORUM LOST"
    text = f"etcd: {view['healthy']} of {view['members']} healthy, quorum {view['quorum']}, {more}"
    return Text(text, style="" if view["healthy"] == view["members"] else "yellow" if view["has_quorum"] else "red")


def _writes(writes: Writes, width: int) -> Text:
    """The last minute, as much of it as there is room for."""
    last = writes.per_second[-1]
    words = f" {last or 0}/s, longest gap {writes.longest_gap:.1f} s"
    line = Text("writes: ")
    line.append(sparkline(writes.per_second[-max(1, min(SECONDS, width - len(words) - 8)) :]), style="cyan")
    line.append(words if not writes.stopped_for else f" none for {writes.stopped_for:.0f} s",
                style="bold red" if writes.stopped_for else "")  # fmt: skip
    return line


def _events(events: Iterable[Event], room: int) -> Iterator[Text]:
    """The last ones, the newest first."""
    for event in list(events)[: -max(0, room) - 1 : -1] if room > 0 else ():
        yield Text(event_line(event, date=False), style=KINDS.get(event.kind, ""))
