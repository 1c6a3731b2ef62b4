"""The runbooks of docs/runbooks/: what their reader types, and what the text says is printed then."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_blocks import blocks

FOLDER = Path(__file__).parents[1] / "docs" / "runbooks"
INDEX = FOLDER / "README.md"


@dataclass(frozen=True)
class Step:
    """One command, and the lines that are shown below it; nothing when none are."""

    command: str
    shown: tuple[str, ...]

    @property
    def looks(self):
        """`inv status`: what it tells may come a moment later."""
        return self.command == "inv status"

    @property
    def is_refused(self):
        return any(line.startswith("ERROR: ") for line in self.shown)


def runbooks():
    """Name -> file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.md")) if path != INDEX}


def steps(text):
    """The commands of the `sh` and `console` blocks, in order.

    An `sh` block is one script. In a `console` block a command follows a `$ `, goes on after a `> `, and all else is
    what it prints; there the line `...` stands for any lines, and `...` within one for any words.
    """
    found = []
    for info, content in blocks(text):
        if info == "sh":
            found.append(Step(content.strip(), ()))
        elif info == "console":
            found += console_steps(content)
    return found


def console_steps(content):
    found = []
    for line in content.rstrip().splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0] += "\n" + line[2:]
        else:
            found[-1][1].append(line)
    return [Step(command, tuple(shown)) for command, shown in found]


SAME = (
    (r"(INVOKE_PGHA_\w+=\S+ )+(?=inv )", ""),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?", "<time>"),
    (r"\b\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?\b", "<label>"),
    (r"\b[0-9A-F]{24}(\.[0-9A-F]{8}\.backup)?\b", "<segment>"),
    (r"\b[0-9A-F]+/[0-9A-F]+\b", "<lsn>"),
    (r"\b\d{5,}\b", "<number>"),
    (r"\b\d+(\.\d+)?(?= ?(s|B|kB|MB|GB|segments?|files)\b)", "<number>"),
    (r"\b\d+\.\d+\b", "<number>"),
    (r"(?<=timeline )\d+|(?<=[│|] )\d+(?= +[│|])", "<number>"),
    (r"[━─]+", "-"),
    (r"[ \t]+", " "),
)
"""What differs from one cluster to the next: times, sizes, labels, positions, ports, identifiers, timelines, and how
wide a table is. Names of hosts and numbers of members have to be right."""


def plain(text):
    for pattern, word in SAME:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.splitlines()]


def agrees(shown, printed):
    """Whether the lines that a text shows are what was printed; none are shown where it does not matter."""
    if not shown:
        return True
    lines = ["(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
             for line in plain("\n".join(shown))]  # fmt: skip
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in plain(printed))) is not None
