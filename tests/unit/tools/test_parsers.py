"""The parsers of pgha/tools on captured answers, and on what is none."""

import copy
import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Network as NET

import pytest

from pgha.errors import ToolFailed
from pgha.model.dynamic import bootstrap_configuration
from pgha.model.merging import merge_patch
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.tools import (
    beside,
    cron,
    docker,
    etcd,
    ipam,
    patroni,
    pgbackrest,
    postgres,
    repository,
    rotation,
    space,
    trust,
    wal,
)
from pgha.tools.command import Answer
from pgha.tools.leader import Slot, parse_facts

TOPOLOGY = build_topology(read_settings({}))
PLAIN = build_topology(read_settings({"tls": False}))
NODES = [node.name for node in TOPOLOGY.nodes]
ARCHIVER = (
    '{"command" : "/bin/true", "last_archived" : "0001", "last_failed" : null, "failing" : false,'
    ' "waiting" : 3, "waiting_seconds" : 12.5}\n'
)


def parse_health(text):
    return etcd.parse_health(text, TOPOLOGY)


def parse_recovery(text):
    return postgres.parse_recovery_state(Answer(postgres.recovery_state("/pgdata/17"), text, "", 0))


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
    assert document["postgresql"]["parameters"]["archive_command"] == pgbackrest.ARCHIVE_COMMAND
    assert merge_patch(document, pgbackrest.archiving()) == {}


def test_the_captured_configuration_is_what_the_settings_ask_for(captured):
    document = patroni.parse_config(captured("show_config.yaml"))
    wanted = bootstrap_configuration(read_settings({"tls": "off"}), TOPOLOGY)
    del wanted["postgresql"]["parameters"]["archive_command"]
    assert merge_patch(document, wanted) == {}


def test_a_stanza_with_a_backup(captured):
    view = repository.parse_info(captured("pgbackrest_info.json"))
    assert view.ok and not view.missing and not view.busy
    assert (view.archive_min, view.archive_max) == ("000000010000000000000007", "00000001000000000000000A")
    assert view.backups[-1] == repository.Backup(
        "20261123-053604F",
        "full",
        1795412164,
        1795412167,
        23477467,
        2818792,
        error=False,
        wal_start="000000010000000000000008",
        stop_lsn=0x9000050,
    )
    assert (view.archive_id, view.system_id, view.cipher) == ("17-1", "7711236413125439530", "none")
    assert view.backups[-1].timeline == 1
    assert view.backups[-1].consistent_from == 1795412168


@pytest.mark.parametrize("text", [None, "[]"])
def test_no_stanza_is_missing(captured, text):
    view = repository.parse_info(captured("pgbackrest_info_missing.json") if text is None else text)
    assert view.missing and not view.ok
    assert view.backups == ()
    assert view.message.startswith("missing stanza")


@pytest.mark.parametrize(("code", "missing"), [(1, True), (2, False), (3, True)])
def test_a_stanza_without_backups_is_not_missing(captured, code, missing):
    (stanza,) = json.loads(captured("pgbackrest_info.json"))
    stanza.update(backup=[], archive=[], status={"code": code, "message": "words"})
    view = repository.parse_info(json.dumps([stanza]))
    assert (view.ok, view.missing, view.message, view.backups) == (False, missing, "words", ())


def test_a_running_backup_is_busy_and_a_bad_one_is_marked(captured):
    (stanza,) = json.loads(captured("pgbackrest_info.json"))
    stanza["status"]["lock"]["backup"]["held"] = True
    stanza["backup"][0]["error"] = True
    view = repository.parse_info(json.dumps([stanza]))
    assert view.busy
    assert view.backups[-1].error


def test_an_etcd_member_that_is_down(captured):
    view = etcd.parse_health(captured("etcd_health_one_down.txt"), PLAIN)
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


def test_an_alarm_is_no_lost_quorum():
    words = '"error":"Active Alarm(s): NOSPACE "'
    line = ",".join(
        f'{{"endpoint":"https://{m.name}:2379","health":false,"took":"2ms",{words}}}' for m in TOPOLOGY.etcd
    )
    view = parse_health(f"[{line}]\nError: unhealthy cluster")
    assert (view.alarm, view.healthy, len(view.unhealthy)) == ("NOSPACE", (), len(TOPOLOGY.etcd))
    assert parse_health("[]").alarm == ""
    assert etcd.parse_size('[{"Status":{"dbSize":20480,"dbSizeInUse":4096}},{"Status":{"dbSize":24576}}]') == 24576


