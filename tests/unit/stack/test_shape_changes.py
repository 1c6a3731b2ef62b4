"""What a new shape means for the hosts that are there, and which shapes are refused."""

from dataclasses import replace

import pytest

from pgha.errors import BadSettings, BadValue
from pgha.project.record import Record
from pgha.remote import engine
from pgha.remote.engine import Volume
from pgha.stack import scaling
from pgha.stack.scaling import change_of, target_of
from pgha.tools.docker import Container
from pgha.upgrade import gates


@pytest.fixture
def there(monkeypatch):
    """The containers and volumes of a project."""

    def there(project, *, lacking=(), volumes=()):
        found = {
            host.name: Container(host.name, f"pgha-{host.name}", "", "running", "", "", (),
                                 networks={f"pgha_{host.site.name}": "1", "pgha_wan": "2"})
            for host in project.topology.hosts if host.name not in lacking
        }  # fmt: skip
        held = [Volume(f"pgha_{name}", "", "") for name in (*found, *volumes)]
        monkeypatch.setattr(engine, "containers", lambda project: found)
        monkeypatch.setattr(engine, "volumes", lambda project: held)
        return project

    return there


def change(there, make_project, old, new, **spoiled):
    runs = there(make_project(data_centers=old[0], nodes=old[1]), **spoiled)
    return change_of(runs, make_project(data_centers=new[0], nodes=new[1]))


def test_one_node_more_touches_nothing_else(there, make_project):
    found = change(there, make_project, (1, 2), (1, 3))
    assert (found.create, found.move, found.again, found.remove) == (("pg1-node3",), (), (), ())
    assert change(there, make_project, (1, 2), (1, 2)).is_nothing


def test_another_data_center_takes_etcd_members_with_it(there, make_project):
    found = change(there, make_project, (1, 2), (2, 2))
    assert found.create == ("pg2-node1", "pg2-node2")
    assert (found.move, found.again) == (("etcd2", "etcd3"), ("pg1-node1", "pg1-node2"))


def test_more_nodes_may_need_more_etcd_members(there, make_project):
    found = change(there, make_project, (3, 1), (3, 2))
    assert found.create == ("etcd4", "etcd5", "pg1-node2", "pg2-node2", "pg3-node2")
    assert (found.move, found.remove) == ((), ())


def test_what_goes_is_named_also_when_only_its_volume_is_left(there, make_project):
    found = change(there, make_project, (3, 2), (3, 1), lacking=["pg3-node2"], volumes=["pg3-node2"])
    assert found.remove == ("etcd4", "etcd5", "pg1-node2", "pg2-node2", "pg3-node2")
    assert change(there, make_project, (1, 2), (1, 3), lacking=["pg1-node2"]).create == ("pg1-node2", "pg1-node3")


def test_the_shape_is_that_of_the_flags_else_of_a_half_done_scale_else_of_the_settings(make_project):
    project = make_project(data_centers=1)
    shapes = [target_of(project, *flags).flags for flags in (("", ""), ("", "3"), ("2", ""))]
    assert [(flags["data_centers"], flags["nodes"]) for flags in shapes] == [("1", "2"), ("1", "3"), ("2", "2")]
    project.write_record(Record({}, {}, scaling={"data_centers": "3", "nodes": "1"}))
    assert target_of(project, "", "").flags == {"data_centers": "3", "nodes": "1"}
    assert target_of(project, "", "2").topology.data_centers[-1].name == "dc3"


@pytest.mark.parametrize(
    ("flags", "words"), [(("", "three"), "nodes: 'three'"), (("5", "2"), "is the most"), (("0", ""), "0 is not")]
)
def test_a_shape_that_cannot_be_is_refused(a_project, flags, words):
    with pytest.raises(BadSettings, match=words):
        target_of(a_project, *flags)


def test_hosts_that_were_given_up_are_made_anew_and_what_is_left_of_them_goes_first(there, make_project, monkeypatch):
    gone = ("pg1-node1", "etcd1", "pg2-node1", "etcd2")
    runs = replace(make_project(data_centers=3, nodes=1), gone=gone)
    monkeypatch.setattr(engine, "given_up", lambda project: {"etcd2": None})
    there(runs, volumes=["pg1-node1", "etcd1"])
    target = target_of(runs, "", "")
    assert target.gone == () and target.topology == runs.whole
    found = change_of(runs, target)
    assert set(found.create) == set(gone)
    assert found.anew == ("etcd1", "etcd2", "pg1-node1")
    assert (found.remove, found.again) == ((), ("pg3-node1",))
    # A smaller shape without them removes what is left of them.
    smaller = change_of(runs, target_of(runs, "1", ""))
    assert {"etcd2", "pg3-node1"} & set(smaller.remove) == {"pg3-node1"}
    assert set(smaller.anew) == {"etcd1", "etcd2", "pg1-node1"}


def test_among_machines_the_shape_is_not_changed(make_project):
    machines = {"dc1": "ssh://10.0.0.1", "backup": "ssh://10.0.0.2"}
    project = make_project(data_centers=1, nodes=1, machines=machines)
    with pytest.raises(BadValue, match="Among several machines the shape is not changed"):
        scaling.check(project, "2", "1")
    with pytest.raises(BadValue, match="no major upgrade yet"):
        gates.check(project, 18, drop_slots=False)
