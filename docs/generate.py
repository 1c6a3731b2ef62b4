"""What is in these pages of the code's own: `python docs/generate.py` writes it anew, a fast test compares.

Each part stands between `<!-- name -->` and `<!-- end -->`.
"""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from pgha.errors import PghaError, kind_of  # noqa: E402
from pgha.model.settings import FIELDS  # noqa: E402


def settings() -> str:
    """A row for each setting: its key, its default, what it is."""
    rows = [f"| `{name}` | {_default(field.default)} | {field.metadata['help']} |" for name, field in FIELDS.items()]
    return "\n".join(["| key | default | what it is |", "|---|---|---|", *rows])


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    if value == "":
        return "empty"
    return f"`{value}`" if isinstance(value, (str, int, float)) else "none"


def exit_codes() -> str:
    """A row for each error with a code of its own, and those under it: its kind, and when it is raised."""
    rows = ["| code | kind | when |", "|---|---|---|"]
    for branch in PghaError.__subclasses__():
        for error in (branch, *branch.__subclasses__()):
            code = str(error.exit_code) if error is branch else ""
            when = re.sub(r"\s+", " ", error.__doc__ or "").strip().rstrip(".")
            rows.append(f"| {code} | `{kind_of(error)}` | {when} |")
    return "\n".join(rows)


PARTS = {"settings": settings, "exit codes": exit_codes}


def rewritten(page: str) -> str:
    """The text of a page with its parts as the code has them."""

    def part(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{PARTS[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- (" + "|".join(PARTS) + r") -->\n.*?<!-- end -->", part, page, flags=re.DOTALL)


def main() -> None:
    """Write every page whose parts are others."""
    for path in DOCS.rglob("*.md"):
        page = path.read_text()
        if (made := rewritten(page)) != page:
            path.write_text(made)
            print(f"{path.relative_to(DOCS.parent)} is written anew")


if __name__ == "__main__":
    main()
