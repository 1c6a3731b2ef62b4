"""What a restore decides and remembers; what it does is tested on real clusters."""

from dataclasses import replace

import pytest
import yaml

from pgha.backup import abort, members, preparation
from pgha.backup.catalogue import Catalogue
from pgha.backup.restore_record import (
    FILE,
    Record,
    Stage,
    describe_restore,
    describe_target,
    read_restore,
    refuse_half_done,
    way_on,
    write_restore,
)
from pgha.backup.targets import Request, Situation
from pgha.console import Progress
from pgha.errors import BadValue, Missing, Unreachable
from pgha.tools import patroni, pgbackrest, postgres, repository
from pgha.tools.command import Answer

NAMES = ["a", "b", "c"]
RECORD = Record(
    request={"time": "2026-11-23 08:30:00+00:00", "lsn": "", "xid": "", "name": "", "set": "", "timeline": "1"},
    began=1795422696.5,
    stage="restored",
    leader="pg1-node1",
    keep="pg1-node1",
    node="pg2-node1",
    config={"ttl": 20, "postgresql": {"parameters": {"archive_mode": "on"}}},
    label="20261123-053604F",
    kind="time",
    value="2026-11-23 08:30:00+00",
    timeline=3,
    parents=[[1, 0x8000000], [2, 0x16B374D848]],
    reached={"lsn": "0/9000050", "time": "", "timeline": 1},
    methods={"pg3-node1": "pgbackrest (delta)"},
    seconds={"restore": 1.5},
    notes=["--time has no zone; UTC was assumed"],
)


# Whose data stays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leader", "positions", "keep", "node"),
    [
        # The leader's data stays; the next furthest is restored into.
        ("a", {"a": (1, 100), "b": (1, 90), "c": (1, 95)}, "a", "c"),
        ("b", {"a": (1, 100), "b": (1, 90), "c": (1, 95)}, "b", "a"),
        # A newer timeline is further than more bytes of an older one.
        ("a", {"a": (2, 100), "b": (2, 90), "c": (1, 95)}, "a", "b"),
        # Without a leader, or with one that has lost its data, what goes furthest stays.
        ("", {"a": (1, 100), "b": (2, 90), "c": (2, 95)}, "c", "b"),
        ("a", {"b": (1, 90), "c": (1, 95)}, "c", "b"),
        # Nobody else has data: any of them.
        ("a", {"a": (1, 100)}, "a", "b"),
        ("", {"c": (1, 100)}, "c", "a"),
        ("a", {}, "", "a"),
    ],
)
def test_whose_data_stays_and_where_the_restored_data_goes(leader, positions, keep, node):
    assert members.choose_members(NAMES, leader, positions) == (keep, node)


@pytest.mark.parametrize(
    ("leader", "positions", "keep"), [("a", {"a": (1, 100)}, "a"), ("", {"a": (1, 100)}, "a"), ("", {}, "")]
)
def test_a_single_node_is_restored_into(leader, positions, keep):
    assert members.choose_members(["a"], leader, positions) == (keep, "a")


# The record -------------------------------------------------------------------------------------------------


def damage(project, content):
    path = project.folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_record_comes_back_as_it_was_written(a_project):
    assert read_restore(a_project) is None
    for stage in list(Stage):
        written = replace(RECORD, stage=stage)
        write_restore(a_project, written)
        assert read_restore(a_project) == written


def test_a_new_restore_is_held_and_has_reached_nothing(a_project):
    damage(a_project, yaml.safe_dump({"request": {}, "began": 1.0}).encode())
    record = read_restore(a_project)
    assert (record.stage, record.node, record.keep, record.reached) == ("held", "", "", {})


