"""How clients find the cluster: one libpq connection string, no proxy."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from pgha.cluster import reaching
from pgha.cluster.view import able_first
from pgha.errors import BadValue, Interrupted
from pgha.project.certificates import authority
from pgha.project.project import Project
from pgha.remote import postgres_client, streams
from pgha.remote.connections import connect
from pgha.tools import libpq, postgres
from pgha.tools.command import Command

INSIDE_PASSFILE = "/pgha/config/pgpass"

SUPERUSER = "postgres"

PSQL_LOST = 2
"""psql's exit code when it gets no connection, or loses it."""


@dataclass(frozen=True)
class Login:
    """Who connects, and from where."""

    user: str = SUPERUSER
    dbname: str = "postgres"
    inside: bool = False
    """inside the project's networks instead of through the published ports"""
    address: str = ""
    """what other machines call this host; nothing: the string is for this host"""


def connection_string(project: Project, login: Login, *, standby: bool, balance: bool = True) -> str:
    """For the host's published ports, or for inside the network; without `balance`, for a libpq older than 16.

    The password stays in the file the string names. Raises NotRendered when nothing is rendered.
    """
    nodes = [node.name for node in project.topology.nodes]
    if login.inside:
        targets = [libpq.Target(node, postgres.PORT) for node in nodes]
    else:
        targets = [reaching.target(project, node, login.address) for node in nodes]
    if standby and not balance:
        # libpq asks them in their order: the choice is made here, once a string.
        random.shuffle(targets)
    trust = reaching.trusting(project, inside=login.inside, elsewhere=_elsewhere(project, login))
    parameters = reaching.parameters(login.user, login.dbname, _passfile(project, login), trust)
    if project.topology.machines or _elsewhere(project, login):
        parameters |= libpq.LET_GO
    return libpq.cluster_conninfo(targets, parameters, standby=standby, balance=balance)


def _passfile(project: Project, login: Login) -> str:
    """The file with this user's password. Where there is none libpq has to look into the user's own."""
    if _elsewhere(project, login):
        return ""
    if login.user == SUPERUSER or _holds(project.pgpass, login):
        return INSIDE_PASSFILE if login.inside else str(project.pgpass)
    return str(project.role_pgpass) if not login.inside and _holds(project.role_pgpass, login) else ""


def _elsewhere(project: Project, login: Login) -> bool:
    """Whether the string is for another machine, where there is no file of this checkout."""
    return login.address not in ("", project.settings.client_address)


def _holds(passfile: Path, login: Login) -> bool:
    return passfile.exists() and libpq.has_password(passfile.read_text(), login.user, login.dbname)


def printed_string(project: Project, login: Login, *, standby: bool) -> tuple[str, list[str]]:
    """The string for whoever asked, as their libpq can read it, and what they have to know about it.

    Raises BadValue for a login that cannot be.
    """
    _check(login)
    machines = project.topology.machines
    published = "" if machines else project.settings.publish_address
    if login.address and machines:
        raise BadValue("--address is for one machine: of several each has its own in the string", "inv dsn")
    notes = []
    if login.inside:
        balance = project.settings.release.libpq >= libpq.BALANCES
    elif login.address:
        balance = True
        if standby:
            notes.append(f"load_balance_hosts needs libpq {libpq.BALANCES} or newer there")
        reaching.require_name(project, login.address)
        if project.settings.tls and _elsewhere(project, login):
            ca = project.relative(authority(project).certificate)
            notes.append(f"there ~/.postgresql/root.crt has to be a copy of {ca}")
        if published.startswith("127.") and login.address != published:
            notes.append(f"the ports are published on {published} only: publish_address in docs/settings.md")
    else:
        here = postgres_client.find() if standby else None
        balance = here is None or here.balances
        if here and not balance:
            notes.append(
                f"{here.text} here does not know load_balance_hosts ({libpq.BALANCES} does): "
                "the nodes stand in a random order instead, which only a new string changes"
            )
        if published == "0.0.0.0":
            notes.append(f"for this host; --address names what other machines use instead of {published}")
    string = connection_string(project, login, standby=standby, balance=balance)
    file = next((f for f in (project.pgpass, project.role_pgpass) if _holds(f, login)), None)
    if file and "passfile=" not in string:
        notes.append(f"the string names no passfile; the password is in {project.relative(file)}")
    return string, notes


