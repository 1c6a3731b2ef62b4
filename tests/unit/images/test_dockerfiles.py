"""What is copied into an image has its mode from there, whatever the umask of the checkout was."""

import re

import pytest

from pgha import ROOT

DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))


def copied(text):
    """Every file's path in the image."""
    # What comes from another image has its modes from there.
    for line in re.findall(r"^COPY (?!--from=)(.+)$", text, re.MULTILINE):
        *sources, target = line.split()
        yield from (target + source.rsplit("/", 1)[-1] if target.endswith("/") else target for source in sources)


def given_modes(text):
    """Path -> mode, of every chmod."""
    joined = text.replace("\\\n", " ")
    return {path: mode for mode, paths in re.findall(r"chmod (\d+) ([^&\n]+)", joined) for path in paths.split()}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_each_copied_file_is_given_its_mode(path):
    text = path.read_text()
    modes = given_modes(text)
    for file in copied(text):
        readable = any(part in file for part in ("/lib/pgha/", "/dpkg.cfg.d/", "/pgha/tls/"))
        assert modes.get(file) == ("0644" if readable else "0755"), file
    assert set(modes) == set(copied(text))
