"""How a client of this host reaches one Postgres, and how it knows that it is that one.

With TLS a string names each node, whose certificate libpq then looks for, and the address it is reached at beside it
(`hostaddr`): no certificate has to name a published address, every libpq understands it, and what answers at a node's
port has to be that node. Where an address is a name, which only libpq can look up, certificates have to have it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from pgha.errors import BadValue, NotRendered
from pgha.project.certificates import ROTATE, authority, load_certificate, names_in, pair_of
from pgha.project.keys import read_key
from pgha.project.project import Project
from pgha.tools import libpq, postgres, trust

PATIENCE = 2
"""Seconds a client waits for one node."""


def target(project: Project, node: str, address: str = "") -> libpq.Target:
    """A node's published port, for this host or at the address other machines have for it. Raises NotRendered."""
    try:
        port = project.ports["postgres"][node]
    except KeyError:
        raise NotRendered(f"Nothing is rendered for {node}", "inv render") from None
    host = project.topology.host(node)
    here = project.settings.client_address
    return at(project, node, port, address or (host.found_at(here) if host else here))


def at(project: Project, name: str, port: int, address: str) -> libpq.Target:
    """What has a certificate with this name and listens there."""
    if not project.settings.tls or not _is_address(address):
        return libpq.Target(address, port)
    return libpq.Target(name, port, address)


def trusting(project: Project, *, inside: bool = False, elsewhere: bool = False) -> dict[str, str]:
    """What makes libpq take this project's servers and no others. Elsewhere it takes the authority from the user's own
    ~/.postgresql/root.crt. While certificates are rotated the file here has the old authority and the new one."""
    if not project.settings.tls:
        return {}
    if elsewhere:
        return {"sslmode": "verify-full"}
    return {"sslmode": "verify-full", "sslrootcert": trust.AUTHORITY if inside else str(authority(project).certificate)}


def node_string(project: Project, node: str, user: str, dbname: str, *, passfile: str) -> str:
    """One node's published port, whatever it is at the moment. Raises NotRendered."""
    return _string(target(project, node), user, dbname, passfile, trusting(project))


def inside_string(project: Project, node: str, user: str, dbname: str, *, passfile: str = "") -> str:
    """The same within the project's networks."""
    return _string(libpq.Target(node, postgres.PORT), user, dbname, passfile, trusting(project, inside=True))


def clone_string(project: Project, port: int, user: str, dbname: str, *, passfile: str, address: str = "") -> str:
    """The clone's published port, here or at another machine's address. It shows the certificate of a node, and is
    none."""
    where = at(project, "localhost", port, address or project.settings.client_address)
    return _string(where, user, dbname, passfile, trusting(project))


def parameters(user: str, dbname: str, passfile: str, trust: Mapping[str, str]) -> dict[str, str | int]:
    """Who connects to what, with a passfile or the user's own."""
    return {"user": user, "dbname": dbname, **({"passfile": passfile} if passfile else {}), **trust}


def _string(target: libpq.Target, user: str, dbname: str, passfile: str, trust: Mapping[str, str]) -> str:
    given = {**libpq.where([target]), **parameters(user, dbname, passfile, trust)}
    return postgres.conninfo(**given, connect_timeout=PATIENCE)


def require_name(project: Project, address: str) -> None:
    """Raises BadValue for a name of this host that a node's certificate has not; an address needs none. Damaged."""
    if not project.settings.tls or _is_address(address):
        return
    for node in project.topology.nodes:
        path = pair_of(project, node.name).certificate
        known = names_in(read_key(project, path, load_certificate, ROTATE, "a certificate"))
        if address.lower() not in (name.lower() for name in known):
            raise BadValue(
                f"The certificate of {node.name} has no name {address}",
                f"certificate_names: {address} in invoke.yaml, then inv up; or --address <this host's IP address>",
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
