"""A bundle for a colleague: what was seen and said at one moment, without secrets."""

from __future__ import annotations

import io
import json
import platform
import tarfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from pgha.backup.stanza import read_info_json
from pgha.cluster.configuration import read_config
from pgha.cluster.quorum import read_etcd
from pgha.cluster.view import able_first, require_leader
from pgha.console import Progress
from pgha.errors import NotRendered, PghaError
from pgha.model.plan import make_plan, plan_document
from pgha.model.rules import CONFIDENTIAL
from pgha.project.files import write_bytes
from pgha.project.passwords import OWN, kept_passwords
from pgha.project.project import Project
from pgha.remote import engine, postgres_client, readiness, shell
from pgha.remote.connections import connect
from pgha.stack import crontab
from pgha.stack.rendering import secrets_of
from pgha.status import survey
from pgha.status.document import error_document, survey_document
from pgha.tools import databases, docker, masking, patroni, statistics
from pgha.tools.command import Answer, Command

RECORDS = (
    "project.yaml",
    "running.json",
    "broken.yaml",
    "restore.yaml",
    "recover.yaml",
    "recovered.yaml",
    "ssh_config",
)
"""Of the project's folder, beside what its containers are given."""

NAMES = ("postgres", "replicator", "rewind_user", "patroni")
"""Users; a password of that name is no secret elsewhere."""

VERSIONS = (
    'for tool in "postgres --version" "patroni --version" "pgbackrest version" "etcdctl version"; do '
    'command -v "${tool%% *}" > /dev/null && $tool 2> /dev/null | head -n 1; done; uname -sr; '
    "sed -n 's/^PRETTY_NAME=//p' /etc/os-release"
)


@dataclass(frozen=True)
class Bundle:
    """What was written."""

    path: Path
    size: int
    """bytes"""
    files: tuple[str, ...]
    missing: Mapping[str, str]
    """what could not be had -> why"""


def write_bundle(project: Project, lines: int, progress: Progress) -> Bundle:
    """Collect what can be had, whatever is broken, and write it to build/<project>/reports/.

    It changes nothing else. Raises NotRendered when nothing is rendered.
    """
    if not project.rendered:
        raise NotRendered(f"Nothing is rendered for project {project.name}", "inv render, or inv up")
    stamp = time.strftime("%Y%m%d-%H%M%SZ", time.gmtime())
    with progress.stage("collect"):
        files, missing = _collect(project, lines)
    known = _secrets(project)
    names = {*NAMES, project.name, *(host.name for host in project.topology.hosts)}
    files["missing.json"] = json.dumps(missing, indent=2)
    clean = {name: masking.masked(text, known, names) for name, text in files.items()}
    path = project.folder / "reports" / f"{stamp}.tar.gz"
    content = _packed(f"{project.name}-{stamp}", clean)
    write_bytes(path, content, 0o600)
    return Bundle(path, len(content), tuple(sorted(clean)), missing)


def _collect(project: Project, lines: int) -> tuple[dict[str, str], dict[str, str]]:
    """File -> text, and what could not be read."""
    parts: dict[str, Callable[[], Any]] = {
        "status.json": lambda: survey_document(project, survey.take(project)),
        "plan.json": lambda: plan_document(make_plan(project.settings, project.topology)),
        "settings.yaml": lambda: yaml.safe_dump(_settings(project)),
        "versions.json": lambda: _versions(project),
        "cluster/dynamic.yaml": lambda: yaml.safe_dump(read_config(project)),
        "cluster/list.txt": lambda: _ctl(project, "list", "--extended"),
        "cluster/history.txt": lambda: _ctl(project, "history"),
        "cluster/etcd.json": lambda: asdict(read_etcd(project)),
    }
    if project.topology.repository:
        parts["backups/info.json"] = lambda: read_info_json(project)
        for job in crontab.jobs(project):
            parts[f"backups/{job.name}.log"] = partial(crontab.read_log, project, job.name)
    for name, path in _configuration(project).items():
        parts[f"configuration/{name}"] = path.read_text
    files: dict[str, str] = {}
    missing: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        statistics_ = pool.submit(_statistics, project)
        logs_ = pool.submit(_logs, project, lines)
        reading = {name: pool.submit(part) for name, part in parts.items()}
        for name, part_ in reading.items():
            _keep(files, missing, name, part_.result)
        for what, several_ in (("statistics", statistics_), ("logs", logs_)):
            try:
                files |= {f"{what}/{name}": text for name, text in several_.result().items()}
            except (PghaError, OSError) as error:
                missing[what] = _words(error)
    return files, missing


