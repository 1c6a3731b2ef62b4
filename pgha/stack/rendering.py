"""Templates to text: everything a container reads is rendered here, on the host, from settings and topology."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

import jinja2
import yaml

from pgha import ROOT
from pgha.documents import read_yaml
from pgha.model import privileges
from pgha.model.addresses import addresses, networks
from pgha.model.dynamic import bootstrap_configuration
from pgha.model.topology import REPOSITORY, SCOPE, STANZA, WAN, Host, Topology
from pgha.model.urls import CLIENT, PEER, PGBACKREST, REST
from pgha.project import coming
from pgha.project.certificates import authority, hosts_with_one, is_to_be_made_again, pair_of
from pgha.project.checkout import checkout_id
from pgha.project.keys import authorized_keys_text
from pgha.project.passwords import ROTATED, Passwords
from pgha.project.ports import LOOPBACK, Ports
from pgha.project.project import SECRETS, Project
from pgha.project.repositories import Repository, repositories
from pgha.stack.crontab import jobs_of
from pgha.stack.watching import monitoring_files
from pgha.tools import libpq, postgres, trust

SEARCH_PATH = "/usr/lib/postgresql/{major}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

SECRET_FILES = ("patroni.conf", "pgpass", "roles.pgpass", "pgbackrest.conf", "notify_url")
"""Rendered files that hold a password, a passphrase or a URL that is one: mode 0600."""


IDENTITY = ("host_key", "id_ed25519", "authorized_keys", "ca.crt", "host.crt", "host.key")
"""Secrets that say who a host is and whom it trusts: the keys and certificates."""

OF_ALL_HOSTS = ("known_hosts", "ssh_config")
"""Secrets that name every host. A host's own key comes with its container, so nothing else changes them."""

UNRENDERED = (*IDENTITY, *OF_ALL_HOSTS)
"""Secrets that are in a digest in their own way, or not at all."""


@dataclass(frozen=True)
class Rendered:
    """Relative path in the project's folder -> content. The same settings give the same bytes."""

    files: dict[str, str]
    digests: dict[str, str]
    """host name -> keyed fingerprint of all files of its container"""
    services: dict[str, Any]
    """host name -> its container, as the compose file defines it"""

    def mode(self, path: str) -> int:
        return 0o600 if path.rsplit("/", 1)[-1] in SECRET_FILES else 0o644


