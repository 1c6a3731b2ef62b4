"""A project of another checkout is refused by name, until it is taken over."""

import pytest

from pgha.errors import OtherCheckout
from pgha.project.checkout import checkout_id
from pgha.remote import engine
from pgha.stack.ownership import require_ours, take_over
from pgha.tools import docker


@pytest.fixture
def owned_by(monkeypatch):
    """What the engine would say: checkout -> folder."""

    def owned_by(**owners):
        monkeypatch.setattr(engine, "engine_problem", lambda: None)
        monkeypatch.setattr(engine, "owners", lambda project: {key.strip("_"): value for key, value in owners.items()})

    return owned_by


def test_one_s_own_and_an_older_one_are_accepted(a_project, owned_by):
    for owners in ({}, {"_": ""}, {checkout_id(a_project.root): "/here/build/pgha"}):
        owned_by(**owners)
        require_ours(a_project)


@pytest.mark.parametrize("more", [{}, {"_": ""}])
def test_another_one_s_is_refused_by_name(a_project, owned_by, more):
    owned_by(other="/there/build/pgha", **more)
    with pytest.raises(OtherCheckout, match="Project pgha belongs to another checkout, /there,") as caught:
        require_ours(a_project)
    assert "--take-over" in caught.value.hint
    assert (caught.value.exit_code, caught.value.kind) == (3, "other_checkout")


def test_a_part_of_another_one_s_is_enough(a_project, owned_by):
    owned_by(**{checkout_id(a_project.root): "/here/build/pgha", "other": ""})
    with pytest.raises(OtherCheckout):
        require_ours(a_project)


def test_what_was_taken_over_is_accepted_and_a_third_one_s_is_not(a_project, owned_by):
    owned_by(other="/there/build/pgha")
    take_over(a_project)
    require_ours(a_project)
    assert a_project.record().taken == ("other",)
    owned_by(other="", third="")
    with pytest.raises(OtherCheckout):
        require_ours(a_project)


def test_without_an_engine_nothing_is_asked(a_project):
    require_ours(a_project)
    assert not (a_project.root / "build").exists()


def test_the_engine_s_lines_are_read():
    text = "ab12 /a folder/build/pgha\n \ncd34\n"
    assert docker.parse_owners(text) == {"ab12": "/a folder/build/pgha", "": "", "cd34": ""}