def test_each_disk_is_counted_once_among_other_documents():
    document = '{"place": "/pgdata", "used": 95, "free": 5}'
    (disk,) = space.parse("\n".join(('{"job": "full"}', document, document)))
    assert (disk.place, disk.size, disk.percent) == ("/pgdata", 100, 95)


def test_the_lock_of_a_leader_and_how_long_it_holds():
    key = '{"header":{},"kvs":[{"key":"L3M=","value":"cGcxLW5vZGUx","lease":7587894935236829959}],"count":1}'
    assert etcd.parse_leader_key("warning\n" + key) == etcd.Lock("pg1-node1", 7587894935236829959)
    assert etcd.parse_leader_key('{"header":{"revision":9}}') is None
    with pytest.raises(ToolFailed, match="did not print its JSON"):
        etcd.parse_leader_key("Error: context deadline exceeded")
    assert etcd.parse_time_to_live('{"id":7587894935236829959,"ttl":14,"granted-ttl":20,"keys":null}') == 14
    assert etcd.parse_time_to_live('{"id":7587894935236829959,"ttl":-1}') is None, "it has expired meanwhile"


def hashed(name, value, compacted=-1):
    header = {"cluster_id": 4, "member_id": 15, "revision": 2027, "raft_term": 8}
    told = {"header": header, "hash": value, "compact_revision": compacted}
    return {"Endpoint": f"https://{name}:2379", "HashKV": told}


def test_hashes_of_etcd_are_asked_at_a_revision_that_all_have():
    status = [
        {"Endpoint": "", "Status": {"header": {"cluster_id": 4, "revision": n}, "raftIndex": 1}} for n in (30, 28)
    ]
    assert etcd.parse_revision("warning\n" + json.dumps(status, separators=(",", ":"))) == 28
    text = "warning\n" + json.dumps([hashed("etcd1", 7), hashed("etcd3", 9, 20)])
    assert etcd.parse_hashes(text, TOPOLOGY) == {"etcd1": (-1, 7), "etcd3": (20, 9)}
    for parse in (etcd.parse_revision, lambda text: etcd.parse_hashes(text, TOPOLOGY)):
        with pytest.raises(ToolFailed):
            parse("Error: context deadline exceeded")


def test_an_etcd_member_nobody_mentions_is_unhealthy():
    view = parse_health('[{"endpoint": "https://etcd2:2379", "health": true}]')
    assert view.healthy == ("etcd2",)
    assert view.unhealthy == ("etcd1", "etcd3", "etcd4", "etcd5")


def test_containers(captured):
    etcd1, node = docker.parse_containers(captured("container_inspect.json"))
    assert etcd1 == docker.Container(
        "etcd1", "pgha-etcd1", "pgha-etcd-3.5:trixie", "running", "healthy", "312462587f29167e", ()
    )
    assert (node.service, sorted(node.published)) == ("pg1-node1", [50551, 50651])


def test_a_container_tells_whether_it_was_given_a_certificate(captured):
    (entry, _) = json.loads(captured("container_inspect.json"))
    for environment, tls in ((None, False), (["PATH=/bin"], False), (["A=b", "ETCDCTL_CERT=/pgha/tls/host.crt"], True)):
        entry["Config"]["Env"] = environment
        assert docker.parse_containers(json.dumps([entry]))[0].tls == tls


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("p-clone running 127.0.0.1:50658->5432/tcp\n", beside.Beside("p-clone", "running", 50658)),
        ("p-clone exited \n", beside.Beside("p-clone", "exited", None)),
    ],
)
def test_a_container_beside_the_cluster(text, found):
    assert beside.parse(text) == found


