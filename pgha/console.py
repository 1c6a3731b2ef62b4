"""What an operator sees. stdout carries the result; progress, hints and questions go to stderr."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pgha.errors import BadValue

_inv = "inv"
"""How a command that is named to the operator begins."""


def speak_of(inv: str) -> None:
    """From now on commands begin so: they must lead to this project, not to another."""
    global _inv
    _inv = inv


def addressed(text: str) -> str:
    """A text whose commands lead to the project it speaks of."""
    return re.sub(r"\binv (?=[a-z-])", lambda _: f"{_inv} ", text)


def out() -> Console:
    """The console for results. A new one each time: the tests and Invoke exchange sys.stdout."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Exactly one JSON document."""
    print_text(json.dumps(document, indent=2, ensure_ascii=False))


def print_yaml(document: Any) -> None:
    print_text(yaml.safe_dump(document))


def print_text(text: str) -> None:
    """As it is. At once: what stderr says afterwards comes after it, also in a pipe."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table; cells are text as it is, never markup."""
    made = Table(title=title or None, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    return made


WIDTH = 120
"""Of what is printed into a pipe or a file, which have none of their own."""


def show(*parts: Any) -> None:
    """Print results, tables or text."""
    console = out()
    for part in parts:
        if isinstance(part, str):
            console.print(addressed(part), markup=False)
            continue
        if not console.is_terminal:
            _keep_words(console, part)
        console.print(part)


def _keep_words(console: Console, table: Table) -> None:
    """Give the columns their widths: cells are folded between words only, a name in two parts would be hidden."""
    texts = [[str(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    widths = [max(len(line) for text in cells for line in (text.splitlines() or [""])) for cells in texts]
    least = [max(len(word) for text in cells for word in (text.split() or [""])) for cells in texts]
    borders = 3 * len(widths) + 1
    while sum(widths) + borders > WIDTH and widths != least:
        widths[max((n for n, width in enumerate(widths) if width > least[n]), key=widths.__getitem__)] -= 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    console.width = max(WIDTH, sum(widths) + borders)


def prose(text: str) -> list[str]:
    """A long sentence in lines; none that has a command to copy."""
    return textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)


def error(message: str, next_command: str = "") -> None:
    sys.stderr.write(f"ERROR: {message}\n")
    if next_command:
        hint(next_command)
    sys.stderr.flush()


def hint(text: str) -> None:
    """The next command."""
    sys.stderr.write(f"HINT: {addressed(text)}\n")


def confirm(question: str, yes: bool) -> None:
    """Ask before data is destroyed.

    Raises BadValue when the answer is no, or when nobody can be asked.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise BadValue(f"{question} Nobody can be asked here", "add --yes")
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadValue("Refused: nothing was changed")


@dataclass
class Step:
    """One step of long work; who does the work may tell another ending."""

    ending: str = "done"


class Progress:
    """Says what long work does: a live line on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = err()
        self._status: Any = None
        self._title = ""

    @contextmanager
    def stage(self, title: str) -> Iterator[Step]:
        """One step of the work, shown with its seconds and its ending when it is over."""
        started = time.monotonic()
        step = Step()
        outer = self._status, self._title
        self._title = title
        if self._console.is_terminal:
            with self._console.status(escape(title)) as self._status:
                try:
                    yield step
                finally:
                    # A stage within a stage: the outer one's line goes on.
                    self._status, self._title = outer
        else:
            self._plain(f"{title} ...")
            yield step
        self._plain(f"{title}: {step.ending} in {time.monotonic() - started:.1f} s")

    def detail(self, text: str) -> None:
        """What happens right now; on a terminal only, it would flood a log."""
        if self._status is not None and text.strip():
            width = max(20, self._console.width - len(self._title) - 8)
            self._status.update(f"{escape(self._title)} [dim]{escape(text.strip()[:width])}[/dim]")

    def note(self, text: str) -> None:
        """Something to know that is not the result."""
        self._plain(text)

    def _plain(self, text: str) -> None:
        self._console.print(addressed(text), markup=False)