def written(**changes):
    return yaml.safe_dump({"request": {}, "began": 1.0, **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"text", b"a: [", b"\xff\xfe", b"stage: held", b"request: {}", written(nosuch=1),
        written(request="time"), written(request={"nosuch": "x"}), written(began="soon"), written(stage="nosuch"),
        written(stage=None),
    ],
)  # fmt: skip
def test_a_damaged_record_is_named_with_the_way_out(a_project, content):
    damage(a_project, content)
    with pytest.raises(Missing, match=r"build/pgha/restore.yaml, the record of a restore, is damaged") as caught:
        refuse_half_done(a_project)
    assert "rm build/pgha/restore.yaml" in caught.value.hint


def test_the_record_is_that_of_its_project(make_project):
    write_restore(make_project(project="one"), RECORD)
    assert read_restore(make_project(project="other")) is None


# A restore that is half done --------------------------------------------------------------------------------


def test_a_half_done_restore_is_described():
    assert describe_restore(RECORD) == (
        "a restore to time 2026-11-23 08:30:00+00:00, timeline 1 is half done"
        " (stage restored, begun 2026-11-23 08:31:36Z)"
    )
    end = replace(RECORD, request=dict.fromkeys(RECORD.request, ""))
    assert describe_restore(end).startswith("a restore to the end of the archive is half done")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("time", "2026-11-23 08:30:00.25+00", "time 2026-11-23 08:30:00.250000Z"),
        ("lsn", "0/9000050", "lsn 0/9000050"),
        ("immediate", "", "the end of the backup"),
    ],
)
def test_the_point_where_recovery_stops_is_described(kind, value, words):
    assert describe_target(replace(RECORD, kind=kind, value=value)) == words


@pytest.mark.parametrize("stage", list(Stage))
def test_the_way_back_is_named_as_long_as_there_is_one(stage):
    words = way_on(replace(RECORD, stage=stage))
    assert "inv restore --yes completes it" in words
    assert ("inv restore --abort" in words) == (stage not in ("leading", "cloning"))


def test_while_a_restore_is_half_done_nothing_else_happens(a_project):
    refuse_half_done(a_project)
    write_restore(a_project, RECORD)
    with pytest.raises(Missing, match=r"^A restore to time .* is half done \(stage restored") as caught:
        refuse_half_done(a_project)
    assert caught.value.hint == way_on(RECORD)


@pytest.mark.parametrize("stage", ["leading", "cloning"])
def test_there_is_no_way_back_from_a_leader_in_charge(a_project, stage):
    write_restore(a_project, replace(RECORD, stage=stage))
    with pytest.raises(BadValue, match="pg2-node1 already leads with the restored data") as caught:
        abort.abort(a_project, read_restore(a_project), Progress())
    assert caught.value.hint == "inv restore --yes completes the restore"
    assert read_restore(a_project).stage == stage


# What the cluster can tell, and where WAL is looked for -----------------------------------------------------