def test_a_container_without_health_check_or_label(captured):
    (entry, _) = json.loads(captured("container_inspect.json"))
    del entry["State"]["Health"], entry["Config"]["Labels"]["pgha.config"]
    entry["HostConfig"]["PortBindings"] = {"22/tcp": [{"HostIp": "", "HostPort": ""}]}
    (container,) = docker.parse_containers(json.dumps([entry]))
    assert (container.health, container.config, container.published) == ("", "", ())


def test_the_address_a_container_was_made_with_is_known_while_it_does_not_run(captured):
    (entry, _) = json.loads(captured("container_inspect.json"))
    fixed = {"IPAddress": "", "IPAMConfig": {"IPv4Address": "172.30.240.11"}, "NetworkID": "1"}
    chosen = {"IPAddress": "172.18.0.2", "IPAMConfig": None}
    entry["NetworkSettings"] = {"Networks": {"pgha_wan": fixed, "pgha_dc1": chosen}}
    (container,) = docker.parse_containers(json.dumps([entry]))
    assert container.fixed == {"pgha_wan": "172.30.240.11"}
    assert container.addresses == {"pgha_dc1": "172.18.0.2"}


def test_the_networks_of_the_engine(captured):
    bridge, none, wan = ipam.parse_networks(captured("network_inspect.json"))
    assert (bridge.name, bridge.project, bridge.subnets, bridge.ranges) == ("bridge", "", (NET("172.17.0.0/16"),), ())
    assert (none.name, none.subnets) == ("none", ())
    assert (wan.name, wan.project) == ("pgha_wan", "pgha")
    assert (wan.subnets, wan.ranges) == ((NET("172.26.32.0/24"),), (NET("172.26.32.224/27"),))
    assert wan.has("172.26.32.111") and not wan.has("172.26.33.111")


