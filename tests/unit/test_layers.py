"""The house: which room may import which, and how large its pieces may be."""

import ast

import pytest

from pgha import ROOT

FLOORS = (
    "errors waiting documents console", "model", "project tools monitoring", "remote", "cluster", "failures", "stack",
    "backup", "recover upgrade", "status", "drills", "watch", "cli",
)  # fmt: skip
"""From the ground up; `project`, `tools` and `monitoring` stand side by side, `recover` and `upgrade`, too."""

FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}
MODULES = sorted((ROOT / "pgha").rglob("*.py"))


def parsed(path):
    return ast.parse(path.read_text())


def room_of(path):
    return path.relative_to(ROOT / "pgha").with_suffix("").parts[0]


def imports(tree):
    """Every module that is imported, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "pgha":
            yield from (f"pgha.{alias.name}" for alias in node.names if alias.name != "ROOT")
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_downward(path):
    room = room_of(path)
    used = {name.split(".")[1] for name in imports(parsed(path)) if name.startswith("pgha.")}
    assert [other for other in used if other != room and FLOOR[other] >= FLOOR.get(room, 0) and FLOOR.get(room)] == []


ONLY = {"fabric": {"remote"}, "paramiko": {"remote"}, "invoke": {"cli", "remote"}, "subprocess": {"remote", "stack"},
        "starlette": {"watch"}, "uvicorn": {"watch"}}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_spoken_to_in_its_room_only(path):
    used = {name.split(".")[0] for name in imports(parsed(path))}
    assert [name for name in used if room_of(path) not in ONLY.get(name, {room_of(path)})] == []


IO = {"open", "run", "connect", "read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir", "urlopen"}


@pytest.mark.parametrize(
    "path", [p for p in MODULES if room_of(p) in ("model", "tools", "monitoring")], ids=lambda p: p.name
)
def test_builders_and_parsers_do_no_io(path):
    calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    names = [call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls]
    assert IO.isdisjoint(names)
    assert {name.split(".")[0] for name in imports(parsed(path))}.isdisjoint({"socket", "subprocess", "pathlib.Path"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= 300
    functions = [n for n in ast.walk(parsed(path)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno + 1 > 50} == {}
