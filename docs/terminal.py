"""Types a few commands into a shell and draws docs/images/terminal.svg: each line appears when it was printed. The
report of the drill among them becomes docs/images/drill.png, where Chromium is installed.

    python docs/terminal.py

On a host where the images are built; with a project of its own, such as INVOKE_PGHA_PROJECT=tour, which is shown as
`pgha`. It leaves none behind. Takes two minutes.
"""

import io
import itertools
import re
import shutil
import subprocess
import time
from dataclasses import dataclass

from record import DOCS, PROJECT, environment, shown, typed
from rich.console import Console
from rich.text import Text

PICTURE = DOCS / "images" / "terminal.svg"
REPORT = DOCS / "images" / "drill.png"
SHAPE = "inv render -d 3 -p 1"
COMMANDS = ("inv up", "inv drill --name site-killed", "inv status")
WIDTH = 112
PAUSE = 2.0
"""The longest silence between two lines, in seconds. What really passed is in the lines."""


@dataclass(frozen=True)
class Line:
    text: str
    at: float
    """seconds"""
    typed: bool = False


def record(command: str) -> list[Line]:
    """What a command prints, and when. Raises CalledProcessError when it fails."""
    lines = [Line(command, time.monotonic(), typed=True)]
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=DOCS.parent, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(Line(shown(line).rstrip(), time.monotonic()))
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return lines


def hastened(lines: list[Line]) -> list[float]:
    """When each line appears, in seconds, with no silence longer than PAUSE."""
    times = [0.5]
    for before, line in itertools.pairwise(lines):
        silence = PAUSE if line.typed else min(line.at - before.at, PAUSE)
        times.append(times[-1] + silence)
    return times


def draw(lines: list[Line]) -> str:
    """The SVG. Where nothing may move all lines are there from the beginning."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    for line in lines:
        text = Text.assemble(("$ ", "green"), (line.text, "bold")) if line.typed else Text(line.text)
        console.print(text, no_wrap=True, crop=True, overflow="ignore")
    svg = console.export_svg(title="pgha")
    appear = "".join(
        f'text[clip-path$="-line-{number})"]{{animation-delay:{at:.2f}s}}' for number, at in enumerate(hastened(lines))
    )
    style = (
        "@media (prefers-reduced-motion: no-preference){@keyframes appear{from{opacity:0}to{opacity:1}}"
        'text[clip-path*="-line-"]{animation:appear 1ms both}' + appear + "}"
    )
    # Fonts of the machine that shows it: nothing is fetched.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("</style>", style + "</style>", 1)


def photograph() -> None:
    """The top of the newest drill's report."""
    report = max((DOCS.parent / "build" / PROJECT / "drills").glob("*/report.html"))
    if chromium := shutil.which("chromium"):
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1120")
        subprocess.run([chromium, *flags, f"--screenshot={REPORT}", report.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Record the commands on a new cluster, and draw them."""
    typed("inv destroy --yes", environment())
    try:
        typed(SHAPE, environment())
        lines = [line for command in COMMANDS for line in record(command)]
        photograph()
    finally:
        typed("inv destroy --yes", environment())
    PICTURE.write_text(draw(lines))


if __name__ == "__main__":
    main()
