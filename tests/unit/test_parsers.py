"""The parsers of pgha/tools on captured answers, and on what is none."""

import copy
import json

import pytest

from pgha.errors import ToolFailed
from pgha.settings import read_settings
from pgha.tools import docker, etcd, patroni, pgbackrest, postgres
from pgha.topology import build_topology

TOPOLOGY = build_topology(read_settings({}))
NODES = [node.name for node in TOPOLOGY.nodes]
ARCHIVER = '{"command" : "/bin/true", "last_archived" : "0001", "last_failed" : null, "failing" : false}\n'


def parse_health(text):
    return etcd.parse_health(text, TOPOLOGY)


# Captured answers -------------------------------------------------------------------------------------------


def test_a_healthy_cluster(captured):
    view = patroni.parse_cluster(captured("cluster.json"))
    assert [member.name for member in view.members] == NODES
    assert view.leader.name == "pg1-node1"
    assert not view.paused
    assert view.not_streaming(NODES) == []
    standby = view.member("pg2-node1")
    assert standby == patroni.Member("pg2-node1", "quorum_standby", "streaming", timeline=2, lag=0)
    assert standby.is_sync and standby.streams and not standby.is_leader


def test_a_leader_tells_its_position_and_who_streams(captured):
    node = patroni.parse_node(captured("patroni_leader.json"))
    assert (node.name, node.role, node.state, node.timeline) == ("pg1-node1", "leader", "running", 2)
    assert node.location == 184550056
    assert node.system_id == "7711236413125439530"
    assert node.server_version == 170012
    assert node.patroni_version == "4.0.7"
    assert list(node.streaming) == NODES[1:]


def test_a_replica_tells_what_it_received(captured):
    node = patroni.parse_node(captured("patroni_replica.json"))
    assert (node.name, node.role, node.state) == ("pg2-node1", "replica", "running")
    assert node.location == 184550056
    assert node.streaming == ()


def test_the_received_position_counts_when_replay_is_behind(captured):
    document = json.loads(captured("patroni_replica.json"))
    document["xlog"].update(received_location=500, replayed_location=400)
    assert patroni.parse_node(json.dumps(document)).location == 500


@pytest.mark.parametrize("role", ["master", "primary", "standby_leader", "leader"])
def test_every_word_for_a_leader_is_leader(captured, role):
    text = captured("cluster.json").replace('"role": "leader"', f'"role": "{role}"')
    assert patroni.parse_cluster(text).leader.name == "pg1-node1"
    text = captured("patroni_leader.json").replace('"role": "primary"', f'"role": "{role}"')
    assert patroni.parse_node(text).role == "leader"


def test_an_unknown_lag_and_a_pause(captured):
    document = json.loads(captured("cluster.json"))
    document["pause"] = True
    document["members"][1]["lag"] = "unknown"
    del document["members"][2]["timeline"]
    view = patroni.parse_cluster(json.dumps(document))
    assert view.paused
    assert view.members[1].lag is None
    assert view.members[2].timeline is None


def test_the_dynamic_configuration(captured):
    document = patroni.parse_config(captured("show_config.yaml"))
    assert document["synchronous_mode"] == "quorum"
    assert document["postgresql"]["parameters"]["archive_command"] == pgbackrest.archive_command()
    assert patroni.merge_patch(document, pgbackrest.archiving()) == {}


def test_the_captured_configuration_is_what_the_settings_ask_for(captured):
    document = patroni.parse_config(captured("show_config.yaml"))
    assert patroni.merge_patch(document, patroni.dynamic_configuration(read_settings({}), TOPOLOGY)) == {}


def test_a_stanza_with_a_backup(captured):
    view = pgbackrest.parse_info(captured("pgbackrest_info.json"))
    assert view.ok and not view.missing and not view.busy
    assert (view.archive_min, view.archive_max) == ("000000010000000000000007", "00000001000000000000000A")
    assert view.newest == pgbackrest.Backup(
        "20261123-053604F", "full", 1795412164, 1795412167, 23477467, 2818792, error=False
    )


@pytest.mark.parametrize("text", [None, "[]"])
def test_no_stanza_is_missing(captured, text):
    view = pgbackrest.parse_info(captured("pgbackrest_info_missing.json") if text is None else text)
    assert view.missing and not view.ok
    assert view.newest is None
    assert view.message.startswith("missing stanza")


@pytest.mark.parametrize(("code", "missing"), [(1, True), (2, False), (3, True)])
def test_a_stanza_without_backups_is_not_missing(captured, code, missing):
    (stanza,) = json.loads(captured("pgbackrest_info.json"))
    stanza.update(backup=[], archive=[], status={"code": code, "message": "words"})
    view = pgbackrest.parse_info(json.dumps([stanza]))
    assert (view.ok, view.missing, view.message, view.newest) == (False, missing, "words", None)


