"""Which logical slots a standby still has when it leads."""

import json

import pytest

from pgha.errors import ToolFailed
from pgha.tools.slots import LogicalSlot, coverage, parse_slots

ROW = {"slot_name": "cdc", "database": "app", "plugin": "pgoutput", "slot_type": "logical", "wal_status": "reserved"}
CDC = LogicalSlot("cdc", "app", "pgoutput")
DECLARED = {"cdc": {"type": "logical", "database": "app", "plugin": "pgoutput"}}


def test_slots_of_every_major_are_read():
    assert parse_slots(json.dumps([ROW])) == (CDC,)
    newer = {**ROW, "failover": True, "synced": True, "invalidation_reason": None}
    assert parse_slots(json.dumps([newer])) == (LogicalSlot("cdc", "app", "pgoutput", True, True),)


@pytest.mark.parametrize("lost", [{"wal_status": "lost"}, {"invalidation_reason": "rows_removed"}])
def test_a_slot_that_nobody_can_go_on_with_is_none(lost):
    assert parse_slots(json.dumps([{**ROW, **lost}])) == ()


@pytest.mark.parametrize("text", ["", "[{}]", "{}x", '["a"]'])
def test_no_answer_is_an_error(text):
    with pytest.raises(ToolFailed):
        parse_slots(text)


@pytest.mark.parametrize(
    ("slot", "config", "stays"),
    [
        (CDC, {}, False),
        (CDC, {"slots": DECLARED}, True),
        (CDC, {"slots": {"cdc": {"database": "app", "plugin": "pgoutput"}}}, True),
        (CDC, {"slots": {"cdc": {"database": "other", "plugin": "pgoutput"}}}, False),
        (CDC, {"slots": {"cdc": {"database": "app", "plugin": "wal2json"}}}, False),
        (CDC, {"slots": {"cdc": None}}, False),
        (CDC, {"slots": None}, False),
        # Patroni reads the first of these names that there is.
        (CDC, {"permanent_slots": {"other": {}}, "slots": DECLARED}, False),
        (CDC, {"permanent_replication_slots": DECLARED}, True),
        (CDC, {"ignore_slots": [{"name": "cdc"}]}, True),
        (CDC, {"ignore_slots": [{"plugin": "pgoutput", "type": "logical"}]}, True),
        (CDC, {"ignore_slots": [{"name": "cdc", "database": "other"}]}, False),
        (CDC, {"ignore_slots": [{"type": "physical"}]}, False),
        # Patroni never looks at these.
        (LogicalSlot("cdc", "app", "pgoutput", failover=True, synced=True), {}, True),
        (LogicalSlot("cdc", "app", "pgoutput", failover=True), {"slots": DECLARED}, False),
    ],
)
def test_what_a_standby_still_has_when_it_leads(slot, config, stays):
    assert slot.stays(config) is stays
    (slot,) = coverage((slot,), {"b": (slot,), "c": ()}, config)
    assert slot.lacking == (("c",) if stays else ("b", "c"))


def test_a_slot_of_the_configuration_is_created_again_but_not_over_one_that_postgres_synchronizes():
    synchronized = LogicalSlot("cdc", "app", "pgoutput", failover=True)
    for slot, declared in ((CDC, True), (synchronized, False)):
        assert coverage((slot,), {}, {"slots": DECLARED})[0].declared is declared
