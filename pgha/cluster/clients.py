"""How clients find the cluster: one libpq connection string, no proxy."""

from __future__ import annotations

from pgha.errors import NotRendered
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import postgres
from pgha.tools.command import Answer, Command

INSIDE_PASSFILE = "/pgha/config/pgpass"


def connection_string(project: Project, *, standby: bool, inside: bool) -> str:
    """For the host's published ports, or for inside the network.

    The password stays in the file the string names. Raises Missing when nothing is rendered.
    """
    if inside:
        targets = [(node.name, postgres.PORT) for node in project.topology.nodes]
        return postgres.cluster_conninfo(targets, standby, INSIDE_PASSFILE)
    ports = project.record().ports.get("postgres", {})
    missing = [node.name for node in project.topology.nodes if node.name not in ports]
    if missing:
        raise NotRendered(f"Nothing is rendered for {missing[0]}", "inv render")
    address = project.settings.client_address
    targets = [(address, ports[node.name]) for node in project.topology.nodes]
    return postgres.cluster_conninfo(targets, standby, str(project.pgpass))


def psql_command(project: Project, *, standby: bool, sql: str) -> Answer:
    """SQL's answer from psql on a reachable node, which finds the leader through the cluster's own string."""
    host, string = _psql_host(project), connection_string(project, standby=standby, inside=True)
    return connect(project).run(host, Command(("psql", string, "-X", "-v", "ON_ERROR_STOP=1", "-c", sql), timeout=0))


def psql_session(project: Project, *, standby: bool) -> int:
    """A psql session on this terminal; returns its exit code."""
    string = connection_string(project, standby=standby, inside=True)
    return connect(project).interactive(_psql_host(project), Command(("psql", string)))


def _psql_host(project: Project) -> str:
    """Any node that can be reached: psql there is as new as the cluster."""
    names = [node.name for node in project.topology.nodes]
    return connect(project).first(names, Command(("hostname",)), str)[0]