def test_an_ipv6_subnet_beside_the_other_is_left_out(captured):
    entry = json.loads(captured("network_inspect.json"))[0]
    entry["IPAM"]["Config"].append({"Subnet": "fd00::/64", "Gateway": "fd00::1"})
    (network,) = ipam.parse_networks(json.dumps([entry]))
    assert network.subnets == (NET("172.17.0.0/16"),)


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t00000000\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0
tun0\t00000080\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0
tun0\t00F018AC\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
"""


def test_the_routes_of_this_host_without_the_default_one():
    """Nor the two halves of everything that a VPN sets in its place."""
    assert ipam.parse_routes(ROUTES) == {NET("172.17.0.0/16"), NET("172.24.240.0/20")}
    assert ipam.parse_routes("") == frozenset()


def test_the_archiver():
    assert postgres.parse_archiver(ARCHIVER) == postgres.Archiver("/bin/true", "0001", False, None, 3, 12.5)


def facts(**changes):
    slots = [{"name": "cdc", "type": "logical", "active": False, "retained": 9}]
    document = {"archiver": json.loads(ARCHIVER), "slots": slots, "slot_limit": 7, "clients": 3, "client_limit": 97,
                "archive_gap": ["000000010000000000000004"], "timeline": "0000000B",
                "history": "1\t0/5000000\tno recovery target specified\n"}  # fmt: skip
    return json.dumps({**document, **changes})


def test_the_leader_s_postgres_tells_slots_and_connections():
    told = parse_facts(facts())
    assert told.archiver == postgres.parse_archiver(ARCHIVER)
    assert told.slots == (Slot("cdc", "logical", False, 9),)
    assert (told.slot_limit, told.clients, told.client_limit) == (7, 3, 97)
    assert told.archive_gap == ("000000010000000000000004",)
    assert told.history == wal.History(11, ((1, 0x5000000),))
    assert parse_facts(facts(timeline="00000001", history=None)).history == wal.History(1, ())


@pytest.mark.parametrize("text", ["", "{}", facts(slots=None), facts(slots=[{"name": "x"}])])
def test_what_the_leader_did_not_answer_is_a_failed_tool(text):
    with pytest.raises(ToolFailed, match="question about the leader"):
        parse_facts(text)


def test_cron_s_table_tells_the_jobs_it_runs():
    table = "# times\nSHELL=/bin/sh\n* * * * * scheduled /folder incr pgbackrest --stanza=x backup\n"
    assert cron.parse_table(table) == {"incr": "* * * * *"}


def test_an_encrypted_repository(captured):
    view = repository.parse_info(captured("pgbackrest_info_encrypted.json"))
    assert (view.cipher, view.archive_id, view.system_id) == ("aes-256-cbc", "17-1", "7711289045087797297")
    assert (view.backups[-1].wal_start, view.backups[-1].stop_lsn) == ("000000010000000000000006", 0x7000088)


def test_a_stanza_that_is_missing_has_no_archive(captured):
    view = repository.parse_info(captured("pgbackrest_info_missing.json"))
    assert (view.archive_id, view.system_id, view.cipher) == ("", "", "none")


def test_the_newest_database_s_archive_counts(captured):
    (stanza,) = json.loads(captured("pgbackrest_info.json"))
    stanza["archive"].append({"database": {"id": 2, "repo-key": 1}, "id": "18-2", "min": None, "max": None})
    stanza["db"].append({"id": 2, "repo-key": 1, "system-id": 42, "version": "18"})
    view = repository.parse_info(json.dumps([stanza]))
    assert (view.archive_id, view.system_id, view.archive_max) == ("18-2", "42", None)


# The archive ------------------------------------------------------------------------------------------------


def test_the_archive_s_files(captured):
    archive = repository.parse_archive(captured("pgbackrest_repo_ls.json"))
    assert archive.segments == {
        1: {5: 1795424408, 6: 1795424409, 7: 1795424411},
        2: {8: 1795424440},
    }
    assert archive.paths == {
        name[:24]: f"{name[:16]}/{name}.zst"
        for name in (
            "000000010000000000000005-d3e670f34b738c75303604e30663244305e73fec",
            "000000010000000000000006-4795daf2f062977ad19a1278e6d24e435b6a81ea",
            "000000010000000000000007-3a8c3072caba34ae03a2e008cfd31e5717a8dc1d",
            "000000020000000000000008-452ff740245087b71227b1e1c59e5e5c5a397a03",
        )
    }
    assert archive.histories == (2,)
    assert archive.newest_timeline == 2
    assert (archive.last(1), archive.last(2), archive.last(3)) == (7, 8, None)


def test_only_whole_segments_are_wal():
    files = {
        "0000000100000000/000000010000000000000007-cb83bb34.zst": {"type": "file", "size": 7, "time": 100},
        "0000000100000000/000000010000000000000008.00000028.backup": {"type": "file", "size": 7, "time": 100},
        "0000000100000000/000000010000000000000008.partial-cb83bb34.zst": {"type": "file", "size": 7, "time": 100},
        "0000000100000001/0000000100000001000000FF-cb83bb34": {"type": "file", "size": 7, "time": 102},
        "0000000A.history": {"type": "file", "size": 7, "time": 100},
        "00000002.history": {"type": "file", "size": 7, "time": 100},
        "archive.info": {"type": "file", "size": 7, "time": 100},
    }
    archive = repository.parse_archive(json.dumps(files))
    paths = {
        "000000010000000000000007": "0000000100000000/000000010000000000000007-cb83bb34.zst",
        "0000000100000001000000FF": "0000000100000001/0000000100000001000000FF-cb83bb34",
    }
    assert archive == repository.Archive({1: {7: 100, 511: 102}}, (2, 10), paths)
    assert archive.newest_timeline == 10


def test_an_empty_archive():
    archive = repository.parse_archive('{".":{"type":"path"}}')
    assert archive == repository.Archive({}, (), {})
    assert archive.newest_timeline == 1
    assert archive.last(1) is None


HISTORY = "1\t0/8000000\tno recovery target specified\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (f"== 00000002.history\n{HISTORY}\n", {"00000002.history": f"\n{HISTORY}\n"}),
        (
            f"== 00000002.history\n{HISTORY}\n== 00000003.history\n{HISTORY}\n2\t0/9000000\tthat's == it\n\n",
            {
                "00000002.history": f"\n{HISTORY}\n",
                "00000003.history": f"\n{HISTORY}\n2\t0/9000000\tthat's == it\n\n",
            },
        ),
    ],
)
def test_archived_files_come_with_their_names(text, found):
    assert pgbackrest.parse_archived(text) == found


COMMIT = (
    "00000001000000000000000A rmgr: Transaction len (rec/tot):    405/   405, tx:        760, lsn: 0/0A0771C0,"
    " prev 0/0A077180, desc: COMMIT 2026-11-23 08:36:27.253816 UTC; inval msgs: catcache 80"
)
POINT = (
    "00000001000000000000000A rmgr: XLOG        len (rec/tot):     98/    98, tx:        760, lsn: 0/0A077118,"
    " prev 0/0A0770D8, desc: RESTORE_POINT alpha beta"
)
ENDED = datetime(2026, 11, 23, 8, 36, 27, 253816, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ("", []),
        (COMMIT, [pgbackrest.WalRecord("00000001000000000000000A", 0xA0771C0, ENDED)]),
        (POINT, [pgbackrest.WalRecord("00000001000000000000000A", 0xA077118, None)]),
        (COMMIT.replace("COMMIT", "ABORT"), [pgbackrest.WalRecord("00000001000000000000000A", 0xA0771C0, ENDED)]),
        (
            COMMIT.replace("COMMIT", "COMMIT_PREPARED 760:"),
            [pgbackrest.WalRecord("00000001000000000000000A", 0xA0771C0, ENDED)],
        ),
        (
            f"{POINT}\n{COMMIT}\n",
            [
                pgbackrest.WalRecord("00000001000000000000000A", 0xA077118, None),
                pgbackrest.WalRecord("00000001000000000000000A", 0xA0771C0, ENDED),
            ],
        ),
    ],
    ids=["nothing", "commit", "restore-point", "abort", "prepared", "two"],
)
def test_wal_records(text, records):
    assert pgbackrest.parse_wal_records(text) == records


@pytest.mark.parametrize("text", ["pg_waldump: error", COMMIT[25:], f"{COMMIT}\n\n{POINT}", "sh: find-wal: not found"])
def test_what_is_no_wal_record_is_a_failed_tool(text):
    with pytest.raises(ToolFailed, match="did not show a record"):
        pgbackrest.parse_wal_records(text)


DAMAGED_WAL = (
    "invalid result 17-1/0000000100000000/000000010000000000000008-efde3a1c.zst: [29] raised from local-2 protocol:"
    " zst error: [-20] Data corruption detected"
)
REPOSITORY_READ = f"""\
2026-11-23 08:32:20.100 P00   INFO: verify command begin 2.55.1: --exec-id=1-2 --verbose
2026-11-23 08:32:20.591 P02   INFO: invalid checksum '20261123-083138F/bundle/3'
2026-11-23 08:32:20.600 P02   INFO: {DAMAGED_WAL}
2026-11-23 08:32:20.601 P01   INFO: file missing '20261123-083138F/pg_data/base/5/1259.zst'
2026-11-23 08:32:20.700 P00   INFO: Results:
                                    stanza: pg_ha_db
                                    status: error
                                      archiveId: 17-1, total WAL checked: 6, total valid WAL: 5
                                        missing: 0, checksum invalid: 1, size invalid: 0, other: 1
