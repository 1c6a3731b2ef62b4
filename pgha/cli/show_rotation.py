"""Reports on rotations."""

from __future__ import annotations

from pgha import console
from pgha.errors import BadValue
from pgha.project.passwords import GIVEN
from pgha.project.project import Project
from pgha.stack.rotation import Rotated


def require_kind(what: str) -> None:
    """Raises BadValue for what cannot be rotated."""
    if what != "passwords":
        sentence = f"--what {what}: there is nothing of that name to rotate" if what else "rotate needs --what"
        raise BadValue(sentence, "inv rotate --what passwords; keys and certificates: inv keys --rotate, then inv up")


def show_rotated(project: Project, rotated: Rotated, json: bool) -> None:
    """What `rotate` did."""
    if json:
        console.print_json({
            "what": "passwords",
            "rotated": list(rotated.done),
            "given_by_settings": list(rotated.given),
            "resumed": rotated.resumed,
            "hosts": list(rotated.hosts),
            "seconds": round(rotated.seconds, 1),
        })  # fmt: skip
        return
    if not rotated.done:
        console.show("nothing to do: the settings name every password, and those hold")
    else:
        console.show(f"other passwords: {', '.join(rotated.done)}; on {', '.join(rotated.hosts)}")
        console.show(f"done in {rotated.seconds:.1f} s; {project.relative(project.pgpass)} has the new one")
    if rotated.given:
        names = ", ".join(GIVEN[name] for name in rotated.given)
        console.show(f"as the settings say: {names}; set another one there and rotate again")
