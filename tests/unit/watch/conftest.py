"""A cluster that is played by a few lines, looked at as `inv status` and `inv watch` do."""

import pytest
from played import Played

from pgha.backup import stanza
from pgha.cluster import quorum, slots, view
from pgha.status import survey
from pgha.tools import docker
from pgha.watch import looking


@pytest.fixture
def project(make_project):
    """Three data centers with one node each, and no repository."""
    return make_project(project="p", data_centers=3, nodes=1, pgbackrest=False)


@pytest.fixture
def played(project, monkeypatch):
    """Its members, and `asked`: who was asked, and for what."""
    cluster = Played(project)
    cluster.asked, answers = [], cluster.run

    def run(host, command, line=None):
        cluster.asked.append((host, command.argv[0]))
        return answers(host, command, line)

    cluster.run = run
    for module in (quorum, slots, stanza, view):
        monkeypatch.setattr(module, "connect", lambda project: cluster)
    monkeypatch.setattr(survey, "log_in", lambda project, leader: None)
    monkeypatch.setattr(survey, "_coverage", lambda *given: ())
    monkeypatch.setattr(survey.verification, "read_kept", lambda project: survey.verification.Kept((), {}))
    monkeypatch.setattr(survey, "read_facts", lambda project, leader: None)
    cluster.containers = {host.name: container(host.name) for host in project.topology.hosts}

    def take(project):
        cluster.taken += 1
        if cluster.error:
            raise cluster.error
        seen = survey.look(project, dict(cluster.containers))
        return survey.Survey(seen, ())

    cluster.taken, cluster.error = 0, None
    monkeypatch.setattr(looking, "take", take)
    return cluster


def container(name, state="running"):
    networks = {f"p_dc{name.strip('etcdpg')[0]}": "", "p_wan": ""}
    return docker.Container(name, f"p-{name}", "image", state, "", "", (), networks)


@pytest.fixture
def seen(project, played):
    """It is well."""
    return looking.take(project).seen