2026-11-23 08:32:20.701 P00   INFO: verify command end: completed successfully (650ms)
"""


def test_damaged_files_are_named():
    assert pgbackrest.parse_damage(REPOSITORY_READ) == [
        "invalid checksum '20261123-083138F/bundle/3'",
        DAMAGED_WAL,
        "file missing '20261123-083138F/pg_data/base/5/1259.zst'",
    ]


def test_a_good_repository_names_no_file():
    good = [line for line in REPOSITORY_READ.splitlines() if "'" not in line and "zst" not in line]
    assert len(good) == 7
    assert pgbackrest.parse_damage("\n".join(good)) == []


VERIFIED = (
    '{"label": "20261123-083138F", "node": "pg2-node1", "started": 100, "ok": true, "seconds": {"restore": 1.5},'
    ' "bytes": 31000, "rows": {"postgres": {"public.t": 3}}, "ended": 110}'
)


def test_a_verification_is_the_last_line_that_is_one():
    found = pgbackrest.Verification(
        "20261123-083138F",
        "pg2-node1",
        True,
        True,
        100,
        110,
        {"restore": 1.5},
        31000,
        {"postgres": {"public.t": 3}},
        "",
    )
    older = VERIFIED.replace("083138F", "070000F")
    assert pgbackrest.parse_verification(VERIFIED) == found
    assert pgbackrest.parse_verification(f'{older}\nrestored\n{VERIFIED}\n{{"job": "full"}}\n') == found


def test_a_verification_that_failed_says_why():
    text = (
        '{"label": "", "node": "pg2-node1", "started": 1, "ok": false, "seconds": {}, "error": "no backup", "ended": 2}'
    )
    found = pgbackrest.parse_verification(text)
    assert (found.ok, found.error, found.bytes, found.rows) == (False, "no backup", 0, {})
    assert found.checked, "what older images kept was a verdict"


def test_a_check_that_could_not_be_made_is_told_apart():
    found = pgbackrest.parse_verification(VERIFIED.replace('"ok": true', '"ok": false, "checked": false'))
    assert (found.ok, found.checked) == (False, False)


@pytest.mark.parametrize("text", ["", "restored", '{"job": "full"}', "[1]"])
def test_without_a_proof_there_is_none(text):
    assert pgbackrest.parse_verification(text) is None


# A server started by hand ---------------------------------------------------------------------------------------------


def recovering(exit_code=0, stderr="", **changes):
    document = {"in_recovery": True, "paused": True, "lsn": "0/9000050", "last_transaction": None, "timeline": 0}
    return Answer(postgres.recovery_state("/pgdata/17"), json.dumps({**document, **changes}), stderr, exit_code)


def test_a_server_that_does_not_run_says_its_last_words():
    answer = Answer(postgres.recovery_state("/pgdata/17"), "", "FATAL:  requested recovery stop point\n", 3)
    state = postgres.parse_recovery_state(answer)
    assert not state.running
    assert state.words == "FATAL:  requested recovery stop point"


@pytest.mark.parametrize(
    ("stdout", "exit_code"),
    [("", 2), ("", 124), ("psql: error", 2), ("null", 0), ("[]", 0), ("{}", 0), ('"text"', 0),
     (recovering(lsn=None).stdout, 0), (recovering(lsn="text").stdout, 0), (recovering(last_transaction=7).stdout, 0)],
)  # fmt: skip
def test_what_is_no_answer_is_a_server_that_starts(stdout, exit_code):
    answer = Answer(postgres.recovery_state("/pgdata/17"), stdout, "", exit_code)
    state = postgres.parse_recovery_state(answer)
    assert (state.running, state.in_recovery, state.paused) == (True, True, False)


def test_a_server_that_replays():
    state = postgres.parse_recovery_state(recovering(paused=False))
    assert (state.running, state.in_recovery, state.paused, state.lsn) == (True, True, False, 0x9000050)


def test_a_server_that_has_paused_tells_the_last_transaction():
    state = postgres.parse_recovery_state(recovering(last_transaction="2026-11-23T08:36:27.253816"))
    assert (state.paused, state.last_transaction) == (True, ENDED)
    assert postgres.parse_recovery_state(recovering()).last_transaction is None


def test_a_server_that_is_promoted_has_its_timeline():
    state = postgres.parse_recovery_state(recovering(in_recovery=False, paused=False, timeline=5))
    assert (state.running, state.in_recovery, state.timeline) == (True, False, 5)


def test_a_stopped_standby_s_position(captured):
    assert postgres.parse_position(captured("pg_controldata.txt")) == (1, 0x7000088)


@pytest.mark.parametrize(
    ("timeline", "written", "recovered", "replayed", "position"),
    [
        (3, "0/A000000", 0, "0/0", (3, 0xA000000)),
        (3, "0/A000000", 3, "1/0", (3, 1 << 32)),
        (3, "0/A000000", 4, "0/9000000", (4, 0xA000000)),
    ],
    ids=["primary", "standby", "after-a-switch"],
)
def test_a_position_is_the_furthest_there_is(captured, timeline, written, recovered, replayed, position):
    text = captured("pg_controldata.txt")
    for field, value in {
        "Latest checkpoint's TimeLineID": timeline,
        "Latest checkpoint location": written,
        "Min recovery ending loc's timeline": recovered,
        "Minimum recovery ending location": replayed,
    }.items():
        text, count = re.subn(rf"^({field}:\s+).*$", rf"\g<1>{value}", text, flags=re.MULTILINE)
        assert count == 1
    assert postgres.parse_position(text) == position


@pytest.mark.parametrize("text", ["", "pg_controldata: error", "Latest checkpoint's TimeLineID: 1", "{}"])
def test_what_is_no_control_data_is_a_failed_tool(text):
    with pytest.raises(ToolFailed, match="pg_controldata"):
        postgres.parse_position(text)


def test_a_damaged_position_is_a_failed_tool(captured):
    for old in ("0/6000080", "0/7000088"):
        with pytest.raises(ToolFailed):
            postgres.parse_position(captured("pg_controldata.txt").replace(old, "nonsense"))


@pytest.mark.parametrize(
    ("text", "room"), [("1000\n500\t/pgdata/17\n", (1000, 500)), ("1000\n0\n", (1000, 0))], ids=["data", "no-data"]
)
def test_room(text, room):
    assert postgres.parse_room(text) == room


@pytest.mark.parametrize("text", ["", "1000\n", "df: no such file\n0\n", "1\n2\n3\n", "\n\n"])
def test_what_is_no_room_is_a_failed_tool(text):
    with pytest.raises(ToolFailed, match="df and du"):
        postgres.parse_room(text)


LOG = """\
2026-11-23 08:40:01,000 INFO: trying to bootstrap from leader 'pg1-node1'
2026-11-23 08:40:03,000 INFO: replica has been created using pgbackrest
2026-11-23 08:45:03,000 INFO: replica has been created using basebackup
"""


@pytest.mark.parametrize(("log", "method"), [("", ""), (LOG, "basebackup"), (LOG[:150], "pgbackrest")])
def test_which_method_made_a_replica_last(log, method):
    assert pgbackrest.parse_replica_method(log) == method


# cron -------------------------------------------------------------------------------------------------------

FULL = '{"job": "full", "started": 100, "ended": 130, "exit_code": 0}'


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("", {}),
        ("\n", {}),
        (FULL, {"full": cron.Result("full", 100, 130, 0)}),
        (f"{VERIFIED}\n{FULL}\n", {"full": cron.Result("full", 100, 130, 0)}),
        (
            f"{FULL}\n" + FULL.replace("full", "verify-repository").replace('code": 0', 'code": 1'),
            {
                "full": cron.Result("full", 100, 130, 0),
                "verify-repository": cron.Result("verify-repository", 100, 130, 1),
            },
        ),
    ],
)
def test_how_the_jobs_ended(text, jobs):
    assert cron.parse_results(text) == jobs


@pytest.mark.parametrize("text", ["cat: error", "{", '{"job": "full"}', "7", '"a job"'])
def test_a_result_that_is_none_is_a_failed_tool(text):
    with pytest.raises(ToolFailed, match="result cannot be read"):
        cron.parse_results(text)


# What is no answer ------------------------------------------------------------------------------------------

PARSERS = {
    "cluster": (patroni.parse_cluster, "cluster.json"),
    "leader": (patroni.parse_node, "patroni_leader.json"),
    "replica": (patroni.parse_node, "patroni_replica.json"),
    "pgbackrest": (repository.parse_info, "pgbackrest_info.json"),
    "containers": (docker.parse_containers, "container_inspect.json"),
    "networks": (ipam.parse_networks, "network_inspect.json"),
    "etcd": (parse_health, "etcd_health_one_down.txt"),
    "archiver": (postgres.parse_archiver, ARCHIVER),
    "archive": (repository.parse_archive, "pgbackrest_repo_ls.json"),
    "encrypted": (repository.parse_info, "pgbackrest_info_encrypted.json"),
    "verification": (pgbackrest.parse_verification, VERIFIED),
    "job": (cron.parse_results, FULL),
    "recovery": (parse_recovery, recovering().stdout),
}


@pytest.mark.parametrize(
    "parse", [PARSERS[name][0] for name in PARSERS if name not in ("verification", "job", "recovery")]
)
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
    text = file if file.startswith("{") else captured(file)
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


MEMBERS = json.dumps({
    "members": [
        {"ID": 0xA1, "name": "etcd1", "peerURLs": ["https://etcd1:2380"], "clientURLs": ["https://etcd1:2379"]},
        {"ID": 0xB2, "peerURLs": ["https://etcd2:2380"]},
    ]
})  # fmt: skip


def test_an_etcd_member_is_known_by_its_name_or_before_it_ever_started_by_its_address():
    found = {entry.name: entry for entry in etcd.parse_members(MEMBERS)}
    assert {name: (entry.id, entry.started, entry.learner) for name, entry in found.items()} == {
        "etcd1": ("a1", True, False), "etcd2": ("b2", False, False),
    }  # fmt: skip
    learner = MEMBERS.replace('"peerURLs"', '"isLearner": true, "peerURLs"', 1)
    assert [entry.learner for entry in etcd.parse_members(learner)] == [True, False]
    for text in ("{}", '{"members": [{"ID": 1, "peerURLs": []}]}', "Error"):
        with pytest.raises(ToolFailed):
            etcd.parse_members(text)


def test_an_etcd_member_that_joins_is_told_who_is_there_and_nothing_else_changes():
    text = "name: etcd4\ninitial-cluster: etcd1=https://etcd1:2380\ninitial-cluster-state: new\nlog-level: warn\n"
    assert etcd.joining(TOPOLOGY, text, ["etcd1", "etcd4"]) == (
        "name: etcd4\ninitial-cluster: etcd1=https://etcd1:2380,etcd4=https://etcd4:2380\n"
        "initial-cluster-state: existing\nlog-level: warn\n"
    )


def test_an_etcd_member_that_lost_its_data_says_so():
    assert etcd.is_lost('{"level":"fatal","error":"member a1 has already been bootstrapped"}')
    assert etcd.is_lost('{"level":"error","error":"the member has been permanently removed from the cluster"}')
    assert not etcd.is_lost("ready to serve client requests")


# Whom a server trusts, and what it shows --------------------------------------------------------------------


def test_what_a_tls_server_shows_and_whom_it_trusts(captured):
    told = captured("s_client.txt")
    shown = trust.parse_server(told)
    assert shown.certificate.startswith("-----BEGIN CERTIFICATE-----\nMIIB") and shown.certificate.endswith("-----\n")
    assert len(shown.authorities) == 1
    (name,) = shown.authorities
    two = told.replace(f"CA names\nCN={name}\n", f"CA names\nCN={name}\nCN = pgha CA 1234abcd\n")
    assert trust.parse_server(two).authorities == (name, "pgha CA 1234abcd")
    old = told.replace(f"CA names\nCN={name}\n", "CA names\nO = x, CN = pgha CA\n")
    assert trust.parse_server(old).authorities == ("pgha CA",)


@pytest.mark.parametrize("text", ["", "connect: Connection refused\nconnect:errno=111\n"])
def test_a_server_that_does_not_answer_shows_nothing(text):
    with pytest.raises(ToolFailed, match="shows no certificate"):
        trust.parse_server(text)


def test_a_postgres_that_does_not_run_shows_nothing_and_that_is_no_fault(captured):
    assert trust.parse_listening("connect:errno=111\n", "Postgres") is None
    assert trust.parse_listening("...:Connection refused:...\nconnect:errno=111\n", "Postgres") is None
    assert trust.parse_listening(captured("s_client.txt"), "Postgres") == trust.parse_server(captured("s_client.txt"))
    with pytest.raises(ToolFailed, match="Postgres shows no certificate"):
        trust.parse_listening("CONNECTED(00000003)\nunexpected EOF\n", "Postgres")


def test_the_host_key_an_sshd_shows():
    told = "# localhost:22 SSH-2.0-OpenSSH_10.0\nlocalhost ssh-ed25519 AAAAC3Nz\n"
    assert trust.parse_host_key(told) == "ssh-ed25519 AAAAC3Nz"
    with pytest.raises(ToolFailed, match="no host key"):
        trust.parse_host_key("")


def test_the_socket_of_the_rest_api():
    line = "LISTEN 0      5            0.0.0.0:8008      0.0.0.0:*    uid:950 ino:81722 sk:1 cgroup:/docker <->\n"
    assert rotation.parse_listener(line) == "81722"
    assert rotation.parse_listener("") == ""
