"""Types the commands of docs/tour.md into a shell, one after another, and writes what is printed below each.

    python docs/record.py

On a host where the images are built; with a project of its own, such as INVOKE_PGHA_PROJECT=tour, which is shown as
`pgha` (as many letters, for the sake of the tables). It leaves none behind. Takes five minutes.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
TOUR = DOCS / "tour.md"
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
INV = Path(sys.executable).with_name("inv")
PROJECT = os.environ.get("INVOKE_PGHA_PROJECT", "pgha")


def commands(block: str) -> list[str]:
    """What is typed in a block; all else there was printed."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def typed(command: str, environment: dict[str, str] | None = None, folder: Path = DOCS.parent) -> str:
    """What is printed, stdout and stderr in their order. Raises CalledProcessError when it fails."""
    print(f"$ {command}", flush=True)
    answer = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    print(answer.stdout, flush=True)
    answer.check_returncode()
    return answer.stdout


def environment() -> dict[str, str]:
    """In which `inv` is found."""
    return {**os.environ, "PATH": f"{INV.parent}:{os.environ['PATH']}"}


def shown(printed: str) -> str:
    """What was printed, as a reader sees it: with the default project, in a checkout of his own."""
    printed = printed.replace(f"{DOCS.parent}/", "/srv/pgha/")
    printed = re.sub(rf"INVOKE_PGHA_PROJECT={PROJECT} (?=inv )", "", printed)
    return re.sub(r"(?m)[ \t]+$", "", re.sub(rf"\b{PROJECT}(?=\b|_)", "pgha", printed))


def main() -> None:
    """Follow the tour from nothing, and write it anew."""

    def recorded(block: re.Match[str]) -> str:
        return shown("".join(f"$ {command}\n{typed(command, environment())}" for command in commands(block[1])))

    typed("inv destroy --yes", environment())
    try:
        made = BLOCK.sub(recorded, TOUR.read_text())
    finally:
        typed("inv destroy --yes", environment())
    TOUR.write_text(made)


if __name__ == "__main__":
    main()
