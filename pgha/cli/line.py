"""The words of a line: what stands without its flag, and what means nothing.

`inv failover pg1-node1` is `inv failover --candidate pg1-node1`. Invoke knows positional arguments, but none that may
be left out: each would take the next task's name for its value.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgha.drills.scenarios import SCENARIOS
from pgha.stack.rotatable import KINDS

LOOKS = (
    (r"etcd\d+", ("etcd", "node")),
    (r"[a-z][a-z0-9-]*\d-node\d+|pgbackrest", ("candidate", "node")),
    (r"dc\d+|witness", ("dc",)),
    (r"\d{4}-\d\d-\d\d.*", ("time",)),
    (r"full|diff|incr", ("type",)),
    (r"\\.+|.*[\s;].*", ("command",)),
)
"""How a value looks -> the flags it can be meant for, the likelier one first. Nothing else is taken for a value: a task
that is mistyped must not become one."""

FIXED = {
    "rotate": ("what", KINDS),
    "drill.run": ("name", tuple(scenario.name for scenario in SCENARIOS)),
}
"""Task -> a flag, and the words that are its values even where they are a task's name as well, as `keys` is."""

NAMED = {
    "database": (r"[a-z_][a-z0-9_]*", "name"),
    "restore-point": (r"[A-Za-z_][A-Za-z0-9_]*", "name"),
    "upgrade": (r"\d+", "major"),
}
"""Task -> how the operator's own names look there, and the flag they are meant for. What is close to a task's name is
a task that is mistyped."""


@dataclass(frozen=True)
class Understood:
    """A line with the flags that were left out."""

    words: list[str]
    stranger: str = ""
    """the first word that is no task, no flag and no value"""
    task: str = ""
    """whose word that would be; nothing before the first task"""
    may_follow: tuple[str, ...] = ()
    """the flags that a word after the last one can be the value of"""


def understand(words: Sequence[str], contexts: Mapping[str, Any], core: Any) -> Understood:
    """Put the flags in. `contexts` are Invoke's, by task; `core` has the flags that are no task's."""
    made: list[str] = []
    strangers: list[tuple[str, str]] = []
    context, given, waiting = core, set[str](), None
    for word in words:
        if waiting:
            waiting = None
        elif word.startswith("-"):
            flag = _flag(word, context) or _flag(word, core)
            if flag:
                given.add(flag.name)
                waiting = flag if flag.takes_value and not flag.optional else None
            elif word.startswith("--") and not _flag(word.partition("=")[0], context):
                strangers.append((word, context.name or ""))
        elif word in contexts and not _fixed(word, context, given):
            context, given = contexts[word], set()
        elif (
            name := _fixed(word, context, given)
            or _meant(word, context, given)
            or _named(word, context, given, contexts)
        ):
            made.append(f"--{name}")
            given.add(name)
        else:
            strangers.append((word, context.name or ""))
        made.append(word)
    stranger, task = strangers[0] if strangers else ("", "")
    bare = [] if words and words[-1].startswith("-") else [name for name in _values(context) if name not in given]
    return Understood(made, stranger, task, (waiting.name,) if waiting else tuple(bare))


def _flag(word: str, context: Any) -> Any:
    # Short flags are aliases there, which `get` does not know.
    return context.flags[word] if word in context.flags else None  # noqa: SIM401


def _meant(word: str, context: Any, given: set[str]) -> str:
    """The flag a bare word is the value of; nothing when it looks like none of this task, or was given already."""
    names = next((names for looks, names in LOOKS if re.fullmatch(looks, word, re.DOTALL)), ())
    return next((name for name in names if name in _values(context) and name not in given), "")


def _fixed(word: str, context: Any, given: set[str]) -> str:
    name, values = FIXED.get(context.name, ("", ()))
    return name if word in values and name not in given else ""


def _named(word: str, context: Any, given: set[str], contexts: Mapping[str, Any]) -> str:
    looks, name = NAMED.get(context.name, ("", ""))
    if not name or name in given or not re.fullmatch(looks, word):
        return ""
    return "" if difflib.get_close_matches(word, list(contexts), 1) else name


def _values(context: Any) -> list[str]:
    """The names of a task's flags that take a value, in the order of its parameters."""
    return [argument.name for argument in context.args.values() if argument.takes_value] if context.name else []


def correct(
    words: Sequence[str], understood: Understood, contexts: Mapping[str, Any], error: Exception
) -> tuple[str, str]:
    """A sentence on a line that means nothing, and the line that was probably meant."""
    stranger, task = understood.stranger, understood.task
    if not stranger:
        lacks = re.search(r"<Argument: (\S+)", str(error))
        hint = f"inv --help {getattr(getattr(error, 'context', None), 'name', None) or '<task>'}"
        return f"--{lacks[1]} needs a value" if lacks else str(error), hint
    if stranger.startswith("-"):
        names = [flag[2:] for flag in contexts[task].flags if flag.startswith("--")] if task else []
        near = difflib.get_close_matches(stranger[2:], names, 1)
        hint = _instead(words, stranger, f"--{near[0]}") if near else f"inv --help {task}".rstrip()
        return f"{task or 'inv'} has no flag {stranger}", hint
    near = difflib.get_close_matches(stranger, list(contexts), 1)
    takes = _values(contexts[task]) if task else []
    if near:
        hint = _instead(words, stranger, near[0])
    elif takes:
        hint = f"inv {task} --{takes[0].replace('_', '-')} {shlex.quote(stranger)}, or inv --list"
    else:
        hint = "inv --list"
    return f"There is no task {stranger}", hint


def _instead(words: Sequence[str], wrong: str, right: str) -> str:
    """The whole line, with the word as it should be."""
    place = list(words).index(wrong)
    return f"inv {shlex.join([*words[:place], right, *words[place + 1 :]])}"
