"""What shall be broken: hosts and sites by name, and whether they can be."""

from __future__ import annotations

from collections.abc import Iterable

from pgha.cluster.view import node_names
from pgha.errors import BadValue, NotUp
from pgha.model.topology import WAN, Host, Site
from pgha.project.project import Project
from pgha.remote import engine
from pgha.tools import docker, postgres


def targets(project: Project, node: str, dc: str) -> list[Host]:
    """The hosts a host's name or a site's name means.

    Raises BadValue unless exactly one of the two is given and known.
    """
    if bool(node) == bool(dc):
        raise BadValue("Name either a node or a data center", "--node pg1-node1, or --dc dc1")
    return [host_named(project, node)] if node else list(project.topology.at(site_named(project, dc)))


def host_named(project: Project, name: str) -> Host:
    host = project.topology.host(name)
    if host is None:
        names = ", ".join(h.name for h in project.topology.hosts)
        raise BadValue(f"{name or 'Nothing'} is not a host of this project", f"--node: one of {names}")
    return host


def postgres_node(project: Project, name: str) -> Host:
    host = host_named(project, name)
    if host not in project.topology.nodes:
        raise BadValue(f"{name} runs no Postgres", f"one of {', '.join(node_names(project))}")
    return host


def site_named(project: Project, name: str) -> Site:
    sites = {site.name: site for site in project.topology.sites}
    if name not in sites:
        raise BadValue(f"{name or 'Nothing'} is not a site of this project", f"one of {', '.join(sites)}")
    return sites[name]


def require_running(project: Project, hosts: Iterable[Host]) -> dict[str, docker.Container]:
    """The project's containers; raises Missing when one of these does not run."""
    engine.require_engine(project)
    containers = engine.containers(project)
    for host in hosts:
        state = containers[host.name].state if host.name in containers else "not there"
        if state != "running":
            raise NotUp(f"{host.name} cannot be broken: its container is {state}", "inv chaos.heal, or inv up")
    return containers


def data_dir(project: Project) -> str:
    return postgres.data_dir(project.settings.postgres)


def wan_network(project: Project) -> str:
    return f"{project.name}_{WAN}"


def helper_image(project: Project) -> str:
    """Every image over the shared layers has nft, tc and mount; this one is there whenever a node is."""
    return project.settings.release.patroni_image
