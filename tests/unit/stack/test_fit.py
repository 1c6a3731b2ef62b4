"""Settings over data that was made with others are refused before anything is written."""

from dataclasses import replace

import pytest

from pgha.errors import Damaged, HalfDone, NotReady, OtherData
from pgha.project.passwords import kept_passwords, passwords_file
from pgha.project.record import Record
from pgha.project.running import note_running
from pgha.project.upgrade_record import Record as Upgrade
from pgha.project.upgrade_record import write_upgrade
from pgha.remote import engine
from pgha.remote.engine import Volume
from pgha.stack import placing
from pgha.stack.fit import fitting_passwords
from pgha.stack.rendering import shape
from pgha.stack.writing import preview_project, render_project
from pgha.tools.command import Answer


@pytest.fixture
def there(monkeypatch):
    """Volumes, as an engine that answers would show them."""

    def there(*volumes):
        monkeypatch.setattr(engine, "engine_problem", lambda project: None)
        monkeypatch.setattr(engine, "volumes", lambda project: volumes)
        monkeypatch.setattr(engine, "containers", lambda project: {})

    return there


@pytest.fixture
def volumes_of(write_down_passwords):
    """The volumes of a project that has run, with the passwords it keeps."""

    def volumes_of(project, *, marked=True):
        passwords = write_down_passwords(project)
        hosts = ("pg1-node1", "pgbackrest")
        return [
            Volume(
                f"pgha_{host}",
                shape(project, host),
                passwords.id if marked else "",
                passwords.repository_id if marked and host == "pgbackrest" else "",
            )
            for host in hosts
        ]

    return volumes_of


SECRETS = ["superuser_password", "replication_password", "rewind_password", "restapi_password", "repository_passphrase"]


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("key", SECRETS)
def test_another_secret_over_data_is_refused_and_nothing_is_written(make_project, there, key, marked, volumes_of):
    there(*volumes_of(make_project(), marked=marked))
    file = passwords_file(make_project())
    before = file.read_bytes(), file.stat().st_mtime_ns
    with pytest.raises(OtherData, match=key):
        render_project(make_project(**{key: "another"}))
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["passwords.yaml"]
    assert fitting_passwords(make_project()) == kept_passwords(make_project())


def test_the_way_to_another_passphrase_is_named(make_project, there, volumes_of):
    there(*volumes_of(make_project()))
    with pytest.raises(OtherData) as caught:
        fitting_passwords(make_project(repository_passphrase="another"))
    assert 'docs/restore.md, "The passphrase of the repository"' in caught.value.hint


def test_the_same_secret_once_more_is_no_change(make_project, there, volumes_of):
    there(*volumes_of(make_project(superuser_password="mine", repository_passphrase="phrase")))
    assert fitting_passwords(make_project(superuser_password="mine", repository_passphrase="phrase"))


def test_a_file_of_another_passphrase_is_named(make_project, there, write_down_passwords, volumes_of):
    found = volumes_of(make_project(repository_passphrase="old"))
    write_down_passwords(make_project(repository_passphrase="new"))
    there(*found)
    with pytest.raises(OtherData, match=r"build/pgha/passwords.yaml"):
        fitting_passwords(make_project())


def test_without_the_repository_s_volume_the_passphrase_is_free(make_project, there, volumes_of):
    there(volumes_of(make_project())[0])
    assert fitting_passwords(make_project(repository_passphrase="new")).repository == "new"


def test_lost_passwords_are_not_made_again_over_data(make_project, there, volumes_of):
    there(*volumes_of(make_project()))
    passwords_file(make_project()).unlink()
    with pytest.raises(OtherData, match=r"passwords\.yaml"):
        render_project(make_project())
    assert not passwords_file(make_project()).exists()


def test_another_shape_is_refused_before_anything_is_written(make_project, there, volumes_of):
    there(*volumes_of(make_project()))
    with pytest.raises(OtherData, match="-d 3 -p 2") as caught:
        render_project(make_project(nodes=3))
    assert "inv render -d 3 -p 2 -n pg -v 17" in caught.value.hint
    assert not make_project().compose_file().exists()


def test_where_no_engine_can_tell_nothing_is_replaced(make_project, write_down_passwords):
    kept = write_down_passwords(make_project())
    with pytest.raises(NotReady, match="repository_passphrase would replace"):
        render_project(make_project(repository_passphrase="another"))
    assert kept_passwords(make_project()) == kept
    assert render_project(make_project()).changed


