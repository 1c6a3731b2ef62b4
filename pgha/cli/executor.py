"""What stands between Invoke and the library: the executor, and the project a call means."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable
from typing import Any

import invoke
from invoke.exceptions import Exit

from pgha import console
from pgha.errors import BadValue, Interrupted, PghaError, ToolFailed
from pgha.model.settings import ENVIRONMENT, environment_layer
from pgha.model.topology import Host
from pgha.project.layers import typed_layers
from pgha.project.project import Project, open_project
from pgha.project.running import as_it_runs
from pgha.remote import connections
from pgha.status.document import error_document

CONFIG_FILES = ("system", "user", "project", "runtime")
"""The configuration files that Invoke reads, the later ones over the earlier ones."""

_environment: dict[str, str] = {}


class Executor(invoke.Executor):  # type: ignore[misc]
    """Closes every connection at the end, and turns our errors into a sentence, a hint and an exit code."""

    def execute(self, *tasks: Any) -> Any:
        take_environment()
        console.speak_of(line_begins(self.core))
        try:
            return super().execute(*tasks)
        except PghaError as error:
            if _wants_json(tasks):
                console.print_json({**error.document, **error_document(error)})
            console.error(error.message, error.hint)
            raise Exit(code=error.exit_code) from None
        except KeyboardInterrupt:
            # Tasks that change something say what became of it: `changing`.
            console.error("Interrupted")
            raise Exit(code=Interrupted.exit_code) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise Exit(code=1) from None
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            console.error(f"This host refused: {error.strerror or error}{where}", "df -h, ls -l")
            raise Exit(code=ToolFailed.exit_code) from None
        finally:
            connections.close_all()


def take_environment() -> None:
    """Read the settings given there, and keep them from Invoke, which would cast them by the type of what they
    replace."""
    _environment.update(environment_layer(os.environ))
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
        del os.environ[name]


def line_begins(core: Any) -> str:
    """How this line's project has to be named again, where neither invoke.yaml nor the default does."""
    project = {**environment_layer(os.environ), **_environment}.get("project")
    config = core[0].args.config.value if core else None
    words = [*([f"{ENVIRONMENT}PROJECT={shlex.quote(project)}"] if project else []), "inv"]
    return " ".join([*words, *(["-f", shlex.quote(config)] if config else [])])


def _wants_json(tasks: Iterable[Any]) -> bool:
    """Whether a task of this line was asked for JSON: a program reads its answer then, also when it is an error."""
    given = (getattr(task, "args", {}) for task in tasks)
    return any("json" in arguments and arguments["json"].value for arguments in given)


def project_of(context: invoke.Context, flags: dict[str, str] | None = None, *, by_settings: bool = False) -> Project:
    """The project this call means, as it runs; with `by_settings`, or `flags`, as the settings say.

    `flags` are those of `render`, None for what the last render was given.
    """
    config = context.config
    files = [(getattr(config, f"_{name}_path", None), getattr(config, f"_{name}", None)) for name in CONFIG_FILES]
    project = open_project([*typed_layers(files), _environment], flags)
    return project if by_settings or flags is not None else as_it_runs(project)


def exit_with(code: int) -> None:
    """End the line with another program's exit code, unless that is 0."""
    if code:
        raise Exit(code=code)


def require_host(project: Project, name: str, hosts: tuple[Host, ...], usage: str) -> None:
    """Raises BadValue when no such host is among these."""
    names = [host.name for host in hosts]
    if name not in names:
        what = f"{name} is not a host of project {project.name}" if name else "A host has to be named"
        raise BadValue(what, f"{usage}: one of {', '.join(names)}")


def parsed_json(text: str, what: str) -> Any:
    """Raises ToolFailed when a tool's JSON is none."""
    try:
        return json.loads(text)
    except ValueError:
        raise ToolFailed(f"{what} did not print JSON", text) from None
