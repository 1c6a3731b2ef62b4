"""The record of what chaos broke."""

from dataclasses import replace

import pytest

from pgha.errors import BadValue, Missing
from pgha.failures import aims, broken, containers
from pgha.failures.broken import Broken

CUT = Broken("partition", "etcd2", sites=("dc2", "dc1", "backup"))
PAUSED = Broken("pause", "pg1-node1", "patroni")


@pytest.fixture
def project(a_project):
    return a_project


def test_nothing_is_broken_at_first(project):
    assert broken.read(project) == ()


def test_what_is_written_down_is_read_again_and_forgotten_one_by_one(project):
    broken.add(project, [CUT])
    broken.add(project, [PAUSED])
    assert broken.read(project) == (CUT, PAUSED)
    broken.remove(project, [CUT])
    assert broken.read(project) == (PAUSED,)
    broken.remove(project, [PAUSED])
    assert broken.read(project) == ()
    assert not broken.path_of(project).exists()


def test_what_is_broken_once_more_is_written_again(project):
    broken.add(project, [replace(CUT, started="9:00"), PAUSED])
    broken.add(project, [replace(CUT, started="9:30")])
    assert [(entry, entry.started) for entry in broken.read(project)] == [(PAUSED, ""), (CUT, "9:30")]


@pytest.mark.parametrize(
    ("entry", "state", "started", "over"),
    [
        (CUT, "running", "9:00", False),
        (CUT, "running", "9:30", True),  # a new network
        (CUT, "exited", "9:30", False),
        (CUT, "", "", False),
        (PAUSED, "running", "9:00", False),
        (PAUSED, "running", "9:30", True),  # new processes
        (Broken("stop", "etcd1"), "running", "9:00", False),  # the engine may be about to stop it
        (Broken("stop", "etcd1"), "exited", "9:00", False),
        (Broken("stop", "etcd1"), "running", "9:30", True),
        (Broken("pause", "etcd1"), "paused", "9:00", False),
        (Broken("pause", "etcd1"), "running", "9:00", True),
        (Broken("fill", "pg1-node1"), "running", "9:30", False),  # its data is not the newest
    ],
)
def test_a_container_that_is_started_again_is_unbroken(entry, state, started, over):
    assert replace(entry, started="9:00").is_over(state, started) is over
    # One that does not say when its container was started is not forgotten for that.
    assert replace(entry, started="").is_over(state, started) is (over and entry == Broken("pause", "etcd1"))


@pytest.mark.parametrize(
    "text", ["- 7\n", "a: b\n", "- {mechanism: stop}\n", "[", "- {host: a, mechanism: b, process: "]
)
def test_a_damaged_record_is_named(project, text):
    broken.add(project, [CUT])
    broken.path_of(project).write_text(text)
    with pytest.raises(Missing, match=r"build/pgha/broken\.yaml is damaged"):
        broken.read(project)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (CUT, "etcd2 is cut off from dc1, backup"),
        (PAUSED, "patroni on pg1-node1 is paused"),
        (Broken("kill", "etcd1"), "etcd1 is killed"),
        (Broken("fill", "pg1-node1"), "the disk of pg1-node1 is full"),
        (Broken("delay", "etcd1", sites=("dc1",), milliseconds=40), "etcd1 sends 40 ms late"),
    ],
)
def test_an_entry_in_words(entry, words):
    assert str(entry) == words


def test_a_site_means_all_its_hosts(project):
    assert [host.name for host in aims.targets(project, "", "dc2")] == ["etcd2", "etcd5", "pg2-node1", "pg2-node2"]
    assert [host.name for host in aims.targets(project, "pgbackrest", "")] == ["pgbackrest"]


@pytest.mark.parametrize(("node", "dc"), [("", ""), ("etcd1", "dc1"), ("etcd9", ""), ("", "dc9")])
def test_a_target_that_cannot_be_is_refused(project, node, dc):
    with pytest.raises(BadValue):
        aims.targets(project, node, dc)


@pytest.mark.parametrize(
    ("node", "process"), [("etcd1", "patroni"), ("pgbackrest", "postgres"), ("pg1-node1", "nginx")]
)
def test_a_process_a_host_does_not_have_is_refused(project, node, process):
    with pytest.raises(BadValue):
        containers.signal_hosts(project, "kill", aims.targets(project, node, ""), process)
