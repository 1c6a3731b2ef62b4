"""A checkout keeps its id when it is moved, and a copy gets one of its own."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgha.errors import Damaged
from pgha.project.checkout import checkout_id, file_of


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    return folder


def test_the_id_stays(checkout):
    assert checkout_id(checkout) == checkout_id(checkout) != ""


def test_two_checkouts_differ(checkout, tmp_path):
    (tmp_path / "two").mkdir()
    assert checkout_id(checkout) != checkout_id(tmp_path / "two")


def test_a_moved_checkout_is_the_same(checkout, tmp_path):
    known = checkout_id(checkout)
    moved = checkout.rename(tmp_path / "moved")
    assert checkout_id(moved) == known
    assert checkout_id(moved) == known
    # Something new in its old place is another one.
    checkout.mkdir()
    assert checkout_id(checkout) != known


def test_a_copy_is_another_one_and_the_original_stays(checkout, tmp_path):
    known = checkout_id(checkout)
    copy = shutil.copytree(checkout, tmp_path / "copy")
    other = checkout_id(copy)
    assert other != known
    assert (checkout_id(checkout), checkout_id(copy)) == (known, other)


def test_another_path_to_the_same_checkout_is_the_same(checkout, tmp_path):
    known = checkout_id(checkout)
    link = tmp_path / "link"
    link.symlink_to(checkout)
    assert checkout_id(link) == known


def test_commands_at_once_agree(checkout):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: checkout_id(checkout), range(8)))) == 1


@pytest.mark.parametrize("content", ["", "[]", "id: x", "\x00"])
def test_a_damaged_file_is_named_and_left_as_it_is(checkout, content):
    file = file_of(checkout)
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(Damaged, match=r"build/checkout\.yaml"):
        checkout_id(checkout)
    assert file.read_text() == content
