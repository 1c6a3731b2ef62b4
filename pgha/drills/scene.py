"""What a scenario begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgha.console import Progress
from pgha.errors import NoLeader
from pgha.model.topology import Host, Topology
from pgha.project.project import Project
from pgha.project.running import as_it_runs
from pgha.tools import patroni


def as_it_is(project: Project) -> Project:
    """The project with the ports and the major version of now: a change of the shape may have given other ports, where
    its own were taken. Its shape stays the one that the drill found."""
    now = as_it_runs(replace(project, running=None))
    if now.running is None or project.running is None:
        return project
    settings = replace(project.settings, postgres=now.settings.postgres)
    return replace(project, settings=settings, running=replace(project.running, ports=now.running.ports))


@dataclass(frozen=True)
class Scene:
    """The healthy cluster a scenario begins with."""

    project: Project
    progress: Progress
    view: patroni.ClusterView

    @property
    def topology(self) -> Topology:
        return self.project.topology

    @property
    def as_settings_say(self) -> Project:
        """The project for what follows the settings; a drill begins only where they are what runs."""
        return replace(self.project, running=None)

    @property
    def leader(self) -> Host:
        """Raises Missing when nobody leads."""
        host = self.topology.host(self.view.leader.name) if self.view.leader else None
        if host is None:
            raise NoLeader("There is no leader", "inv status")
        return host

    @property
    def standbys(self) -> list[Host]:
        """The other members, those a commit may wait for first, those of other sites before the leader's own."""
        sync = {member.name for member in self.view.members if member.is_sync}
        others = [node for node in self.topology.nodes if node != self.leader]
        return sorted(others, key=lambda node: (node.name not in sync, node.site == self.leader.site))
