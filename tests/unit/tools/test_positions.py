"""What one etcd member still has, and how far a Postgres is."""

import base64
import json

import pytest

from pgha.errors import ToolFailed
from pgha.tools import etcd_alone, position
from pgha.tools.etcd import KEYS

SYNC = {"leader": "pg1-node1", "sync_standby": "pg2-node1,pg3-node1", "quorum": 1}


def answer(**keys):
    pairs = {key: value if isinstance(value, str) else json.dumps(value) for key, value in keys.items()}
    kvs = [{"key": encoded(KEYS + key.replace("__", "/")), "value": encoded(value)} for key, value in pairs.items()]
    return json.dumps({"header": {}, "kvs": kvs})


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_what_patroni_had_written_is_read_from_one_member():
    known = etcd_alone.parse_known(
        answer(leader="pg1-node1", sync=SYNC, status={"optime": 67108864, "slots": {}}, config={"ttl": 20},
               members__pg1_node1={"state": "running"}, initialize="77")
    )  # fmt: skip
    assert (known.leader, known.led, known.standbys) == ("pg1-node1", "pg1-node1", ("pg2-node1", "pg3-node1"))
    assert (known.waits_for, known.written, known.config) == (1, 67108864, {"ttl": 20})
    assert known.members == ("pg1_node1",)


@pytest.mark.parametrize(
    ("sync", "waits"),
    [
        (SYNC, 1),
        ({**SYNC, "quorum": 0}, 2),
        ({"leader": "pg1-node1", "sync_standby": "pg2-node1"}, 1),
        ({"leader": "pg1-node1", "sync_standby": None, "quorum": 0}, 0),
        ({}, 0),
    ],
)
def test_how_many_standbys_a_commit_waited_for(sync, waits):
    known = etcd_alone.parse_known(answer(sync=sync))
    assert known.waits_for == waits
    assert known.led == sync.get("leader", "")


def test_an_older_status_is_a_number():
    assert etcd_alone.parse_known(answer(status="4711")).written == 4711


@pytest.mark.parametrize("text", ["", "Error: context deadline exceeded", "[]", '{"kvs": [{"key": "a"}]}'])
def test_what_is_no_answer_is_said_with_its_words(text):
    with pytest.raises(ToolFailed):
        etcd_alone.parse_known(text)


def test_the_raft_index_is_read_also_when_there_is_no_leader():
    entry = {"Endpoint": "https://etcd3:2379", "Status": {"raftIndex": 812, "errors": ["etcdserver: no leader"]}}
    assert etcd_alone.parse_index('{"level":"warn"}\n' + json.dumps([entry])) == 812
    with pytest.raises(ToolFailed):
        etcd_alone.parse_index("[]")


def test_a_start_that_gives_the_others_up_keeps_the_rest_of_the_file():
    assert etcd_alone.forcing("name: etcd3\n\n") == "name: etcd3\nforce-new-cluster: true\nsnapshot-count: 1\n"


def told(**changes):
    usual = {"in_recovery": True, "received": "0/5000060", "replayed": "0/5000000", "committed": 1.5, "timeline": 3,
             "receiving": None}  # fmt: skip
    return json.dumps({**usual, **changes})


def test_how_far_a_standby_is():
    assert position.parse_position(told()).furthest == (3, 0x5000060)
    # After a restart it has received nothing; and a receiver knows a timeline that the control file does not have yet.
    assert position.parse_position(told(received=None)).furthest == (3, 0x5000000)
    assert position.parse_position(told(receiving=4, committed=None)).furthest == (4, 0x5000060)
    with pytest.raises(ToolFailed):
        position.parse_position("psql: error")
