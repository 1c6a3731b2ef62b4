"""Rules: from what was seen to the problems that status shows."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pgha.backup.restore_record import Record
from pgha.backup.verification import Kept
from pgha.cli.show_status import show_survey
from pgha.cluster.rollout_record import Record as Rollout
from pgha.errors import ConnectionsUsedUp, CutOff, Damaged, NoConnection, ToolFailed, Unreachable
from pgha.failures.broken import Broken
from pgha.project import upgrade_record
from pgha.project.maintenance import Stopped
from pgha.project.successors import Term
from pgha.recover.record import Record as Recovery
from pgha.recover.record import Stage
from pgha.remote.postgres_client import Refusal
from pgha.stack.crontab import Job
from pgha.status.document import survey_document
from pgha.status.kinds import Kind
from pgha.status.problems import find_problems, next_command
from pgha.status.seen import MemberState, Seen
from pgha.status.survey import Survey
from pgha.tools import cron, docker, etcd, patroni, pgbackrest, postgres, prometheus, repository, space, wal
from pgha.tools.leader import Facts, Slot
from pgha.tools.slots import SlotCoverage

NODES = ("pg1-node1", "pg2-node1", "pg3-node1")
ETCD = ("etcd1", "etcd2", "etcd3")
HOSTS = {name: f"dc{name.strip('etcdpg')[0]}" for name in (*ETCD, *NODES)} | {"pgbackrest": "backup"}


NETWORKS = {name: (f"p_{site}", "p_wan") for name, site in HOSTS.items()}


def container(name, state="running", networks=None):
    addresses = dict.fromkeys(NETWORKS[name] if networks is None else networks, "172.18.0.2")
    return docker.Container(name, f"p-{name}", "image", state, "", "", (), addresses)


def told(name, age=0, **changes):
    leads = name == "pg1-node1"
    node = patroni.NodeState(name, "leader" if leads else "replica", "running", 1, "77", 170012, 1000, (), "4.1.5")
    return patroni.Told(replace(node, **changes), None, age, ETCD)


def member(name, state="streaming"):
    leads = name == "pg1-node1"
    return patroni.Member(name, "leader" if leads else "replica", "running" if leads else state, 1, 0)


def view(*members):
    return patroni.ClusterView(members or tuple(member(name) for name in NODES))


BACKUP = repository.Backup("20261125-010000F", "full", 1, 2, 3, 4, False, "000000010000000000000002", 5)
STANZA = repository.StanzaView(True, "ok", False, (BACKUP,), None, None, False)
SLOT = Slot("cdc", "logical", False, 2 << 30)


def facts(**changes):
    return replace(WELL.facts, **changes)


WELL = Seen(
    hosts=HOSTS,
    networks=NETWORKS,
    containers={name: container(name) for name in HOSTS},
    told={name: told(name) for name in NODES},
    late={},
    view=view(),
    etcd=etcd.EtcdView(ETCD, ()),
    stanza=STANZA,
    facts=Facts(
        postgres.Archiver(pgbackrest.ARCHIVE_COMMAND, None, False, None), (), 1 << 30, 5, 97, (), wal.History(1, ())
    ),
    login=None,
    slots=(),
    wanted_slots={},
    kept=Kept((), {}),
    jobs=(),
    broken=(),
    maintenance=(),
    rotating="",
    terms=(),
    half_done=None,
    rollout=None,
    recovery=None,
    gone={},
    upgrade=None,
    scaling={},
    replacing="",
    ports={},
    differs={},
)


def seen(**changes):
    return replace(WELL, **changes)


def test_a_cluster_that_is_well_has_no_problem():
    assert find_problems(WELL) == ()
    assert next_command(()) == ""


def without(*names, state="exited"):
    return {**WELL.containers, **{name: container(name, state) for name in names}}


VERIFIED = pgbackrest.Verification(BACKUP.label, "pg1-node1", False, True, 1, 2, {}, 3, {}, "one\npg_amcheck found rot")


def target(job, host, error=""):
    return prometheus.Target(job, host, "down" if error else "up", error)


def term(whose, ends):
    return Term(whose, datetime(2026, 1, 1, tzinfo=UTC), ends)


GAP = ("000000010000000000000100", "000000010000000000000101")

MACHINES = {name: f"db-{site}" for name, site in HOSTS.items()}


def a_machine_away():
    away = {name: container(name, "machine unreachable") for name in ("etcd2", "pg2-node1")}
    return seen(
        machines=MACHINES,
        containers={**WELL.containers, **away},
        told={**WELL.told, "pg2-node1": Unreachable("pg2-node1 cannot be reached")},
        view=view(member("pg1-node1"), member("pg3-node1")),
        etcd=etcd.EtcdView(("etcd1", "etcd3"), ("etcd2",)),
    )


CASES = [
    (
        a_machine_away(), Kind.MACHINE_UNREACHABLE, "db-dc2",
        "machine db-dc2 is unreachable, with etcd2, pg2-node1",
    ),
    (
        seen(differs={"publish_address": "publish_address 192.0.2.2, not 127.0.0.1", "slots": "slots"}),
        Kind.SETTINGS_DIFFER, "", "differ from what runs: publish_address 192.0.2.2, not 127.0.0.1; slots",
    ),
    (
        seen(terms=(term("pg1-node2", datetime.now(UTC) + timedelta(days=29, hours=1)),)),
        Kind.CERTIFICATE_EXPIRES, "", "the certificate of pg1-node2 ends in 29 days",
    ),
    (
        seen(terms=(term("authority", datetime(2026, 2, 1, tzinfo=UTC)), term("pg1-node1", datetime.now(UTC)))),
        Kind.CERTIFICATE_EXPIRES, "", "the certificate of authority has ended: 2026-02-01",
    ),
    (seen(rotating="keys"), Kind.ROTATION_HALF_DONE, "", "a rotation of the keys is half done"),
    (seen(half_done=Record({"time": "2026-11-25"}, 1.0)), Kind.RESTORE_HALF_DONE, "", "is half done"),
    (
        seen(rollout=Rollout("restart", 1.0, {"pending": "yes"}, "pg2-node1", ["pg3-node1"])),
        Kind.ROLLOUT_HALF_DONE, "", "is half done, at pg2-node1; done: pg3-node1",
    ),
    (seen(rollout=Damaged("rollout.yaml is damaged", "rm it")), Kind.RECORD_DAMAGED, "", "rollout.yaml is damaged"),
    (
        seen(upgrade=upgrade_record.Record(17, 18, 1795422696, "pg1-node1", {})),
        Kind.UPGRADE_HALF_DONE, "", "an upgrade from PostgreSQL 17 to 18 is half done (stage held, begun 2026-",
    ),
    (
        seen(scaling={"data_centers": "1", "nodes": "3"}, differs={"nodes": "nodes 3, not 2"}),
        Kind.SCALE_HALF_DONE, "", "a scale to -d 1 -p 3 is half done",
    ),
    (
        seen(replacing="etcd2", containers=without("etcd2")), Kind.REPLACE_HALF_DONE, "etcd2", "not whole again",
    ),
    (
        seen(recovery=Recovery(1.0, ["pg1-node1"], "etcd3", "pg3-node1", stage=Stage.NODES)),
        Kind.RECOVERY_HALF_DONE, "", "a recovery from pg3-node1 and etcd3 is half done (stage nodes, begun 1970",
    ),
    (seen(recovery=Damaged("recover.yaml is damaged", "rm it")), Kind.RECORD_DAMAGED, "", "recover.yaml is damaged"),
    (seen(gone={"pg4-node1": "", "etcd4": ""}), Kind.HOSTS_GONE, "", "sites were lost: pg4-node1, etcd4"),
    (
        seen(gone={"pg4-node1": "", "etcd4": "running"}),
        Kind.GONE_IS_BACK, "etcd4", "was given up, and its container is there again (running)",
    ),
    (seen(etcd=ToolFailed("no answer")), Kind.ETCD_UNKNOWN, "", "etcd cannot be asked: no answer"),
    (seen(etcd=etcd.EtcdView(("etcd1",), ETCD[1:])), Kind.QUORUM_LOST, "", "lost its quorum"),
    (
        seen(etcd=etcd.EtcdView((), ETCD, "NOSPACE", 2 << 30)),
        Kind.ETCD_ALARM, "", "the alarm NOSPACE with 2.0GB of data and takes no writes: no member can be promoted",
    ),
    (
        seen(kept=Kept((), {}, {"pg1-node1": (), "pg2-node1": (space.Disk("/pgdata", 97 << 20, 3 << 20),)})),
        Kind.DISK_FULL, "pg2-node1", "the disk of pg2-node1 is 97 % full, 3.0MB free",
    ),
    (seen(etcd=etcd.EtcdView(ETCD[1:], ("etcd1",))), Kind.ETCD_UNHEALTHY, "etcd1", "etcd1 is not healthy"),
    (seen(view=view(member("pg2-node1"))), Kind.NO_LEADER, "", "there is no leader"),
    (seen(view=ToolFailed("DCS is not accessible")), Kind.DCS_UNKNOWN, "", "DCS is not accessible"),
    (seen(late={"pg3-node1": "sees no etcd majority"}), Kind.CUT_OFF, "pg3-node1", "pg3-node1 sees no etcd majority"),
    (
        seen(view=view(member("pg1-node1"), member("pg2-node1"), member("pg3-node1", "running"))),
        Kind.MEMBER_UNWELL, "pg3-node1", "running, but it does not stream",
    ),
    (
        seen(containers=without("pg3-node1"), told={**WELL.told, "pg3-node1": Unreachable("gone")}),
        Kind.CONTAINER_AWAY, "pg3-node1", "container exited",
    ),
    (seen(view=view(*WELL.view.members, member("pg9-node9"))), Kind.STRANGER, "pg9-node9", "inv render"),
    (seen(containers=without("pgbackrest")), Kind.CONTAINER_AWAY, "pgbackrest", "pgbackrest: container exited"),
    (seen(stanza=ToolFailed("no permission\n  | more")), Kind.REPOSITORY_UNREADABLE, "", "no permission"),
    (
        seen(facts=facts(archiver=postgres.Archiver("push", None, True, "00000001000000000000000A"))),
        Kind.ARCHIVING_FAILS, "pg1-node1", "00000001000000000000000A",
    ),
    (
        seen(facts=facts(archive_gap=GAP)), Kind.ARCHIVE_GAP, "pg1-node1",
        "lacks 000000010000000000000100 and 1 more, and nobody has it",
    ),
    (seen(broken=(Broken("stop", "etcd1"),)), Kind.BROKEN, "etcd1", "etcd1 is stopped"),
    (seen(broken=Damaged("broken.yaml is damaged", "rm it")), Kind.RECORD_DAMAGED, "", "broken.yaml is damaged"),
    (seen(kept=Kept((VERIFIED,), {})), Kind.BACKUP_NOT_GOOD, "", "pg_amcheck found rot"),
    (
        seen(kept=Kept((replace(VERIFIED, checked=False, error="no room"),), {})),
        Kind.BACKUP_UNCHECKED, "", "could not be checked on pg1-node1: no room",
    ),
    (
        seen(kept=Kept((), {"verify-repository": cron.Result("verify-repository", 1, 2, 41, "no room")})),
        Kind.JOB_FAILED, "", "41 (no room)",
    ),
    (seen(view=replace(WELL.view, paused=True)), Kind.PAUSED, "", "nobody is promoted"),
    (
        seen(told={**WELL.told, "pg2-node1": told("pg2-node1", replay_paused=True, replayed=400)}),
        Kind.REPLAY_PAUSED, "pg2-node1", "replay is paused, 600B behind",
    ),
    (
        seen(told={**WELL.told, "pg2-node1": told("pg2-node1", pending_restart=("max_connections",))}),
        Kind.PENDING_RESTART, "pg2-node1", "a restart is pending for max_connections",
    ),
    (seen(facts=facts(clients=97)), Kind.CONNECTIONS_EXHAUSTED, "pg1-node1", "97 connections, 97 are for clients"),
    (seen(facts=ConnectionsUsedUp("it takes no connections")), Kind.CONNECTIONS_EXHAUSTED, "pg1-node1", "takes no"),
    (seen(facts=NoConnection("it is shutting down")), Kind.MEMBER_UNWELL, "pg1-node1", "it is shutting down"),
    (seen(facts=facts(slots=(SLOT,))), Kind.SLOT_RETAINS_WAL, "pg1-node1", "unused logical slot cdc keeps 2.0GB"),
    (
        seen(login=Refusal('failed: FATAL:  no such password\npassword retrieved from file "pgpass"', True)),
        Kind.LOGIN_FAILED, "pg1-node1", "clients cannot log in as postgres: failed: FATAL:  no such password",
    ),
    (
        seen(slots=(SlotCoverage("cdc", False, NODES[1:]),)),
        Kind.SLOT_NOT_KEPT, "pg1-node1", "the logical slot cdc is on no other member",
    ),
    (
        seen(slots=(SlotCoverage("cdc", False, NODES[2:], failover=True),)),
        Kind.SLOT_NOT_KEPT, "pg1-node1", "the logical slot cdc is not synchronized to pg3-node1",
    ),
    (
        seen(wanted_slots={"cdc": {"database": "app"}}),
        Kind.SLOT_MISSING, "pg1-node1", "pg1-node1 lacks the slot cdc, of the database app, which is in the settings",
    ),
    (
        seen(etcd=etcd.EtcdView(ETCD[1:], ("etcd1",)), containers=without("etcd1", state="restarting")),
        Kind.ETCD_MEMBER_LOST, "etcd1", "is not let in again",
    ),
    (
        seen(containers={**WELL.containers, "etcd1": container("etcd1", networks=["p_dc1"])}),
        Kind.NETWORK_MISSING, "etcd1", "etcd1 is not on the network p_wan",
    ),
    (
        seen(containers=without("pgbackrest"), maintenance=(Stopped("pgbackrest", "", 1_795_595_000),)),
        Kind.MAINTENANCE, "pgbackrest", "pgbackrest is stopped for maintenance since 2026-11-25 08:23Z",
    ),
    (seen(stanza=replace(STANZA, system_id="78")), Kind.STANZA_OF_ANOTHER, "", "another database (78)"),
    (
        seen(facts=facts(history=wal.History(2, ((1, BACKUP.stop_lsn - 1),)))),
        Kind.BACKUP_OF_ANOTHER, "", "every backup is of a history that was left",
    ),
    (seen(stanza=replace(STANZA, ok=False, empty=True, backups=())), Kind.NO_BACKUP, "", "nothing can be restored"),
    (seen(stanza=replace(STANZA, ok=False, message="other")), Kind.REPOSITORY_UNREADABLE, "", "not well: other"),
    (
        seen(targets=Unreachable("prometheus does not answer: refused")),
        Kind.MONITORING_SILENT, "monitoring", "the monitoring tells nothing: prometheus does not answer",
    ),
    (
        seen(targets=(target("host", "pg2-node1"), target("postgres", "pg2-node1", "connection refused"))),
        Kind.SCRAPE_FAILS, "pg2-node1", "cannot read the metrics of pg2-node1 (postgres): connection refused",
    ),
]  # fmt: skip


@pytest.mark.parametrize("looked", [
    seen(targets=(target("host", "pg2-node1"), target("patroni", "pg2-node1", "timed out"))),
    seen(targets=(target("host", "pg2-node1", "no route"), target("patroni", "pg2-node1", "no route"))),
])  # fmt: skip
def test_what_is_told_by_itself_is_not_told_of_its_metrics(looked):
    assert find_problems(looked) == ()


def test_a_backup_after_a_gap_in_the_archive_ends_it():
    newest = replace(BACKUP, wal_start="000000020000000000000102")
    followed = facts(archive_gap=GAP, history=wal.History(2, ((1, 9),)))
    assert find_problems(seen(facts=followed, stanza=replace(STANZA, backups=(newest,)))) == ()


@pytest.mark.parametrize(
    ("looked", "kind", "host", "words"), CASES, ids=[str(case[1]) + str(i) for i, case in enumerate(CASES)]
)
def test_a_problem_has_a_kind_a_host_and_a_sentence(looked, kind, host, words):
    problems = find_problems(looked)
    assert (kind, host) in [(problem.kind, problem.host) for problem in problems]
    assert any(words in problem.sentence for problem in problems if problem.kind == kind)


def test_during_an_election_nobody_is_shown_as_the_leader_and_what_is_normal_is_no_problem():
    """Until its lock expires the others go on naming a leader that is lost; the standbys have nobody to stream from."""
    lost = replace(member("pg1-node1"), state="no answer")
    waiting = [member(name, "in archive recovery") for name in NODES[1:]]
    looked = seen(
        view=view(lost, *waiting), containers=without("pg1-node1"), facts=None,
        told={**WELL.told, "pg1-node1": Unreachable("gone")}, lock=etcd.Lock("pg1-node1", 7, 14),
    )  # fmt: skip
    assert {m.name: (m.role, m.state) for m in looked.members}["pg1-node1"] == ("", "container exited")
    assert [(p.kind, p.host) for p in find_problems(looked)] == [
        (Kind.NO_LEADER, ""), (Kind.CONTAINER_AWAY, "pg1-node1"),
    ]  # fmt: skip
    ends = told("pg2-node1", state="stopped")
    worse = find_problems(replace(looked, told={**looked.told, "pg2-node1": ends}))
    assert (Kind.MEMBER_UNWELL, "pg2-node1") in {(p.kind, p.host) for p in worse}
    elected = replace(looked, view=view(replace(waiting[0], role="leader", state="running"), *waiting[1:]))
    assert (Kind.MEMBER_UNWELL, "pg3-node1") in {(p.kind, p.host) for p in find_problems(elected)}


def test_status_says_how_long_nobody_else_can_lead(a_project, capsys):
    show_survey(a_project, Survey(seen(lock=etcd.Lock("pg1-node1", 7, 14)), ()))
    assert "leader: none; the lock of pg1-node1 expires in 14 s\n" in capsys.readouterr().out
    assert survey_document(a_project, Survey(seen(lock=etcd.Lock("pg1-node1", 7, 14)), ()))["lock"] == {
        "holder": "pg1-node1", "expires_seconds": 14,
    }  # fmt: skip
    show_survey(a_project, Survey(seen(lock=ToolFailed("no answer")), ()))
    assert "leader: none" not in capsys.readouterr().out


def test_no_sentence_of_ours_is_longer_than_a_line():
    assert [p.sentence for case in CASES for p in find_problems(case[0]) if len(p.sentence) > 118] == []


@pytest.mark.parametrize(
    ("words", "asked", "hint"),
    [
        ("FATAL:  password authentication failed", True, "inv up gives it the project's password again"),
        ("SSL error: certificate verify failed", False, "inv up brings it the certificate that is here"),
        ("timeout expired", False, "inv logs --node pg1-node1"),
    ],
)
def test_what_helps_when_clients_cannot_log_in(words, asked, hint):
    problems = find_problems(seen(login=Refusal(words, asked)))
    assert [problem.hint for problem in problems if problem.kind == Kind.LOGIN_FAILED] == [hint]


@pytest.mark.parametrize(
    ("hours", "hint"), [(1, "inv rotate --what certificates"), (-1, "inv keys --rotate, then inv up")]
)
def test_certificates_that_have_ended_are_not_replaced_one_after_another(hours, hint):
    problems = find_problems(seen(terms=(term("authority", datetime.now(UTC) + timedelta(hours=hours)),)))
    assert [problem.hint for problem in problems if problem.kind == Kind.CERTIFICATE_EXPIRES] == [hint]


def test_certificates_that_have_ended_come_before_what_comes_of_them():
    problems = find_problems(
        seen(terms=(term("authority", datetime(2026, 2, 1, tzinfo=UTC)),), etcd=etcd.EtcdView((), ETCD))
    )
    assert [problem.kind for problem in problems][:2] == [Kind.CERTIFICATE_EXPIRES, Kind.QUORUM_LOST]


def test_every_kind_has_a_case():
    assert {case[1] for case in CASES} == set(Kind)


def test_what_is_cut_off_is_shown_so_and_is_not_the_leader():
    members = (member("pg2-node1"), replace(member("pg1-node1"), state="running"), member("pg3-node1"))
    now_led = view(*(replace(m, role="leader" if m.name == "pg2-node1" else "replica") for m in members))
    led = replace(
        now_led, members=tuple(replace(m, state="running") if m.role == "leader" else m for m in now_led.members)
    )
    looked = seen(view=led, late={"pg1-node1": "is cut off"}, etcd=etcd.EtcdView(ETCD[1:], ("etcd1",)))
    assert looked.leader == "pg2-node1"
    shown = {m.name: (m.role, m.state) for m in looked.members}
    assert shown["pg1-node1"] == ("replica", "cut off")
    kinds = {(p.kind, p.host) for p in find_problems(looked)}
    assert kinds == {(Kind.CUT_OFF, "pg1-node1"), (Kind.CUT_OFF, "etcd1")}
    silent = replace(looked, told={**looked.told, "pg1-node1": CutOff("sees no etcd majority")})
    assert (Kind.CUT_OFF, "etcd1") in {(p.kind, p.host) for p in find_problems(silent)}


def test_the_hint_ends_what_was_broken_on_purpose_before_it_starts_what_does_not_run():
    broken = seen(containers=without("etcd1"), broken=(Broken("stop", "etcd1"),))
    assert next_command(find_problems(broken)) == "inv chaos.heal"
    assert next_command(find_problems(seen(containers=without("etcd1")))).startswith("inv up")
    half_done = replace(broken, half_done=Record({"time": "2026-11-25"}, 1.0))
    assert next_command(find_problems(half_done)).startswith("inv restore")


def test_an_etcd_member_that_lost_its_data_is_one_problem_with_its_own_way_back():
    looked = seen(etcd=etcd.EtcdView(ETCD[1:], ("etcd1",)), containers=without("etcd1", state="restarting"))
    (problem,) = find_problems(looked)
    assert next_command((problem,)) == "inv up takes it out of etcd and in again"


def test_what_was_stopped_on_purpose_is_no_failure_and_the_others_come_first():
    away = {"pg3-node1": Unreachable("gone"), "pg2-node1": told("pg2-node1")}
    looked = seen(
        containers=without("pg3-node1", "etcd3"), told={**WELL.told, **away}, etcd=etcd.EtcdView(ETCD[:2], ETCD[2:]),
        maintenance=(Stopped("pg3-node1", "", 1), Stopped("etcd3", "", 1)),
    )  # fmt: skip
    assert [(p.kind, p.host) for p in find_problems(looked)] == [
        (Kind.MAINTENANCE, "pg3-node1"), (Kind.MAINTENANCE, "etcd3"),
    ]  # fmt: skip
    assert {m.name: m.state for m in looked.members}["pg3-node1"] == "stopped for maintenance"
    assert next_command(find_problems(looked)) == "inv start --node pg3-node1"
    worse = replace(looked, containers=without("pg3-node1", "etcd3", "pgbackrest"))
    assert next_command(find_problems(worse)).startswith("inv up")
    damaged = find_problems(seen(maintenance=Damaged("maintenance.yaml is damaged", "rm it")))
    assert [(p.kind, p.hint) for p in damaged] == [(Kind.RECORD_DAMAGED, "rm it")]


def test_a_failed_job_is_told_until_it_is_off_or_a_later_backup_succeeded():
    failed = Kept((), {"incr": cron.Result("incr", 10, 20, 41)})
    scheduled = (Job("incr", "* * * * *"),)
    assert [p.kind for p in find_problems(seen(kept=failed, jobs=scheduled))] == [Kind.JOB_FAILED]
    assert find_problems(seen(kept=failed)) == ()
    later = replace(STANZA, backups=(replace(BACKUP, stop=30),))
    assert find_problems(seen(kept=failed, jobs=scheduled, stanza=later)) == ()


def test_a_standby_that_received_but_did_not_replay_shows_both_lags():
    behind = told("pg2-node1", location=900, replayed=400)
    shown = {m.name: (m.lag, m.replay_lag) for m in seen(told={**WELL.told, "pg2-node1": behind}).members}
    assert shown["pg2-node1"] == (100, 600)
    assert shown["pg1-node1"] == (None, None)


# Times ------------------------------------------------------------------------------------------------------

DATED = seen(
    stanza=replace(STANZA, backups=(replace(BACKUP, stop=1_795_595_000),)),
    kept=Kept(
        (replace(VERIFIED, ok=True, ended=1_795_600_000),),
        {"full": cron.Result("full", 1_795_594_990, 1_795_595_010, 0)},
    ),
    jobs=(Job("full", "0 1 * * 0"),),
)


@pytest.mark.usefixtures("two_hours_ahead")
def test_status_shows_every_time_in_utc(a_project, capsys):
    show_survey(a_project, Survey(DATED, ()))
    shown = re.findall(r"\d{4}-\d\d-\d\d\S* \S+?(?=[ ,;\n])", capsys.readouterr().out)
    assert shown[:2] == ["2026-11-25 08:23:20Z", "2026-11-25 09:46:40Z"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d 01:00Z", shown[2])
    assert shown[3:] == ["2026-11-25 08:23:30Z"]


@pytest.mark.usefixtures("two_hours_ahead")
def test_the_document_has_every_time_in_utc(a_project):
    found = survey_document(a_project, Survey(DATED, ()))["backup"]
    assert found["last"]["stop"] == "2026-11-25T08:23:20Z"
    assert found["verified"]["ended"] == "2026-11-25T09:46:40Z"
    (job,) = found["schedule"]
    assert job["last_ended"] == "2026-11-25T08:23:30Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT01:00:00Z", job["next_run"])


@pytest.mark.parametrize("state", ["stopped for maintenance", "Patroni does not answer", "in archive recovery"])
def test_status_of_six_members_fits_a_hundred_columns(make_project, capsys, monkeypatch, state):
    six = [f"pg{dc}-node{n}" for dc in (1, 2, 3) for n in (1, 2)]
    members = tuple(
        MemberState(name, f"dc{name[2]}", "quorum_standby", state, 12, 31 << 20, 31 << 20, 50551, 50651) for name in six
    )
    looked = replace(DATED)
    monkeypatch.setattr(type(looked), "members", members)
    show_survey(make_project(), Survey(looked, ()))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_slot_that_stays_is_no_problem_and_one_that_patroni_still_copies_is_none_either():
    kept, copied = SlotCoverage("cdc", True, ()), SlotCoverage("other", True, ("pg2-node1",))
    assert find_problems(seen(slots=(kept, copied))) == ()
    wanted = {"cdc": {"database": "app"}}
    assert find_problems(seen(wanted_slots=wanted, facts=facts(slots=(replace(SLOT, retained=0),)))) == ()
    assert find_problems(seen(wanted_slots=wanted, facts=None)) == (), "nobody can tell"


def test_a_slot_of_the_settings_is_not_dropped_by_hand_for_patroni_makes_it_again():
    full = facts(slots=(SLOT,))
    assert "pg_drop_replication_slot" in next_command(find_problems(seen(facts=full)))
    hint = next_command(find_problems(seen(facts=full, wanted_slots={"cdc": {"database": "app"}})))
    assert "take it out of the setting slots" in hint and hint.endswith("inv config --unset slots.cdc")


CASES_OF_SCALE = find_problems(seen(scaling={"data_centers": "1", "nodes": "3"}, differs={"nodes": "nodes 3, not 2"}))


def test_what_up_refuses_is_to_be_set_back():
    assert next_command(find_problems(seen(differs={"ttl": "ttl 30, not 20"}))) == "inv up applies them"
    assert next_command(find_problems(seen(differs={"tls": "tls on, not off"}))) == "inv up --at-once applies them"
    hint = next_command(find_problems(seen(differs={"postgres": "postgres 18, not 17", "ttl": "ttl 30, not 20"})))
    assert hint.startswith("set postgres back")
    assert next_command(find_problems(seen(differs={"nodes": "nodes 3, not 2"}))).startswith("inv scale makes it so")
    assert next_command(CASES_OF_SCALE) == "inv scale -d 1 -p 3"
    gone = seen(replacing="etcd2", containers=without("etcd2"))
    assert next_command(find_problems(gone)) == "inv replace --etcd etcd2"
    assert next_command(find_problems(seen(replacing="pg2-node1"))) == "inv replace --node pg2-node1"
    assert [problem.kind for problem in CASES_OF_SCALE] == [Kind.SCALE_HALF_DONE], "that is why the settings differ"


def test_a_password_that_was_changed_has_its_way_back_and_a_port_that_is_closed_another():
    def hint(**changes):
        return next_command(find_problems(seen(**changes)))

    assert hint(login=Refusal("refused", True)).startswith("inv up")
    assert hint(login=Refusal("nothing listens", False)) == "inv logs --node pg1-node1"
    gone = seen(login=Refusal("too many clients", False), facts=ConnectionsUsedUp("no connections"))
    assert {p.kind for p in find_problems(gone)} == {Kind.CONNECTIONS_EXHAUSTED}, "that is the reason"
    assert find_problems(seen(login=Unreachable("the node"))) == ()


def test_the_newest_backup_is_of_the_present_history():
    later = replace(BACKUP, label="later", stop_lsn=50)
    both = replace(STANZA, backups=(BACKUP, later))
    left = facts(history=wal.History(3, ((1, 20), (2, 30))))
    assert seen(stanza=both).newest == later
    assert seen(stanza=both, facts=left).newest == BACKUP
    assert find_problems(seen(stanza=both, facts=left)) == (), "there is one, and WAL leads from it to the present"
    assert seen(stanza=both, facts=ToolFailed("no answer")).newest == later
    found = Kept((replace(VERIFIED, label="later"), replace(VERIFIED, ok=True)), {})
    assert seen(stanza=both, facts=left, kept=found).verified.label == BACKUP.label


def full(*disks):
    hosts = ("pg1-node1", "pg2-node1", "pgbackrest")
    found = find_problems(seen(kept=Kept((), {}, dict(zip(hosts, ((disk,) for disk in disks), strict=False)))))
    return [(problem.kind, problem.sentence) for problem in found]


def test_a_disk_is_full_by_its_share_and_by_what_is_free():
    assert full(space.Disk("/pgdata", 94 << 30, 6 << 30)) == []
    assert full(space.Disk("/pgdata", 980 << 30, 20 << 30)) == []
    assert full(space.Disk("/pgdata", 100, 0)) == [(Kind.DISK_FULL, "the disk of pg1-node1 is 100 % full, 0B free")]


def test_a_disk_that_hosts_share_is_named_once():
    shared, own = space.Disk("/pgdata", 99 << 30, 1 << 30), space.Disk("/pgha/pgbackrest", 999, 1)
    assert [sentence for _, sentence in full(shared, shared, own)] == [
        "the disk of pg1-node1 and pg2-node1 is 99 % full, 1.0GB free", "the disk of pgbackrest is 100 % full, 1B free",
    ]  # fmt: skip


# A major upgrade that is half done --------------------------------------------------------------------------


def test_a_half_done_major_upgrade_comes_first_with_its_ways():
    record = upgrade_record.Record(17, 18, 1795422696, "pg1-node1", {}, upgrade_record.Stage.UPGRADING)
    problems = find_problems(seen(upgrade=record, differs={"postgres": "postgres 18, not 17"}))
    assert [p.kind for p in problems] == [Kind.UPGRADE_HALF_DONE]
    assert "from PostgreSQL 17 to 18 is half done (stage upgrading" in problems[0].sentence
    assert (
        problems[0].hint == "inv upgrade --major 18 --yes completes it, inv upgrade --abort brings the old cluster back"
    )
    late = replace(record, stage=upgrade_record.Stage.LEADING)
    assert "abort" not in find_problems(seen(upgrade=late))[0].hint


def test_a_newer_major_in_the_settings_is_an_upgrade():
    (problem,) = find_problems(seen(differs={"postgres": "postgres 18, not 17"}))
    assert "inv upgrade --major" in problem.hint


def test_a_machine_that_is_away_is_one_problem_with_all_that_is_on_it():
    (problem,) = find_problems(a_machine_away())
    assert (problem.kind, problem.host) == (Kind.MACHINE_UNREACHABLE, "db-dc2")


def test_a_member_whose_machine_is_away_says_so_and_no_more():
    states = {m.name: m.state for m in a_machine_away().members}
    assert states["pg2-node1"] == "machine unreachable"
