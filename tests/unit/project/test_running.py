"""What runs, beside settings that were changed since."""

from dataclasses import replace

import pytest

from pgha.model.settings import read_settings
from pgha.project.passwords import settled_passwords, write_passwords
from pgha.project.record import Record
from pgha.project.running import FILE, as_it_runs, kept_ports, note_running

PORTS = {"postgres": {"pg1-node1": 50551}, "ssh": {"pg1-node1": 50651}}


@pytest.fixture
def ran(make_project):
    project = make_project(data_centers=1, nodes=1, superuser_password="secret")
    project.write_record(Record({}, PORTS))
    note_running(project)
    return project


def changed(ran, **settings):
    given = {"data_centers": 1, "nodes": 1, **settings}
    return as_it_runs(replace(ran, settings=read_settings(given)))


def test_what_was_never_up_is_as_the_settings_say(a_project):
    assert as_it_runs(a_project) is a_project
    assert a_project.ports == a_project.record().ports


def test_nothing_differs_after_up(ran):
    seen = as_it_runs(ran)
    assert (seen.settings, seen.running.differs, seen.ports) == (ran.settings, {}, PORTS)


def test_what_runs_is_looked_at_where_it_is_and_the_difference_is_named(ran):
    seen = changed(ran, nodes=2, publish_address="192.0.2.2", pgbackrest="off", parameters={"work_mem": "8MB"})
    assert [node.name for node in seen.topology.nodes] == ["pg1-node1"]
    assert (seen.settings.client_address, seen.settings.pgbackrest) == ("127.0.0.1", True)
    assert list(seen.running.differs.values()) == [
        "nodes 2, not 1", "pgbackrest off, not on", "publish_address 192.0.2.2, not 127.0.0.1", "parameters",
    ]  # fmt: skip


def test_ports_that_were_rendered_and_not_brought_up_are_not_those_that_run(ran):
    ran.write_record(Record({}, {"postgres": {"pg1-node1": 40000}, "ssh": {"pg1-node1": 40001}}))
    assert as_it_runs(ran).ports == PORTS


def test_ports_of_what_runs_are_kept_when_the_first_ones_were_others_for_a_while(make_project):
    project = make_project(data_centers=1, nodes=1)
    first = project.settings.first_ports
    moved = {"postgres": {"pg1-node1": first["postgres"] + 7}, "ssh": {"pg1-node1": first["ssh"]}}
    project.write_record(Record({}, moved, first))
    note_running(project)
    assert kept_ports(project) == moved
    elsewhere = {"postgres": {"pg1-node1": 40000}, "ssh": moved["ssh"]}
    project.write_record(Record({}, elsewhere, {**first, "postgres": 40000}))
    assert kept_ports(project) == moved
    other = replace(project, settings=read_settings({"data_centers": 1, "nodes": 1, "postgres_port": 40000}))
    assert kept_ports(other) == elsewhere
    assert kept_ports(as_it_runs(other)) == moved


@pytest.mark.parametrize(
    "settings",
    [{"up_timeout": 900}, {"drill_gap_lost": 300}, {"schedule_incr": "* * * * *"}, {"restapi_password": "x"}],
)
def test_what_a_command_reads_as_it_goes_is_the_present_setting(ran, settings):
    seen = changed(ran, **settings)
    assert seen.running.differs == {}
    assert seen.settings == read_settings({"data_centers": 1, "nodes": 1, **settings})


def test_a_password_that_is_not_the_one_in_use_is_named_and_not_shown(ran):
    write_passwords(ran, settled_passwords(ran, None))
    assert changed(ran, superuser_password="secret").running.differs == {}
    assert changed(ran, superuser_password="other").running.differs == {
        "superuser_password": "superuser_password is another one"
    }


def test_no_secret_is_written_down(ran):
    assert "secret" not in (ran.folder / FILE).read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 1, "ports": {}}', '{"settings": {}, "ports": 1}'])
def test_a_damaged_file_tells_nothing(ran, text):
    (ran.folder / FILE).write_text(text)
    assert as_it_runs(ran) is ran


def test_a_setting_of_another_version_is_left_out(ran):
    file = ran.folder / FILE
    file.write_text(file.read_text().replace('"nodes": 1', '"nodes_of_old": 1'))
    assert as_it_runs(ran).running.differs == {}
