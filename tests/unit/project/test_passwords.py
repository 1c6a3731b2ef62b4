from dataclasses import replace

import pytest
import yaml

from pgha.errors import Damaged, Missing, NotRendered
from pgha.project.passwords import (
    OWN,
    ROTATED,
    Passwords,
    begin_rotation,
    kept_passwords,
    passwords_file,
    rotated,
    with_role,
    write_passwords,
)


def own(passwords):
    """The project's own."""
    return [getattr(passwords, name) for name in OWN]


def test_passwords_are_generated_long_and_all_different(a_project, write_down_passwords):
    values = own(write_down_passwords(a_project))
    assert len(set(values)) == 6
    assert all(len(value) >= 24 for value in values)


def test_passwords_are_kept(a_project, write_down_passwords):
    assert write_down_passwords(a_project) == write_down_passwords(a_project)


def test_two_projects_have_different_ones(make_project, write_down_passwords):
    one, other = write_down_passwords(make_project(project="one")), write_down_passwords(make_project(project="other"))
    assert not set(own(one)) & set(own(other))


def test_the_file_is_for_the_owner_alone(a_project, write_down_passwords):
    write_down_passwords(a_project)
    passwords_file(a_project).chmod(0o644)
    write_down_passwords(a_project)
    assert passwords_file(a_project).stat().st_mode & 0o777 == 0o600


def test_given_passwords_replace_generated_ones_and_stay(make_project, write_down_passwords):
    generated = write_down_passwords(make_project())
    given = write_down_passwords(make_project(superuser_password="given one", restapi_password="0123"))
    assert given == replace(generated, superuser="given one", restapi="0123")
    assert write_down_passwords(make_project()) == given


@pytest.mark.parametrize("password", ["0123", "null", "yes", "- a: 'b'", '#"\\', " spaces ", "1e3"])
def test_a_given_password_survives_the_file(make_project, write_down_passwords, password):
    write_down_passwords(make_project(superuser_password=password))
    assert kept_passwords(make_project()).superuser == password


WHOLE = dict.fromkeys(("superuser", "replication", "rewind", "restapi", "repository", "digest_key"), "x" * 24)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"just text",
        b"a: [",
        b"\xff\xfe\x00",
        yaml.safe_dump({key: value for key, value in WHOLE.items() if key != "rewind"}).encode(),
        yaml.safe_dump({key: value for key, value in WHOLE.items() if key != "repository"}).encode(),
        yaml.safe_dump({**WHOLE, "superuser": None}).encode(),
        yaml.safe_dump({**WHOLE, "superuser": ""}).encode(),
        yaml.safe_dump({**WHOLE, "superuser": ["a"]}).encode(),
    ],
    ids=["empty", "list", "text", "not-yaml", "binary", "one-lacks", "no-phrase", "null", "empty-value", "list-value"],
)
def test_a_damaged_file_is_named_and_left_as_it_is(a_project, content):
    path = passwords_file(a_project)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Missing, match=r"build/pgha/passwords.yaml is damaged"):
        kept_passwords(a_project)
    assert path.read_bytes() == content


def test_a_password_is_in_no_repr(a_project, write_down_passwords):
    passwords = write_down_passwords(a_project)
    assert not any(value in repr(passwords) for value in own(passwords))


def test_a_digest_is_keyed_and_tells_texts_apart():
    passwords = Passwords("a", "b", "c", "d", "e", digest_key="key")
    other = replace(passwords, digest_key="other")
    assert passwords.digest("text") != other.digest("text")
    assert passwords.digest("ab", "c") != passwords.digest("a", "bc")
    assert passwords.digest("text") == passwords.digest("text")
    assert passwords.id != other.id


@pytest.mark.parametrize("name", ["superuser", "replication", "rewind", "restapi"])
def test_the_id_changes_with_each_password(name):
    passwords = Passwords("a", "b", "c", "d", "e", digest_key="key")
    assert replace(passwords, **{name: "new"}).id != passwords.id


def test_the_passphrase_is_none_of_the_database_s_passwords():
    passwords = Passwords("a", "b", "c", "d", "e", digest_key="key")
    assert replace(passwords, repository="new").id == passwords.id


def test_a_given_passphrase_replaces_the_generated_one_and_stays(make_project, write_down_passwords):
    generated = write_down_passwords(make_project())
    given = write_down_passwords(make_project(repository_passphrase="a phrase"))
    assert given == replace(generated, repository="a phrase")
    assert write_down_passwords(make_project()) == given


def test_a_role_s_password_is_made_once_and_kept_with_the_others(a_project, write_down_passwords):
    before = write_down_passwords(a_project)
    with_app = with_role(a_project, "app")
    assert with_app.roles["app"]
    assert with_role(a_project, "app") == with_app == kept_passwords(a_project)
    assert write_down_passwords(a_project) == with_app, "render keeps it"
    assert (with_app.id, with_app.repository_id, with_app.superuser) == (
        before.id,
        before.repository_id,
        before.superuser,
    )
    assert with_app.roles["app"] not in repr(with_app)


def test_a_file_without_roles_is_a_whole_one(a_project, write_down_passwords):
    write_down_passwords(a_project)
    assert "roles" not in passwords_file(a_project).read_text()
    assert kept_passwords(a_project).roles == {}
    passwords_file(a_project).write_text(passwords_file(a_project).read_text() + "roles: [app]\n")
    with pytest.raises(Damaged):
        kept_passwords(a_project)


def test_without_passwords_there_is_none_for_a_role(a_project):
    with pytest.raises(NotRendered):
        with_role(a_project, "app")


def test_both_the_old_and_the_new_are_kept_until_a_rotation_is_done(a_project, write_down_passwords):
    before = write_down_passwords(a_project)
    begun = begin_rotation(a_project, before)
    assert kept_passwords(a_project) == begun == write_down_passwords(a_project)
    assert [getattr(begun, name) for name in ROTATED] == [getattr(before, name) for name in ROTATED]
    after = rotated(begun)
    assert not {getattr(after, name) for name in ROTATED} & set(own(before))
    assert (after.coming, after.repository, after.id) == ({}, before.repository, before.id), "volumes keep their mark"
    write_passwords(a_project, after)
    assert kept_passwords(a_project) == after == write_down_passwords(a_project)


def test_what_a_setting_names_is_taken_or_stays(make_project, write_down_passwords):
    before = write_down_passwords(make_project(rewind_password="stays"))
    begun = begin_rotation(make_project(rewind_password="stays", superuser_password="mine"), before)
    assert begun.coming["superuser"] == "mine"
    assert set(begun.coming) == {"superuser", "replication", "restapi"}


def test_a_given_password_is_not_taken_for_one_the_volumes_were_made_with(make_project, write_down_passwords):
    after = rotated(begin_rotation(make_project(), write_down_passwords(make_project())))
    write_passwords(make_project(), after)
    assert write_down_passwords(make_project(superuser_password="other")).id != after.id
