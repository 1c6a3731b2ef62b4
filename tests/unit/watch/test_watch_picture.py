"""The picture on the terminal, and the sites and lines of the page."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from pgha.cli.show_watch import event_line, picture
from pgha.errors import CutOff, ToolFailed, Unreachable
from pgha.failures.broken import Broken, Mechanism
from pgha.status.document import error_document, survey_document
from pgha.status.problems import find_problems
from pgha.status.survey import Survey
from pgha.tools import etcd
from pgha.watch.events import changes
from pgha.watch.picture import lines, sites
from pgha.watch.stream import Snapshot
from pgha.watch.writes import History

ETCD = ("etcd1", "etcd2", "etcd3")


def cut(project, seen):
    return {(line.a, line.b) for line in lines(project.topology, seen) if line.cut}


def partition(*sites, host="pg2-node1"):
    return Broken(Mechanism.PARTITION, host, sites=sites)


OF_DC2 = {("dc1", "dc2"), ("dc2", "dc3")}


def test_sites_hold_their_hosts_with_role_and_state(project, seen):
    found = {site.name: {host.name: (host.kind, host.role, host.state) for host in site.hosts}
             for site in sites(project.topology, seen)}  # fmt: skip
    assert found["dc1"] == {"etcd1": ("etcd", "", "healthy"), "pg1-node1": ("postgres", "leader", "running")}
    assert found["dc2"]["pg2-node1"] == ("postgres", "replica", "streaming")
    assert list(found) == ["dc1", "dc2", "dc3"]


def test_a_repository_is_as_its_container(make_project, seen):
    topology = make_project(data_centers=3, nodes=1).topology
    (box,) = next(site.hosts for site in sites(topology, seen) if site.name == "backup")
    assert (box.name, box.kind, box.state) == ("pgbackrest", "repository", "missing")


def test_the_monitoring_is_a_site_of_its_own(make_project, seen):
    topology = make_project(data_centers=3, nodes=1, monitoring=True).topology
    (box,) = next(site.hosts for site in sites(topology, seen) if site.kind == "monitoring")
    assert (box.name, box.kind, box.state) == ("monitoring", "monitoring", "missing")


def test_etcd_members_are_as_they_are_seen(project, seen):
    away = {**seen.containers, "etcd3": replace(seen.containers["etcd3"], state="exited")}

    def states(**changes):
        drawn = sites(project.topology, replace(seen, **changes))
        return [host.state for site in drawn for host in site.hosts if host.kind == "etcd"]

    assert states(etcd=etcd.EtcdView(ETCD[:1], ETCD[1:]), containers=away) == [
        "healthy", "not healthy", "container exited",
    ]  # fmt: skip
    assert states(etcd=ToolFailed("no")) == ["unknown"] * 3


def test_a_line_carries_the_standbys_that_stream_over_it(project, seen):
    found = {(line.a, line.b): line.streams for line in lines(project.topology, seen)}
    assert found == {("dc1", "dc2"): 1, ("dc1", "dc3"): 1, ("dc2", "dc3"): 0}
    assert cut(project, seen) == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"broken": (partition("dc2", "dc1", "dc3"),)}, OF_DC2),
        ({"broken": (partition("dc2", "dc1"),)}, {("dc1", "dc2")}),
        ({"broken": (partition("dc2", "pg1-node1", "pg3-node1"),)}, set()),
        ({"broken": (Broken(Mechanism.DELAY, "pg2-node1", sites=("dc2",)),)}, set()),
        ({"broken": ToolFailed("broken.yaml is damaged")}, set()),
        # By what is seen alone: a line that is broken for another reason.
        ({"late": {"pg2-node1": "sees no etcd majority: it is cut off"}}, OF_DC2),
        ({"told": {"pg2-node1": CutOff("no")}, "late": {"pg2-node1": "no"}}, OF_DC2),
        ({"told": {"pg2-node1": Unreachable("gone")}}, set()),
    ],
)
def test_a_line_is_cut_when_chaos_cut_it_or_its_end_is_seen_cut_off(project, seen, changes, expected):
    told = {**seen.told, **changes.get("told", {})}
    assert cut(project, replace(seen, **changes | {"told": told})) == expected


# The terminal -----------------------------------------------------------------------------------------------


def snapshot(project, seen, probed=False):
    document = survey_document(project, Survey(seen, find_problems(seen)))
    events = tuple(changes(None, document, 1_795_000_000.0))
    history = History(1_795_000_000.0)
    history.add([1_795_000_000.1, 1_795_000_000.2, 1_795_000_000.3], 1_795_000_001.0)
    return Snapshot(
        1_795_000_001.5, document, events, events, sites(project.topology, seen), lines(project.topology, seen),
        history.shown(1_795_000_001.5) if probed else None,
    )  # fmt: skip


def drawn(shown, width, height=40):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(picture(shown, "http://127.0.0.1:8800/", width, height))
    return out.getvalue().rstrip("\n").split("\n")


def test_the_picture_has_all_of_it(project, seen):
    text = "\n".join(drawn(snapshot(project, replace(seen, etcd=etcd.EtcdView(ETCD[:2], ETCD[2:])), True), 100))
    for words in ("p  pg1-node1 leads  1 problem  2026-11-18 11:06:41Z  http://127.0.0.1:8800/", "dc1", "pg3-node1",
                  "etcd: 2 of 3 healthy, quorum 2, 0 more may fail", "writes: ", "3/s, longest gap 0.1 s",
                  "! etcd3 is not healthy", "\n11:06:40Z ! etcd3 is not healthy"):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("width", [1, 12, 40, 60, 80])
@pytest.mark.parametrize("height", [1, 5, 24])
def test_no_line_is_longer_than_the_terminal_and_there_are_no_more_than_fit(project, seen, width, height):
    found = drawn(snapshot(project, replace(seen, etcd=etcd.EtcdView(ETCD[:2], ETCD[2:])), True), width, height)
    assert len(found) <= height
    assert max(map(len, found)) <= width


def test_a_narrow_terminal_keeps_member_role_and_state(project, seen):
    header = next(line for line in drawn(snapshot(project, seen), 40) if line.startswith("Member"))
    assert header.split() == ["Member", "Role", "State"]


def test_what_cannot_be_seen_is_said_instead():
    document = error_document(Unreachable("pg1-node1 cannot be reached", "inv up"))
    found = drawn(Snapshot(1_795_000_001.5, document, (), ()), 80)
    assert found[1:] == ["pg1-node1 cannot be reached", "HINT: inv up"]


def test_a_line_has_its_time_in_utc(project, seen, two_hours_ahead):
    (event,) = changes(None, survey_document(project, Survey(seen, ())), 1_795_000_000.9)
    assert event_line(event) == "2026-11-18 11:06:40Z p: pg1-node1 leads, 3 members, healthy"


def test_the_pages_document_is_json_and_has_no_secret(project, seen):
    document = json.loads(json.dumps(snapshot(project, seen, probed=True).as_document()))
    assert set(document) == {"at", "status", "sites", "lines", "writes", "events"}
    assert document["status"]["leader"] == "pg1-node1"
    assert "passw" not in json.dumps(document).lower()
