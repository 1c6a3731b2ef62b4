"""Fixtures for what speaks to a cluster: one of three data centers with a node each, that is played."""

import pytest
from played import Played

from pgha.waiting import wait_until


@pytest.fixture
def project(make_project):
    return make_project(data_centers=3, nodes=1)


@pytest.fixture
def play(project, monkeypatch):
    """Let these modules speak to a played cluster, and wait a moment only."""

    def play(*modules, timeout=0.1):
        played = Played(project)
        quick = {"timeout": timeout, "interval": 0.01}
        for module in modules:
            if hasattr(module, "connect"):
                monkeypatch.setattr(module, "connect", lambda project: played)
            if hasattr(module, "wait_until"):
                monkeypatch.setattr(module, "wait_until", lambda *given, **more: wait_until(*given, **more | quick))
        return played

    return play
