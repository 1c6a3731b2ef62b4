"""Fixtures for what speaks to a cluster: one of three data centers with a node each, that is played."""

import pytest
from played import Played


@pytest.fixture
def project(make_project):
    return make_project(data_centers=3, nodes=1)


@pytest.fixture
def play(project, monkeypatch, hurry):
    """Let these modules speak to a played cluster, and wait a moment only."""

    def play(*modules, timeout=0.1):
        played = Played(project)
        for module in modules:
            if hasattr(module, "connect"):
                monkeypatch.setattr(module, "connect", lambda project: played)
            if hasattr(module, "wait_until"):
                hurry(module, timeout)
        return played

    return play