def test_a_running_backup_is_busy_and_a_bad_one_is_marked(captured):
    (stanza,) = json.loads(captured("pgbackrest_info.json"))
    stanza["status"]["lock"]["backup"]["held"] = True
    stanza["backup"][0]["error"] = True
    view = pgbackrest.parse_info(json.dumps([stanza]))
    assert view.busy
    assert view.newest.error


def test_an_etcd_member_that_is_down(captured):
    view = parse_health(captured("etcd_health_one_down.txt"))
    assert view.healthy == ("etcd1", "etcd2", "etcd3", "etcd4")
    assert view.unhealthy == ("etcd5",)
    assert (view.members, view.quorum, view.may_fail, view.has_quorum) == (5, 3, 1, True)


@pytest.mark.parametrize(
    ("healthy", "members", "may_fail", "has_quorum"),
    [(3, 3, 1, True), (2, 3, 0, True), (1, 3, 0, False), (3, 5, 0, True), (2, 5, 0, False), (0, 3, 0, False)],
)
def test_what_etcd_can_still_lose(healthy, members, may_fail, has_quorum):
    view = etcd.EtcdView(("up",) * healthy, ("down",) * (members - healthy))
    assert (view.may_fail, view.has_quorum) == (may_fail, has_quorum)


def test_an_etcd_member_nobody_mentions_is_unhealthy():
    view = parse_health('[{"endpoint": "http://etcd2:2379", "health": true}]')
    assert view.healthy == ("etcd2",)
    assert view.unhealthy == ("etcd1", "etcd3", "etcd4", "etcd5")


def test_containers(captured):
    etcd1, node = docker.parse_containers(captured("container_inspect.json"))
    assert etcd1 == docker.Container(
        "etcd1", "pgha-etcd1", "pgha-etcd-3.5:trixie", "running", "healthy", "312462587f29167e", ()
    )
    assert (node.service, sorted(node.published)) == ("pg1-node1", [50551, 50651])


def test_a_container_without_health_check_or_label(captured):
    (entry, _) = json.loads(captured("container_inspect.json"))
    del entry["State"]["Health"], entry["Config"]["Labels"]["pgha.config"]
    entry["HostConfig"]["PortBindings"] = {"22/tcp": [{"HostIp": "", "HostPort": ""}]}
    (container,) = docker.parse_containers(json.dumps([entry]))
    assert (container.health, container.config, container.published) == ("", "", ())


def test_the_archiver():
    assert postgres.parse_archiver(ARCHIVER) == postgres.Archiver("/bin/true", "0001", False, None)


# What is no answer ------------------------------------------------------------------------------------------

PARSERS = {
    "cluster": (patroni.parse_cluster, "cluster.json"),
    "leader": (patroni.parse_node, "patroni_leader.json"),
    "replica": (patroni.parse_node, "patroni_replica.json"),
    "pgbackrest": (pgbackrest.parse_info, "pgbackrest_info.json"),
    "containers": (docker.parse_containers, "container_inspect.json"),
    "etcd": (parse_health, "etcd_health_one_down.txt"),
    "archiver": (postgres.parse_archiver, None),
}


@pytest.mark.parametrize("parse", [parse for parse, _ in PARSERS.values()])
@pytest.mark.parametrize(
    "text", ["", "curl: (7) Failed to connect", "<html>502</html>", "{", "null", "1", '"text"', "[1]", "[[]]", "\0"]
)
def test_garbage_is_a_failed_tool_with_its_words(parse, text):
    with pytest.raises(ToolFailed) as caught:
        parse(text)
    assert text.strip() in caught.value.message


@pytest.mark.parametrize("text", ["", "a: [", "just words", "- a"])
def test_garbage_is_no_configuration(text):
    with pytest.raises(ToolFailed):
        patroni.parse_config(text)


def damaged(document, at=()):
    """Copies of a document, in each of which one part is gone or is something else."""
    parts = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(parts):
        for other in (None, "text", 7, [], {}, [None], ["text"]):
            changed = copy.copy(document)
            changed[key] = other
            yield (*at, key), other, changed
        if isinstance(document, dict):
            yield (*at, key), "(gone)", {k: v for k, v in document.items() if k != key}
        if isinstance(value, (dict, list)):
            for path, other, inner in damaged(value, (*at, key)):
                changed = copy.copy(document)
                changed[key] = inner
                yield path, other, changed


@pytest.mark.parametrize("name", PARSERS)
def test_a_damaged_answer_is_read_or_is_a_failed_tool(captured, name):
    parse, file = PARSERS[name]
    text = captured(file) if file else ARCHIVER
    # etcdctl's log comes before its JSON line.
    text = text.strip().splitlines()[-1] if name == "etcd" else text
    other_errors = set()
    for path, other, document in damaged(json.loads(text)):
        try:
            parse(json.dumps(document))
        except ToolFailed:
            pass
        except Exception as error:
            other_errors.add(f"{'.'.join(map(str, path))} = {other}: {error!r}")
    assert other_errors == set()