def _keep(files: dict[str, str], missing: dict[str, str], name: str, part: Callable[[], Any]) -> None:
    try:
        read = part()
        files[name] = read if isinstance(read, str) else json.dumps(read, indent=2, default=str)
    except PghaError as error:
        missing[name] = _words(error)
        if name == "status.json":
            files[name] = json.dumps(error_document(error), indent=2)
    except (OSError, UnicodeDecodeError) as error:
        missing[name] = _words(error)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, PghaError) else f"{type(error).__name__}: {error}"


def _settings(project: Project) -> dict[str, Any]:
    return {key: value for key, value in asdict(project.settings).items() if key not in CONFIDENTIAL}


def _configuration(project: Project) -> dict[str, Path]:
    """What the containers are given and holds no key, and the project's records: name -> file."""
    wanted = {"compose.yaml", *RECORDS}
    for host in project.topology.hosts:
        given = secrets_of(project, host)
        wanted |= {
            path.removeprefix("./")
            for name, path in given.items()
            if path.startswith("./") and name not in ("pgpass", "notify_url")
        }
    return {name: project.folder / name for name in sorted(wanted) if (project.folder / name).exists()}


def _secrets(project: Project) -> list[str]:
    """Every password and passphrase that is known here. Raises Damaged."""
    kept = kept_passwords(project)
    given = [getattr(project.settings, key) for key in CONFIDENTIAL]
    own = [getattr(kept, name) for name in OWN] if kept else []
    if kept:
        own += [*kept.roles.values(), *kept.coming.values(), *([kept.second.passphrase] if kept.second else [])]
    return [secret for secret in [*given, *own] if secret]


def _ctl(project: Project, *words: str) -> str:
    return connect(project).first(able_first(project), patroni.ctl(*words), str)[1]


def _statistics(project: Project) -> dict[str, str]:
    """What the leader's Postgres counted."""
    leader = require_leader(project).name
    answer = connect(project).feed(leader, databases.script(), statistics.VIEWS)
    return {f"{name}.json": rows for name, rows in statistics.parse_views(answer.stdout).items()}


def _logs(project: Project, lines: int) -> dict[str, str]:
    """The end of every container's log."""
    found = {}
    for host in engine.containers(project):
        answer = engine.engine_of(project, host).run(docker.last_logs(project.container(host), lines))
        found[f"{host}.log"] = answer.stdout + answer.stderr
    return found


def _versions(project: Project) -> dict[str, Any]:
    hosts = [host.name for host in project.topology.ssh_hosts]
    answers = connect(project).everywhere(dict.fromkeys(hosts, Command(("sh", "-c", VERSIONS), timeout=20)))
    here = shell.run(Command(("docker", "version", "--format", "{{.Client.Version}}, engine {{.Server.Version}}")))
    return {
        "this host": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "docker": here.stdout.strip() or here.last_words,
            "compose": readiness.compose_version(),
            "psql": postgres_client.find().text,
        },
        **{host: _of(answer) for host, answer in answers.items()},
    }


def _of(answer: Answer | PghaError) -> list[str] | str:
    return answer.message if isinstance(answer, PghaError) else answer.stdout.splitlines()


def _packed(folder: str, files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
