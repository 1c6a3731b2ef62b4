"""A project of another checkout is refused by name, until it is taken over."""

import pytest

from pgha.errors import MachineUnreachable, OtherCheckout
from pgha.project.checkout import checkout_id
from pgha.remote import engine, engines
from pgha.stack.ownership import require_ours, take_over
from pgha.tools import docker
from pgha.tools.command import Answer


@pytest.fixture
def owned(monkeypatch):
    """What the engine would say: containers (checkout -> folder), and the checkouts of volumes."""

    def owned(containers, volumes):
        monkeypatch.setattr(engine, "engine_problem", lambda project: None)
        monkeypatch.setattr(engine, "owners", lambda project: containers)
        monkeypatch.setattr(engine, "volume_owners", lambda project: set(volumes))

    return owned


@pytest.fixture
def own(a_project):
    return checkout_id(a_project.root)


def test_one_s_own_and_an_older_one_are_accepted(a_project, owned, own):
    for containers, volumes in (({}, ()), ({"": ""}, ("",)), ({own: "/here/build/pgha"}, (own, "")), ({}, (own,))):
        owned(containers, volumes)
        require_ours(a_project)


@pytest.mark.parametrize("older", [{}, {"": ""}])
def test_another_one_s_is_refused_by_name(a_project, owned, older):
    owned({**older, "other": "/there/build/pgha"}, ("other",))
    with pytest.raises(OtherCheckout, match="Project pgha belongs to another checkout, /there,") as caught:
        require_ours(a_project)
    assert "--take-over" in caught.value.hint
    assert (caught.value.exit_code, caught.value.kind) == (3, "other_checkout")


def test_a_part_of_another_one_s_is_enough(a_project, owned, own):
    for containers, volumes in (({own: "", "other": ""}, (own,)), ({own: ""}, (own, "other")), ({}, ("other",))):
        owned(containers, volumes)
        with pytest.raises(OtherCheckout):
            require_ours(a_project)


def test_a_volume_that_was_taken_over_keeps_its_label_and_is_accepted(a_project, owned, own):
    owned({"other": "/there/build/pgha"}, ("other",))
    take_over(a_project)
    assert a_project.record().taken == ("other",)
    for containers in ({own: ""}, {}):
        owned(containers, ("other",))
        require_ours(a_project)
    owned({own: ""}, ("other", "third"))
    with pytest.raises(OtherCheckout):
        require_ours(a_project)


def test_who_took_over_is_refused_when_the_first_one_takes_it_back(a_project, owned, own):
    owned({"other": ""}, ("other",))
    take_over(a_project)
    owned({"other": ""}, ("other",))
    with pytest.raises(OtherCheckout):
        require_ours(a_project)


def test_without_an_engine_nothing_is_asked(a_project):
    require_ours(a_project)
    assert not (a_project.root / "build").exists()


def test_the_engine_s_lines_are_read():
    text = "ab12 /a folder/build/pgha\n \ncd34\n"
    assert docker.parse_owners(text) == {"ab12": "/a folder/build/pgha", "": "", "cd34": ""}


def test_a_machine_that_is_away_hides_no_other_one_s_project(make_project, monkeypatch):
    machines = {"dc1": "ssh://10.0.0.1", "backup": "ssh://10.0.0.2"}
    project = make_project(data_centers=1, nodes=1, machines=machines)

    def reach(machine):
        if machine.name == "10.0.0.1":
            raise MachineUnreachable("away")
        return "/d/b.sock"

    monkeypatch.setattr(engines.tunnels, "reach", reach)
    answers = {"ps": "other /there/build/pgha/10.0.0.2\n", "volume": "other\n"}
    monkeypatch.setattr(engines.Engine, "must", lambda self, command: Answer(command, answers[command.argv[1]], "", 0))
    with pytest.raises(OtherCheckout, match="Project pgha belongs to another checkout, /there,"):
        require_ours(project)
