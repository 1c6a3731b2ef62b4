"""What an operator may change in the dynamic configuration, and what is refused with whose it is."""

import pytest

from pgha.errors import BadValue
from pgha.model.config_change import read_change, require_free
from pgha.model.settings import read_settings

P = "postgresql.parameters"


@pytest.mark.parametrize(
    ("sets", "unsets", "patch"),
    [
        ([f"{P}.work_mem=8MB"], [], {"postgresql": {"parameters": {"work_mem": "8MB"}}}),
        (
            [f"{P}.auto_explain.log_min_duration=250", f"{P}.jit=off"], [f"{P}.work_mem"],
            {"postgresql": {"parameters": {"auto_explain.log_min_duration": 250, "jit": False, "work_mem": None}}},
        ),
        ([f"{P}.log_line_prefix='%m = '"], [], {"postgresql": {"parameters": {"log_line_prefix": "%m = "}}}),
        (["failsafe_mode=off", "member_slots_ttl=5"], [], {"failsafe_mode": False, "member_slots_ttl": 5}),
        (["failsafe_mode=null"], [], {"failsafe_mode": None}),
        ([f"{P}.x.since=2026-11-26"], [], {"postgresql": {"parameters": {"x.since": "2026-11-26"}}}),
        (
            ["slots.cdc={type: logical, database: app}"], ["slots.old"],
            {"slots": {"cdc": {"type": "logical", "database": "app"}, "old": None}},
        ),
        (["ignore_slots=[{name: cdc}]"], [], {"ignore_slots": [{"name": "cdc"}]}),
    ],
)  # fmt: skip
def test_a_change_is_read_as_patronictl_reads_it(sets, unsets, patch):
    assert read_change(sets, unsets) == patch


@pytest.mark.parametrize(
    ("sets", "unsets", "words", "hint"),
    [
        (["work_mem=8MB"], [], "knows no work_mem", f"{P}.work_mem"),
        ([], ["work_mem"], "knows no work_mem", f"{P}.work_mem"),
        (["tttl=20"], [], "knows no tttl", "ttl?"),
        (["postgresql.parameter.a=1"], [], "knows no postgresql.parameter.a", "parameters?"),
        (["postgresql.use_rewind=1"], [], "knows no postgresql.use_rewind", "use_pg_rewind?"),
        ([f"{P}.work_mem"], [], "has no value", "--unset"),
        ([f"{P}.work_mem="], [], "is given no value", f"--unset {P}.work_mem"),
        ([], [f"{P}.work_mem=8MB"], "has a value", f"--unset {P}.work_mem"),
        ([f"{P}.a=1"], [f"{P}.a"], "is given twice", "each key once"),
        (["slots.a.type=physical"], ["slots.a"], "is given twice", ""),
        ([f"{P}.log_line_prefix=%m"], [], "is not YAML", "quotes of its own"),
        (["postgresql={a: 1}"], [], "is a table", "<name>=<value>"),
        ([], [P], "is a table", f"{P}.<name>=<value>"),
        ([f"{P}.work_mem=[8MB]"], [], "is one value", ""),
        (["slots={}"], [], "would hold nothing", "--unset slots"),
        (["failsafe_mode=maybe"], [], "is true or false", ""),
        (["maximum_lag_on_failover=1MB"], [], "is a whole number", ""),
        (["maximum_lag_on_failover=true"], [], "is a whole number", ""),
        (["failsafe_mode.a=1"], [], "failsafe_mode has no keys", ""),
        (["postgresql..a=1"], [], "is not a key", "inv config"),
        (["=1"], [], "is not a key", ""),
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(sets, unsets, words, hint):
    with pytest.raises(BadValue) as caught:
        read_change(sets, unsets)
    assert words in caught.value.message
    assert hint in caught.value.hint


GIVEN = {"parameters": {"max_wal_size": "2GB"}, "slots": {"cdc": {"database": "app"}}}


@pytest.mark.parametrize(
    ("change", "owner", "hint"),
    [
        ("ttl=30", "the setting ttl", "change the setting ttl, then inv up"),
        ("loop_wait=10", "the setting loop_wait", "inv up"),
        ("synchronous_mode=false", "the setting durability", "change the setting durability"),
        ("synchronous_node_count=1", "the setting durability", ""),
        ("primary_stop_timeout=1", "the setting ttl", ""),
        (f"{P}.max_wal_size=4GB", "the setting parameters (max_wal_size: 2GB)", "change the setting parameters"),
        (f"{P}.synchronous_standby_names='*'", "the setting durability", ""),
        ("slots.cdc.plugin=wal2json", "the setting slots", "change the setting slots"),
        ("slots=null", "the setting slots", ""),
        (f"{P}.archive_command=/bin/true", "inv stanza", "inv stanza"),
        ("postgresql.recovery_conf.restore_command=cp", "inv stanza", ""),
        ("postgresql.create_replica_methods=null", "inv stanza", ""),
        (f"{P}.restore_command=cp", "inv stanza", ""),
        (f"{P}.recovery_min_apply_delay=5s", "postgresql.recovery_conf.recovery_min_apply_delay", ""),
        (f"{P}.recovery_target_time=now", "inv restore", ""),
        (f"{P}.port=5433", "the containers", ""),
        (f"{P}.ssl=off", "the setting tls", "change the setting tls"),
        (f"{P}.hot_standby=off", "Patroni", ""),
        ("pause=true", "inv pause", "inv pause and inv resume"),
        ("standby_cluster.host=x", "nobody: the leader would become a standby", ""),
        ("postgresql.pg_hba=x", "each node's own patroni.conf", ""),
    ],
)
def test_what_is_governed_is_refused_with_its_owner(change, owner, hint):
    with pytest.raises(BadValue) as caught:
        require_free(read_settings(GIVEN), read_change([change], []))
    assert f"is set by {owner}" in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [f"{P}.work_mem=8MB", f"{P}.ssl_min_protocol_version=TLSv1.3", "slots.other.type=physical", "failsafe_mode=false"],
)
def test_all_else_is_the_operator_s(change):
    require_free(read_settings(GIVEN), read_change([change], []))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ssl_min_protocol_version=TLSv1.1", "are broken"),
        ("fsync=off", "fsync off is refused: a crash"),
        ("full_page_writes=false", "a crash"),
        ("synchronous_commit=local", "would not wait for a standby"),
        ("synchronous_commit=off", "would not wait for a standby"),
        ("wal_level=minimal", "standbys need"),
        ("max_connections=5", "at least 25"),
        ("max_connections=many", "at least 25"),
    ],
)
def test_what_breaks_a_promise_is_refused(change, words):
    with pytest.raises(BadValue, match=words):
        require_free(read_settings({}), read_change([f"{P}.{change}"], []))


def test_in_async_a_commit_may_wait_for_nobody():
    patch = read_change([f"{P}.synchronous_commit=off"], [])
    require_free(read_settings({"durability": "async"}), patch)
    require_free(read_settings({"stock": True}), read_change(["primary_stop_timeout=1"], []))