def _yaml_scalar(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', width=10_000).strip()


def _yaml_block(value: Any, indent: int) -> str:
    return yaml.safe_dump(value, sort_keys=True).strip().replace("\n", "\n" + " " * indent)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(pgpass=libpq.escaped, yaml=_yaml_scalar, yaml_block=_yaml_block)
    return environment


def shape(project: Project, host: str = "") -> str:
    """What data in volumes belongs to: a change here cannot be applied to an existing cluster.

    The repository's can be restored into any shape of its PostgreSQL major.
    """
    s, t = project.settings, project.whole
    if host == REPOSITORY:
        return f"-v {s.postgres}"
    return f"-d {s.data_centers} -p {s.nodes} -n {s.prefix} -v {s.postgres} etcd={len(t.etcd)}"


Text = Callable[..., str]
"""A template's name and what it needs beside the common values -> its text."""


def render(project: Project, passwords: Passwords, ports: Ports, block: IPv4Network) -> Rendered:
    """Every file of the project. The keys and certificates must exist."""
    topology, made = project.topology, project.record().made
    text = _templates(project, passwords, ports, block)
    files = {name: text(name) for name in ("ssh_config", "pgpass", "sshd_config", "container_ssh_config")}
    files["authorized_keys"] = authorized_keys_text(project)
    if passwords.roles:
        files[project.role_pgpass.name] = libpq.passfile(passwords.roles)
    for host in topology.hosts:
        files.update(_files_of(project, passwords, host, text))
    secrets = {host.name: secrets_of(project, host) for host in topology.hosts}
    lasting = _lasting(project, passwords, files, text)
    marks = identity_marks(project, passwords)
    digests = {name: _digest(passwords, lasting, paths, marks.get(name)) for name, paths in secrets.items()}
    values = {
        "secrets": secrets,
        "digests": digests,
        "shapes": {host.name: made.get(host.name) or shape(project, host.name) for host in topology.hosts},
        "passwords_id": passwords.id,
        "passphrase_id": passwords.repository_id,
        "checkout": checkout_id(project.root),
    }
    services: dict[str, Any] = {}
    for path, here in compose_files(project).items():
        parts: dict[str, Any] = {"here": here, "networks": networks(here, block), **values}
        own = read_yaml(text("compose.yaml", definitions=dict.fromkeys(digests, ""), **parts))["services"]
        definitions = {name: _definition(service) for name, service in own.items()}
        for name, service in own.items():
            service["labels"]["pgha.definition"] = definitions[name]
        files[path] = text("compose.yaml", definitions=definitions, **parts)
        services |= own
    if topology.machines:
        files[SECRETS] = json.dumps(secrets, indent=1, sort_keys=True) + "\n"
    return Rendered(files, digests, services)


def compose_files(project: Project) -> dict[str, Topology]:
    """Compose file, relative to the project's folder -> the hosts it makes: one, or one a machine."""
    topology = project.topology
    if not topology.machines:
        return {project.relative_compose_file(None): topology}
    return {project.relative_compose_file(machine): topology.on(machine) for machine in topology.machines}


def _definition(service: dict[str, Any]) -> str:
    """Changes when Compose would make the container again for what the compose file says of it."""
    return hashlib.sha256(json.dumps(service, sort_keys=True).encode()).hexdigest()[:16]


def _templates(project: Project, passwords: Passwords, ports: Ports, block: IPv4Network) -> Text:
    settings, environment = project.settings, _environment()
    common: dict[str, Any] = {
        "settings": settings,
        "topology": project.topology,
        "release": settings.release,
        "project": project.name,
        "passwords": passwords,
        "ports": ports,
        "addresses": {host.name: addresses(project.topology, block, host) for host in project.topology.hosts},
        "address": settings.publish_address,
        "loopback": LOOPBACK,
        "scope": SCOPE,
        "stanza": STANZA,
        "wan": WAN,
        "tls": trust.FOLDER,
        "client": trust.CLIENT if settings.tls else {},
        "urls": project.topology.urls,
        "privileges": privileges,
        "client_port": CLIENT,
        "peer_port": PEER,
        "pgbackrest_port": PGBACKREST,
        "rest_port": REST,
        "data_dir": postgres.data_dir(settings.postgres),
        "path": SEARCH_PATH.format(major=settings.postgres),
        "identity_file": project.identity_file,
        "known_hosts": project.known_hosts,
    }

    def text(template: str, **more: Any) -> str:
        return environment.get_template(f"{template}.j2").render(**{**common, **more})

    return text


def _files_of(project: Project, passwords: Passwords, host: Host, text: Text) -> dict[str, str]:
    """The files of one container's own."""
    topology, files = project.topology, {}
    if host in topology.etcd:
        files["etcd.yml"] = text("etcd.yml", host=host, members=topology.etcd)
    if host in topology.nodes:
        dynamic = bootstrap_configuration(project.settings, topology)
        files["patroni.conf"] = text("patroni.conf", host=host, dynamic=dynamic, members=topology.etcd)
    if host in topology.ssh_hosts and topology.repository:
        there = repositories(passwords, on_nodes=host != topology.repository)
        files["pgbackrest.conf"] = text("pgbackrest.conf", host=host, nodes=topology.nodes, repositories=there)
        files["crontab"] = text("crontab", host=host, jobs=jobs_of(project, host))
    if host == topology.monitoring:
        files |= monitoring_files(project)
    return {f"{host.name}/{name}": content for name, content in files.items()}


def _lasting(project: Project, passwords: Passwords, files: dict[str, str], text: Text) -> dict[str, str]:
    """What a container is made with. bootstrap.dcs is read once, when the cluster is made, and `inv schedule` changes a
    crontab in the running container, `inv rotate` the passwords and the repositories: a change of these is no reason to
    make a container again.

    Neither are the other hosts: etcd reads its initial cluster only while it has no data, Patroni asks etcd itself for
    its members, and what pgBackRest and ssh have to know of new hosts is brought to them (stack/delivery.py).
    """
    topology = project.topology
    none: dict[str, Any] = dict.fromkeys(ROTATED, "")
    without = replace(passwords, **none)
    lasting = {path: content for path, content in files.items() if not path.endswith("/crontab")}
    for host in topology.nodes:
        lasting[f"{host.name}/patroni.conf"] = text(
            "patroni.conf", host=host, dynamic={}, members=(), passwords=without
        )
    for host in topology.etcd:
        lasting[f"{host.name}/etcd.yml"] = text("etcd.yml", host=host, members=())
    if topology.monitoring:
        # Whom Prometheus asks, and how many are a quorum, is brought to it (stack/delivery.py).
        found = monitoring_files(project, lasting=True)
        lasting |= {f"{topology.monitoring.name}/{name}": content for name, content in found.items()}
    if topology.repository:
        one = (Repository(1, ""),)
        for host in topology.ssh_hosts:
            nodes = () if host == topology.repository else topology.nodes
            alone = text("pgbackrest.conf", host=host, nodes=nodes, repositories=one)
            lasting[f"{host.name}/pgbackrest.conf"] = alone
    lasting["pgpass"] = text("pgpass", passwords=without)
    return lasting


def secrets_of(project: Project, host: Host) -> dict[str, str]:
    """The secrets of one container: name inside -> path, relative to the compose file."""
    if host in project.topology.etcd:
        return {"etcd.yml": f"./{host.name}/etcd.yml", **_certificates(project, host)}
    if host == project.topology.monitoring:
        files = {name: f"./{host.name}/{name}" for name in monitoring_files(project)}
        return {**files, **_certificates(project, host)}
    keys = f"../../ssh/{project.name}"
    secrets = {
        "sshd_config": "./sshd_config",
        "ssh_config": "./container_ssh_config",
        "host_key": f"{keys}/host_keys/{host.name}",
        "id_ed25519": f"{keys}/containers_id_ed25519",
        "authorized_keys": "./authorized_keys",
        "known_hosts": f"{keys}/known_hosts",
    }
    if project.topology.repository:
        secrets["pgbackrest.conf"] = f"./{host.name}/pgbackrest.conf"
        secrets["crontab"] = f"./{host.name}/crontab"
    secrets |= _certificates(project, host)
    if host in project.topology.nodes:
        secrets["patroni.conf"] = f"./{host.name}/patroni.conf"
        secrets["pgpass"] = "./pgpass"
    return secrets


def _certificates(project: Project, host: Host) -> dict[str, str]:
    if host not in hosts_with_one(project):
        return {}
    ca, own = authority(project), pair_of(project, host.name)
    paths = {"ca.crt": ca.certificate, "host.crt": own.certificate, "host.key": own.key}
    return {name: f"../../{project.relative(path)}" for name, path in paths.items()}


def identities(project: Project, passwords: Passwords) -> dict[str, str]:
    """Host -> a digest of the keys and certificates that are its own, and of those it trusts when all has come."""
    authorized = authorized_keys_text(project, settled=True)
    found = {}
    for host in project.topology.hosts:
        paths = {name: path for name, path in secrets_of(project, host).items() if name in IDENTITY}
        if not paths:
            continue
        contents = [
            authorized if path.startswith("./") else (project.folder / path).resolve().read_text()
            for path in paths.values()
        ]
        # For whoever asks before it is made: `up --plan`.
        again = ["to be made again"] if is_to_be_made_again(project, host) else []
        found[host.name] = passwords.digest(*contents, *again)
    return found


def identity_marks(project: Project, passwords: Passwords) -> dict[str, str]:
    """Host -> what stands for its keys and certificates in the digest of its container. `inv rotate` brings others into
    a container that runs: for these stands what that was made with."""
    known, before = project.record().identities, coming.marks(project)
    found = identities(project, passwords)
    return {host: before.get(host) or known.get(identity, identity) for host, identity in found.items()}


def _digest(passwords: Passwords, files: dict[str, str], paths: dict[str, str], identity: str | None) -> str:
    """Changes when a file of the container does, so that `up` makes that container again."""
    texts = [files.get(path.removeprefix("./"), "") for name, path in paths.items() if name not in UNRENDERED]
    return passwords.digest(*texts, *([identity] if identity else []))
