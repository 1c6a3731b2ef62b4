"""The record of hosts that were stopped on purpose."""

import pytest

from pgha.errors import Damaged
from pgha.failures import healing
from pgha.project import maintenance
from pgha.project.maintenance import Stopped
from pgha.stack.maintenance import stopped
from pgha.tools.docker import Container

NODE, MEMBER = Stopped("pg1-node1", "9:00", 100), Stopped("etcd2", "9:01", 200)


def test_what_is_written_down_is_read_again_and_replaced_and_forgotten(a_project):
    assert maintenance.read(a_project) == ()
    maintenance.add(a_project, [NODE])
    maintenance.add(a_project, [MEMBER])
    later = Stopped("pg1-node1", "9:30", 300)
    maintenance.add(a_project, [later])
    assert maintenance.read(a_project) == (MEMBER, later)
    maintenance.remove(a_project, ["etcd2", "pg2-node1"])
    assert maintenance.read(a_project) == (later,)
    maintenance.clear(a_project)
    assert not maintenance.path_of(a_project).exists()


def container(name, state="exited", started="9:00"):
    return Container(name, f"pgha-{name}", "image", state, "", "", (), started=started)


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ([container("pg1-node1")], ["pg1-node1"]),
        ([container("pg1-node1", started="9:30")], []),  # started since, and ended for another reason
        ([container("pg1-node1", "running", "9:30")], []),
        ([container("pg1-node1", "running")], []),  # `stop` was interrupted before it did anything
        ([], []),  # made anew under another name, or taken away
    ],
)
def test_a_host_is_in_maintenance_while_its_container_is_as_stop_left_it(a_project, found, shown):
    maintenance.add(a_project, [NODE])
    assert [entry.host for entry in stopped(a_project, {c.service: c for c in found})] == shown


@pytest.mark.parametrize("content", ["- host: x", "[1]", "{", "- {host: a, started: b, since: c}"])
def test_a_damaged_record_has_its_way_on(a_project, content):
    path = maintenance.path_of(a_project)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(Damaged, match=r"maintenance\.yaml is damaged") as caught:
        maintenance.read(a_project)
    assert "inv start" in caught.value.hint


def test_heal_leaves_it_stopped_and_does_not_wait_for_it(a_project, monkeypatch):
    there = {name: container(name, "running") for name in ("etcd1", "pg2-node1")}
    there |= {"pg1-node1": container("pg1-node1"), "etcd3": container("etcd3")}
    started, waited = [], []
    monkeypatch.setattr(healing.engine, "require_engine", lambda project: None)
    monkeypatch.setattr(healing.engine, "containers", lambda project: there)
    monkeypatch.setattr(healing.engine, "start", lambda project, hosts, hint: started.extend(hosts))
    monkeypatch.setattr(healing.networks, "reconnect", lambda project: [])
    monkeypatch.setattr(healing, "_wait_until_redundant", lambda project, kept, progress: waited.extend(kept))
    maintenance.add(a_project, [NODE])
    healed = healing.heal(a_project, None)
    assert (started, waited, healed.revived) == (["etcd3"], ["pg1-node1"], ("etcd3",))
