"""The images' scripts as functions, and fakes of the programs they call."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from image_scripts import PATRONI


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a program in front of all others; it is a shell script. The image's own programs follow."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{PATRONI}", prepend=":")
    monkeypatch.setenv("STANZA_NAME", "pg_ha_db")

    def fake(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return fake


@pytest.fixture
def imported(monkeypatch):
    """The functions of a script in Python."""
    monkeypatch.setenv("PGHA_LIB", str(PATRONI / "archive"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    def imported(name):
        script = str(PATRONI / name)
        loader = SourceFileLoader(name.replace("-", "_"), script)
        module = module_from_spec(spec_from_file_location(loader.name, script, loader=loader))
        loader.exec_module(module)
        return module

    return imported
