"""Where the engine is looked for, with a client that is played by a script."""

import socket

import pytest

from pgha.errors import NotReady, Unreachable
from pgha.remote import readiness


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A `docker` that answers `context inspect`, `version` and `compose version`; nothing is an error."""

    def client(context="", version="", compose=""):
        script = tmp_path / "bin" / "docker"
        script.parent.mkdir(exist_ok=True)
        answers = {"context": context, "version": version, "compose": compose}
        cases = "".join(
            f"{verb}) printf '%s\\n' '{text}';;\n" if text else f"{verb}) exit 1;;\n" for verb, text in answers.items()
        )
        script.write_text(f"#!/bin/sh\ncase $1 in\n{cases}esac\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")

    monkeypatch.delenv("DOCKER_HOST")
    for cached in (readiness._endpoint, readiness.find_compose, readiness.compose_version):
        cached.cache_clear()
    yield client
    for cached in (readiness._endpoint, readiness.find_compose, readiness.compose_version):
        cached.cache_clear()


@pytest.fixture
def engine_socket(tmp_path):
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield path


def test_the_engine_of_the_context_is_asked(client, engine_socket):
    client(context=f"rootless unix://{engine_socket}")
    assert readiness.engine_problem() is None


def test_an_engine_of_another_context_that_does_not_run_is_not_started_here(client, tmp_path):
    client(context=f"rootless unix://{tmp_path}/none.sock")
    problem = readiness.engine_problem()
    assert isinstance(problem, NotReady)
    assert "Docker context rootless" in problem.message
    assert "inv setup" not in problem.hint


def test_the_default_engine_that_does_not_run_is_set_up(client, tmp_path):
    client(context=f"default unix://{tmp_path}/none.sock")
    assert readiness.engine_problem().hint == "inv setup"


@pytest.mark.parametrize(("version", "problem"), [("28.2.2", type(None)), ("", Unreachable)])
@pytest.mark.parametrize("context", ["far ssh://admin@host", ""])
def test_an_engine_without_a_socket_here_is_asked_for_its_version(client, context, version, problem):
    client(context=context, version=version)
    assert isinstance(readiness.engine_problem(), problem)


def test_docker_host_comes_before_the_context(client, engine_socket, monkeypatch):
    client(context="default unix:///nonexistent")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine_socket}")
    assert readiness.engine_problem() is None


def program(tmp_path, version):
    script = tmp_path / "bin" / "docker-compose"
    script.write_text(f"#!/bin/sh\necho {version}\n")
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("compose", "engine", "works"),
    [("1.29.2", "20.10.24+dfsg1", True), ("1.29.2", "28.2.2", False), ("2.26.1-4", "28.2.2", True)],
)
def test_the_old_program_is_refused_with_a_new_engine(client, tmp_path, compose, engine, works):
    client(version=engine)
    program(tmp_path, compose)
    problem = readiness.compose_problem()
    assert (problem is None) is works
    if not works:
        assert "1.29.2" in problem.message and "28.2.2" in problem.message
        with pytest.raises(NotReady):
            readiness.require_fitting_compose()


def test_the_plugin_is_preferred_to_the_program(client, tmp_path):
    client(version="28.2.2", compose="2.26.1")
    program(tmp_path, "1.29.2")
    assert readiness.compose_problem() is None
    assert readiness.compose_version() == "2.26.1"
