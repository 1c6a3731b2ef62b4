"""Fixtures of the fast tests: projects in a temporary folder, on a host without a container engine."""

import os
import signal
import time
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from pgha.model.settings import read_settings
from pgha.project.certificates import ensure_certificates
from pgha.project.keys import ensure_keys
from pgha.project.passwords import kept_passwords, settled_passwords, write_passwords
from pgha.project.ports import choose_ports
from pgha.project.project import Project
from pgha.stack.rendering import render
from pgha.waiting import wait_until

# A test run in the background inherits an ignored SIGINT; the programs it starts must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

BLOCK = IPv4Network("172.30.240.0/20")

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    for name in [name for name in os.environ if name.startswith("INVOKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def captured():
    """A tool's real output, as it was captured."""
    return lambda name: (DATA / name).read_text()


@pytest.fixture
def two_hours_ahead(monkeypatch):
    """This host's time zone."""
    monkeypatch.setenv("TZ", "EAST-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def root(tmp_path):
    """A checkout's root that is empty."""
    return tmp_path


@pytest.fixture
def make_project(root):
    return lambda **settings: Project(read_settings(settings), {}, root)


@pytest.fixture
def a_project(make_project):
    """Three data centers with two nodes each."""
    return make_project()


@pytest.fixture
def write_down_passwords():
    """Settle a project's passwords and keep them in its file, as `inv render` does where the data allows it."""

    def write_down_passwords(project):
        passwords = settled_passwords(project, kept_passwords(project))
        write_passwords(project, passwords)
        return passwords

    return write_down_passwords


@pytest.fixture
def rendering(make_project, write_down_passwords):
    """A project's rendered files, as if every port were free."""

    def rendering(**settings):
        made = make_project(**settings)
        ensure_keys(made)
        ensure_certificates(made)
        ports = choose_ports(made.settings, made.topology, {}, lambda port: True)
        return render(made, write_down_passwords(made), ports, BLOCK)

    return rendering


@pytest.fixture
def hurry(monkeypatch):
    """Let a module look often, and wait a moment only."""

    def hurry(module, timeout=0.1):
        def soon(*given, **more):
            return wait_until(*given, **more | {"timeout": timeout, "interval": 0.01})

        monkeypatch.setattr(module, "wait_until", soon)

    return hurry
