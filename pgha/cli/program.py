"""`inv` as people type it: what it lists, a name without its flag, a word that is none, and what Tab offers."""

from __future__ import annotations

import re
import shlex
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import invoke
from invoke import main
from invoke.exceptions import Exit, ParseError
from invoke.util import helpline

from pgha import console
from pgha.cli import executor, line
from pgha.errors import BadValue, PghaError
from pgha.model.topology import Host, Site

HEADING = re.compile(r"# (.+?) -{10,}")
"""A theme in tasks.py, and in the list."""


class Program(invoke.Program):  # type: ignore[misc]
    """Invoke's own, where it leaves a newcomer alone."""

    _made: Any = None

    def _make_parser(self) -> Any:
        """Once: it takes each flag's help out of its task, and a second one would have none."""
        if self._made is None:
            self._made = super()._make_parser()
        return self._made

    def no_tasks_given(self) -> None:
        self.list_tasks()
        raise Exit

    def list_flat(self) -> None:
        """By themes, in the order of tasks.py; what was asked for in part is listed as Invoke does."""
        if self.list_root or self.list_depth:
            super().list_flat()
            return
        listed: dict[str, list[tuple[str, str]]] = {}
        for theme, name, help in listing(self.collection):
            listed.setdefault(theme, []).append((name, help))
        width = max(len(name) for tasks in listed.values() for name, _ in tasks)
        for theme, tasks in listed.items():
            print(theme)
            self.print_columns([(name.ljust(width), help) for name, help in tasks])
        print("inv --help <task> shows its flags and an example; tasks chain in one line: inv build up")

    def parse_tasks(self) -> None:
        words, contexts = list(self.core.unparsed), self._make_parser().contexts
        understood = line.understand(words, contexts, self.initial_context)
        self.core.unparsed = understood.words
        with self._answering(words, understood, contexts):
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        if self.args.complete.value:
            for name in self._hosts():
                print(name)
        asked = self.args.help.value
        words = ["--help", asked] if isinstance(asked, str) else []
        with self._answering(words, line.Understood(words, asked or ""), self.parser.contexts):
            super().parse_cleanup()

    @contextmanager
    def _answering(self, words: list[str], understood: line.Understood, contexts: Any) -> Iterator[None]:
        try:
            yield
        except ParseError as error:
            console.speak_of(executor.line_begins(self.core))
            console.error(*line.correct(words, understood, contexts, error))
            raise Exit(code=BadValue.exit_code) from None

    def _hosts(self) -> list[str]:
        """Hosts and sites that can stand where Tab was pressed; none while the settings cannot be read."""
        words = shlex.split(self.core.remainder)[1:]
        understood = line.understand(words, self._make_parser().contexts, self.initial_context)
        executor.take_environment()
        try:
            topology = executor.project_of(invoke.Context(self.config)).topology
        except PghaError:
            return []
        names: dict[str, tuple[Host | Site, ...]] = {
            "candidate": topology.nodes, "etcd": topology.etcd, "node": topology.hosts,
            "dc": tuple({host.site.name: host.site for host in topology.hosts}.values()),
        }  # fmt: skip
        return [place.name for flag in understood.may_follow for place in names.get(flag, ())]


def listing(collection: Any) -> Iterator[tuple[str, str, str]]:
    """Theme, name and sentence of every task: those of tasks.py under its headings, then those of each `name.`."""
    tasks = [(name.rpartition(".")[0], collection[name], name) for name in collection.task_names]
    tasks.sort(key=lambda entry: (entry[0], entry[1].body.__code__.co_firstlineno))
    root = next(task for group, task, _ in tasks if not group)
    lines = Path(root.body.__code__.co_filename).read_text().splitlines()
    themes = [(number, found[1]) for number, line in enumerate(lines, 1) if (found := HEADING.match(line))]
    for group, task, name in tasks:
        if group:
            theme = str(collection.collections[group].__doc__).partition(": ")[2].splitlines()[0].rstrip(".")
            theme = theme[0].upper() + theme[1:]
        else:
            theme = themes[bisect(themes, (task.body.__code__.co_firstlineno, "")) - 1][1]
        aliases = collection.task_names[name]
        yield theme, aliases[0] if aliases else name, helpline(task)


def install() -> None:
    """Let the `inv` that runs be this program: Invoke's configuration names an executor, but no program."""
    main.program.__class__ = Program