def test_a_preview_is_what_would_be_rendered_and_writes_nothing(make_project, root):
    with pytest.raises(Damaged, match="is missing") as caught:
        preview_project(make_project())
    assert "inv keys" in caught.value.hint
    render_project(make_project())
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    other = make_project(shm_size="1g", ssh_port=40000)
    seen = preview_project(other)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    made = render_project(other)
    assert (seen.services, seen.ports, seen.block) == (made.services, made.ports, made.block)
    assert seen.changed == ()


# A cluster that was scaled ----------------------------------------------------------------------------------

OLD, NEW = "-d 1 -p 2 -n pg -v 17 etcd=3", "-d 1 -p 3 -n pg -v 17 etcd=3"
GREW = {"pg1-node1": OLD, "pg1-node2": OLD, "pg1-node3": NEW, "pgbackrest": "-v 17"}
SHRANK = {"pg1-node1": NEW, "pg1-node2": NEW}


@pytest.fixture
def shapes(there, write_down_passwords):
    """Volumes of these shapes, and the record of a project."""

    def shapes(project, found, **record):
        write_down_passwords(project)
        if record:
            project.write_record(Record({}, {}, **record))
        there(*(Volume(f"pgha_{host}", held, "") for host, held in found.items()))

    return shapes


@pytest.mark.parametrize(
    ("nodes", "found", "record"),
    [
        (3, GREW, {"shape": NEW}),
        (2, SHRANK, {"shape": OLD}),
        (3, GREW, {}),  # the record is lost: the newest volumes tell
        (3, {"pg1-node1": OLD}, {"scaling": {"data_centers": "1", "nodes": "3"}}),
        (2, {"pg1-node1": NEW}, {"scaling": {"data_centers": "1", "nodes": "2"}}),
        (3, {"pgbackrest": "-v 17"}, {"shape": OLD}),  # its data was given up
    ],
)
def test_the_shape_of_the_last_scale_fits(make_project, shapes, nodes, found, record):
    project = make_project(data_centers=1, nodes=nodes)
    shapes(project, found, **record)
    assert fitting_passwords(project)


@pytest.mark.parametrize(
    ("nodes", "found", "record", "hint"),
    [
        (2, GREW, {"shape": NEW}, "inv scale -d 1 -p 2 makes a running cluster so; inv render -d 1 -p 3 -n pg -v 17"),
        (3, SHRANK, {"shape": OLD}, "inv scale -d 1 -p 3 makes a running cluster so; inv render -d 1 -p 2"),
        (2, GREW, {}, "inv scale -d 1 -p 2 makes a running cluster so; inv render -d 1 -p 3"),
        (4, GREW, {"shape": NEW}, "inv scale -d 1 -p 4 makes"),
    ],
)
def test_another_shape_than_that_is_refused_with_both_ways(make_project, shapes, nodes, found, record, hint):
    project = make_project(data_centers=1, nodes=nodes)
    shapes(project, found, **record)
    with pytest.raises(OtherData) as caught:
        fitting_passwords(project)
    assert caught.value.hint.startswith(hint)


def test_another_major_is_not_made_by_a_scale(make_project, shapes):
    project = make_project(data_centers=1, postgres=18)
    shapes(project, {"pgbackrest": "-v 17", "pg1-node1": OLD})
    with pytest.raises(OtherData) as caught:
        fitting_passwords(project)
    assert caught.value.hint.startswith("inv upgrade --major 18 makes a running cluster so; inv render -d 1 -p 2")


def test_an_older_major_is_not_made_by_an_upgrade(make_project, shapes):
    project = make_project(data_centers=1, postgres=15)
    shapes(project, {"pg1-node1": OLD})
    with pytest.raises(OtherData) as caught:
        fitting_passwords(project)
    assert caught.value.hint.startswith("inv render -d 1 -p 2")


UPGRADED = {"shape": "-d 1 -p 2 -n pg -v 18 etcd=3", "repository": "-v 18"}
ALL_OLD = {"pg1-node1": OLD, "pg1-node2": OLD, "pgbackrest": "-v 17"}


def test_after_an_upgrade_the_record_tells_the_major_and_no_label(make_project, shapes):
    project = make_project(data_centers=1, postgres=18)
    shapes(project, ALL_OLD, **UPGRADED)
    assert fitting_passwords(project)
    with pytest.raises(OtherData):
        fitting_passwords(make_project(data_centers=1, postgres=17))


def test_a_repository_that_outlives_its_cluster_is_of_the_major_it_was_upgraded_to(make_project, shapes):
    shapes(make_project(), {"pgbackrest": "-v 17"}, repository="-v 18")
    assert fitting_passwords(make_project(data_centers=1, postgres=18))
    with pytest.raises(OtherData):
        fitting_passwords(make_project(data_centers=1, postgres=17))