class Told:
    """Hosts that answer what they were told to; the others cannot be reached."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.asked = []
        self.commands = []

    def run(self, host, command, line=None):
        self.asked.append(host)
        self.commands.append(str(command))
        if host not in self.answers:
            raise Unreachable(f"{host} cannot be reached")
        stdout, stderr, code = self.answers[host]
        return Answer(command, stdout, stderr, code)

    def must(self, host, command, message, hint=""):
        return self.run(host, command)


RECORD_LINE = (
    "00000001000000000000000A rmgr: XLOG        len (rec/tot):     98/    98, tx:        760, lsn: 0/0A077118,"
    " prev 0/0A0770D8, desc: RESTORE_POINT alpha beta\n"
)


STANZA = repository.StanzaView(True, "ok", False, (), None, None, False, "17-1", "42")
SEGMENTS = ["00000002000000000000000A", "00000001000000000000000A", "000000010000000000000009"]
PATHS = {name: f"{name[:16]}/{name}-{number}f.zst" for number, name in enumerate(sorted(SEGMENTS))}


def look_for(project, monkeypatch, **answers):
    told = Told(**answers)
    monkeypatch.setattr(preparation, "connect", lambda project: told)
    found = Catalogue(STANZA, repository.Archive({}, (), PATHS), {})
    return told, lambda: preparation.finder(project, found)("name", "alpha beta", SEGMENTS[:2])


def test_the_first_node_that_can_looks_into_the_archive(a_project, monkeypatch):
    told, find = look_for(a_project, monkeypatch, pg2_node1=(RECORD_LINE, "", 0), pg3_node1=("", "", 1))
    assert find() == [pgbackrest.WalRecord("00000001000000000000000A", 0xA077118, None)]
    assert told.asked == ["pg1-node1", "pg1-node2", "pg2-node1"]


def test_every_node_is_asked_for_the_segments_files_in_their_order(a_project, monkeypatch):
    told, find = look_for(a_project, monkeypatch, pg2_node1=(RECORD_LINE, "", 0))
    find()
    asked_for = (
        "find-wal name 'alpha beta'"
        " archive/pg_ha_db/17-1/0000000200000000/00000002000000000000000A-2f.zst"
        " archive/pg_ha_db/17-1/0000000100000000/00000001000000000000000A-1f.zst"
    )
    assert told.commands == [asked_for] * 3


def test_what_is_not_in_the_archive_is_nothing(a_project, monkeypatch):
    told, find = look_for(a_project, monkeypatch, pg1_node1=("", "", 1))
    assert find() == []
    assert told.asked == ["pg1-node1"]


def test_a_node_that_fails_is_not_the_last_word(a_project, monkeypatch):
    failed = ("", "ERROR: [103]: unable to find a valid repository", 1)
    _, find = look_for(a_project, monkeypatch, pg1_node1=failed, pg1_node2=("", "", 1))
    assert find() == []


def test_an_archive_nobody_can_look_into_is_an_error(a_project, monkeypatch):
    _, find = look_for(a_project, monkeypatch)
    with pytest.raises(Unreachable, match="pg3-node2"):
        find()


def situation(project, monkeypatch, view="leads", system_id="42", command=None):
    leader = patroni.Member("pg1-node1", "leader", "running", 3, None)
    members = {"leads": (leader,), "nobody": (replace(leader, role="replica"),)}

    def read_view(project):
        if view == "away":
            raise Unreachable("nobody answers")
        return patroni.ClusterView(members[view])

    state = patroni.NodeState("pg1-node1", "leader", "running", 3, system_id, 170012, 5000, (), "4.0.7")
    archiver = postgres.Archiver(command or pgbackrest.ARCHIVE_COMMAND, None, False, None)
    monkeypatch.setattr(preparation, "read_view", read_view)
    monkeypatch.setattr(preparation, "connect", lambda project: Told(pg1_node1=("800\n", "", 0)))
    monkeypatch.setattr(patroni, "parse_node", lambda text: state)
    monkeypatch.setattr(preparation, "read_archiver", lambda project, leader: archiver)
    return preparation.look(project, STANZA)


def test_a_leader_that_archives_tells_its_position(a_project, monkeypatch):
    seen = situation(a_project, monkeypatch)
    assert seen == Situation(seen.now, 3, 5000, 800)
    assert seen.writes
    assert seen.now.tzinfo is not None


def test_a_leader_that_does_not_archive_tells_its_timeline_alone(a_project, monkeypatch):
    seen = situation(a_project, monkeypatch, command="/bin/true")
    assert seen == Situation(seen.now, 3, None, None)
    assert not seen.writes


@pytest.mark.parametrize("what", [{"view": "nobody"}, {"view": "away"}, {"system_id": "43"}])
def test_a_cluster_without_a_leader_or_of_another_database_tells_nothing(a_project, monkeypatch, what):
    seen = situation(a_project, monkeypatch, **what)
    assert seen == Situation(seen.now, None, None, None)


# A request as it is kept ------------------------------------------------------------------------------------


def test_a_request_is_kept_whole(a_project):
    write_restore(a_project, RECORD)
    kept = Request(**read_restore(a_project).request)
    assert kept == Request(time="2026-11-23 08:30:00+00:00", timeline="1")
