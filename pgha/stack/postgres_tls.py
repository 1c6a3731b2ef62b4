"""Other certificates for a Postgres that runs: it reads them again at a SIGHUP. New connections then go by them, and
those that are there go on."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from pgha.cluster import reaching
from pgha.cluster.clients import Login
from pgha.console import Progress
from pgha.errors import PghaError, ToolFailed
from pgha.project import successors
from pgha.project.project import Project
from pgha.remote import postgres_client
from pgha.remote.connections import connect
from pgha.remote.engine import engine_of, has_clone
from pgha.tools import postgres, processes, trust
from pgha.tools.command import Answer


def reload(project: Project, hosts: Collection[str]) -> None:
    """Let the Postgres of each of these hosts read what was brought; one that does not run reads it when it starts."""
    data = postgres.data_dir(project.settings.postgres)
    for node in _nodes(project, hosts):
        # It fails where none runs.
        engine_of(project, node).run(processes.signal_postgres(project.container(node), data, "reload"))


def lacks_authority(project: Project, host: str) -> str:
    """What a host's Postgres shows of whom it trusts that is not as the files here say."""
    shown = _shown_by(project, host)
    if shown is None or sorted(shown.authorities) == sorted(successors.trusted_names(project)):
        return ""
    wanted = " and ".join(successors.trusted_names(project))
    return f"trusts {' and '.join(shown.authorities)} in Postgres, not {wanted}"


def lacks_certificate(project: Project, host: str) -> str:
    """Likewise of who it is."""
    shown = _shown_by(project, host)
    if shown is None or shown.certificate == successors.certificate_text(project, host):
        return ""
    return "shows its former certificate in Postgres"


def prove(project: Project, hosts: Collection[str]) -> None:
    """A client of this host logs in at each Postgres that runs, and each member at the next one. Raises ToolFailed."""
    serving = [node for node in _nodes(project, hosts) if _shown_by(project, node)]
    login = Login()
    for node in serving:
        string = reaching.node_string(project, node, login.user, login.dbname, passfile=str(project.pgpass))
        with suppress(postgres_client.NoLibpq):
            refusal = postgres_client.log_in(string)
            if refusal:
                raise ToolFailed(f"A client cannot log in at {node}", refusal.words, f"inv logs --node {node}")
    ring = {node: trust.log_in_as_member(serving[(n + 1) % len(serving)]) for n, node in enumerate(serving)}
    for node, answer in connect(project).everywhere(ring).items():
        if isinstance(answer, PghaError):
            raise answer
        if isinstance(answer, Answer) and not answer.ok:
            raise ToolFailed(f"{node} was not let in by the next Postgres", answer.words, f"inv logs --node {node}")


def note_clone(project: Project, progress: Progress) -> None:
    """A clone is made with the certificate of then."""
    if has_clone(project):
        progress.note("the clone keeps its former certificate: inv clone --remove, then make another one")


def _nodes(project: Project, hosts: Collection[str]) -> list[str]:
    """Those of these hosts whose Postgres speaks TLS."""
    return [node.name for node in project.topology.nodes if node.name in hosts and project.settings.tls]


def _shown_by(project: Project, host: str) -> trust.Shown | None:
    """None where no Postgres listens. Raises ToolFailed when it shows no certificate."""
    if not _nodes(project, [host]):
        return None
    return trust.parse_listening(connect(project).run(host, trust.ask_postgres()).stdout, "Postgres")
