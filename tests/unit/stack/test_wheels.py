"""Patroni's wheel: real pip, and a folder in place of the index."""

import hashlib
import zipfile

import pytest

from pgha.console import Progress
from pgha.errors import Unreachable
from pgha.stack.wheels import fetch_wheels


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package in two versions, where pip looks instead of the index; their lines for requirements.txt."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return {version: make_wheel(folder, version) for version in ("1.0", "1.1")}


def make_wheel(folder, version):
    path = folder / f"thing-{version}-py3-none-any.whl"
    info = f"thing-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"thing=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def image(tmp_path):
    folder = tmp_path / "image"
    folder.mkdir()
    return folder


def fetch(image, line):
    (image / "requirements.txt").write_text(f"# why\n{line}")
    fetch_wheels(image, Progress())
    return [path.name for path in (image / "wheels").iterdir()]


def test_the_pinned_wheel_is_fetched_and_replaces_an_older_one(image, index):
    assert fetch(image, index["1.0"]) == ["thing-1.0-py3-none-any.whl"]
    assert fetch(image, index["1.1"]) == ["thing-1.1-py3-none-any.whl"]


def test_what_is_there_is_not_fetched_again(image, index, monkeypatch):
    fetch(image, index["1.0"])
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert fetch(image, index["1.0"]) == ["thing-1.0-py3-none-any.whl"]


def test_a_wheel_with_another_hash_is_refused_and_the_old_one_stays(image, index):
    fetch(image, index["1.0"])
    with pytest.raises(Unreachable, match=r"thing 1\.1 cannot be fetched"):
        fetch(image, f"thing==1.1 --hash=sha256:{64 * '0'}\n")
    assert [path.name for path in (image / "wheels").iterdir()] == ["thing-1.0-py3-none-any.whl"]


def test_an_index_without_it_is_said_in_one_line(image, index):
    with pytest.raises(Unreachable, match=r"thing 2\.0 cannot be fetched: No matching distribution found"):
        fetch(image, index["1.0"].replace("==1.0", "==2.0"))