def test_while_an_upgrade_is_half_done_both_majors_fit_and_no_third(make_project, shapes):
    project = make_project(data_centers=1, postgres=18)
    shapes(project, ALL_OLD)
    write_upgrade(project, Upgrade(17, 18, 1.0, "pg1-node1", {}))
    assert fitting_passwords(project) and fitting_passwords(make_project(data_centers=1, postgres=17))
    with pytest.raises(OtherData):
        fitting_passwords(make_project(data_centers=1, postgres=16))
    with pytest.raises(OtherData):
        fitting_passwords(make_project(data_centers=1, nodes=3, postgres=18))


def test_while_a_scale_is_half_done_no_other_shape_is_taken(make_project, shapes):
    project = make_project(data_centers=1, nodes=2)
    shapes(project, GREW, scaling={"data_centers": "1", "nodes": "3"})
    with pytest.raises(HalfDone, match="being scaled to -d 1 -p 3") as caught:
        fitting_passwords(project)
    assert caught.value.hint == "inv scale -d 1 -p 3"


def test_a_host_that_comes_back_gets_its_own_port_again(make_project, there):
    there()
    both, one = (make_project(data_centers=1, nodes=nodes) for nodes in (2, 1))
    render_project(both)
    record = both.record()
    moved = {kind: {**ports, "pg1-node2": ports["pg1-node2"] + 40} for kind, ports in record.ports.items()}
    both.write_record(replace(record, ports=moved))
    render_project(one)
    assert "pg1-node2" not in one.record().ports["postgres"]
    render_project(both)
    assert (both.record().ports, both.record().freed) == (moved, {"postgres": {}, "ssh": {}})


# Machines -----------------------------------------------------------------------------------------------------

MACHINES = {"dc1": "ssh://10.0.0.1", "dc2": "ssh://10.0.0.2", "dc3": "ssh://10.0.0.3", "backup": "ssh://10.0.0.1"}
SEVERAL = {"data_centers": 3, "nodes": 1, "machines": MACHINES}


@pytest.fixture
def no_engine_here(monkeypatch):
    monkeypatch.setattr(placing.readiness, "engine_problem", lambda: NotReady("none"))


def volume_on(host, project, engine):
    return replace(Volume(f"pgha_{host}", shape(project, host), ""), engine=engine)


def test_a_host_is_never_started_away_from_its_volume(make_project, there, no_engine_here):
    project = make_project(**SEVERAL)
    there(volume_on("pg1-node1", project, engine.engine_of(project, "pg2-node1")))
    with pytest.raises(
        OtherData, match=r"pg1-node1 of project pgha has its data on 10\.0\.0\.2, and the settings place"
    ):
        fitting_passwords(project)


def test_a_site_does_not_move_to_another_machine(make_project, there, no_engine_here):
    there()
    note_running(make_project(**SEVERAL))
    moved = make_project(**{**SEVERAL, "machines": {**MACHINES, "dc2": "ssh://10.0.0.9"}})
    with pytest.raises(OtherData, match=r"etcd2 of project pgha has its data on 10\.0\.0\.2"):
        fitting_passwords(moved)


@pytest.mark.parametrize(("first", "then"), [({}, SEVERAL), (SEVERAL, {"machines": {}})])
def test_between_one_machine_and_several_nothing_moves(make_project, there, no_engine_here, first, then):
    there()
    shape_of = {"data_centers": 3, "nodes": 1}
    note_running(make_project(**{**shape_of, **first}))
    with pytest.raises(OtherData, match=r"has its data on .*, and the settings place it elsewhere"):
        fitting_passwords(make_project(**{**shape_of, **then}))


def test_data_on_this_host_is_found_where_machines_were_set_afterwards(make_project, there, monkeypatch):
    there()
    monkeypatch.setattr(placing.readiness, "engine_problem", lambda: None)
    monkeypatch.setattr(engine.Engine, "must", lambda self, command: Answer(command, "pgha_pgbackrest\n", "", 0))
    with pytest.raises(OtherData, match="pgbackrest of project pgha has its data on this host"):
        fitting_passwords(make_project(**SEVERAL))


def test_the_address_of_a_machine_may_change(make_project, there, no_engine_here):
    there()
    note_running(make_project(**SEVERAL))
    given = {"engine": "ssh://10.0.0.2", "address": "10.1.0.2"}
    fitting_passwords(make_project(**{**SEVERAL, "machines": {**MACHINES, "dc2": given}}))