def _check(login: Login) -> None:
    if not login.user or not login.dbname:
        raise BadValue("A connection needs a user and a database", "inv dsn --user app --dbname app")
    if not login.address:
        return
    if login.inside:
        raise BadValue("--inside and --address contradict each other", "inv dsn --address <address>")
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", login.address) or set(login.address) <= set("0.:"):
        raise BadValue(
            f"--address {login.address!r} is no address another machine can use",
            "inv dsn --address <this host's name or address>",
        )


def log_in(project: Project, leader: str) -> postgres_client.Refusal | None:
    """Log in once at the leader's published port, as the string of `inv dsn` does; None when that went well.

    Without a libpq on this host the leader's own psql logs in over its network, with the same password.
    Raises NotRendered, or Unreachable.
    """
    login = Login()
    try:
        return postgres_client.log_in(
            reaching.node_string(project, leader, login.user, login.dbname, passfile=str(project.pgpass))
        )
    except postgres_client.NoLibpq:
        string = reaching.inside_string(project, leader, login.user, login.dbname, passfile=INSIDE_PASSFILE)
        answer = connect(project).run(leader, Command(("psql", string, "-XAtqwc", "select 1"), timeout=10))
        return None if answer.ok else postgres_client.Refusal(answer.words, asked=True)


SCRIPT = ("-X", "-v", "ON_ERROR_STOP=1")
"""psql's flags when nobody types: no .psqlrc, and an error is the end."""


def psql_stream(project: Project, *, standby: bool, sql: str = "") -> int:
    """psql on a node with this process's input and output; its exit code. Without SQL it reads its input.

    Raises Interrupted after Ctrl-C, which psql hands on to the server.
    """
    host, string = _psql_host(project), _psql_string(project, standby)
    argv = ("psql", string, *SCRIPT, *(("-c", sql) if sql else ()))
    ended = connect(project).stream(host, Command(argv, timeout=0))
    if ended.interrupted:
        raise _interrupted(ended)
    return ended.exit_code or 0


def _interrupted(ended: streams.Ended) -> Interrupted:
    look = 'inv psql --command "select pid, state, query from pg_stat_activity"'
    if ended.exit_code is None:
        return Interrupted("Interrupted: psql does not end, and its statement may still run and commit", look)
    if ended.exit_code == 0:
        return Interrupted("Interrupted, but psql had ended well: its statements are done")
    code = f"psql's exit code: {ended.exit_code}"
    return Interrupted(f"Interrupted: the statement was cancelled ({code}); what was committed before stays")


def psql_session(project: Project, *, standby: bool) -> int:
    """A psql session on this terminal; returns its exit code."""
    return connect(project).interactive(_psql_host(project), Command(("psql", _psql_string(project, standby))))


def _psql_string(project: Project, standby: bool) -> str:
    """One connection, so the choice of a standby needs nothing of libpq."""
    return connection_string(project, Login(inside=True), standby=standby, balance=False)


def _psql_host(project: Project) -> str:
    """A node that can be reached and reaches the leader: psql there is as new as the cluster."""
    return connect(project).first(able_first(project), Command(("hostname",)), str)[0]


def ssh_stream(project: Project, host: str, command: str) -> int:
    """A command on a host, or a shell that reads its lines, with this process's input and output; its exit code.

    Raises BadValue when there is nothing to run, Interrupted after Ctrl-C.
    """
    if not command and not streams.has_input():
        raise BadValue(
            f"There is no terminal for a shell on {host}, and nothing to run",
            f'inv ssh --node {host} --command "patronictl list", or inv ssh --node {host} < script',
        )
    argv = ("sh", "-c", command) if command else ("bash",)
    ended = connect(project).stream(host, Command(argv, timeout=0))
    if not ended.interrupted:
        return ended.exit_code or 0
    if ended.exit_code is None:
        raise Interrupted(
            f"Interrupted: the command may still run on {host}", f'inv ssh --node {host} --command "ps axf"'
        )
    raise Interrupted(f"Interrupted: the command ended on {host}")
