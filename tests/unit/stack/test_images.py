"""Which images a project can be brought up with."""

import re

import pytest

from pgha import ROOT
from pgha.errors import NotBuilt
from pgha.stack import images


class Engine:
    """Has every image, and those of these names with TLS."""

    def __init__(self, labelled):
        self.labelled = labelled

    def has_image(self, name):
        return True

    def image_label(self, name, label):
        assert label == images.TLS_LABEL
        return "on" if name in self.labelled else ""


def test_images_from_before_there_was_tls_are_named(make_project, monkeypatch):
    """`up --at-once` would stop everything, and etcd would not start again."""
    project = make_project()
    etcd, patroni, _ = images.image_names(project)
    for labelled, old in (((), etcd), ((etcd,), patroni)):
        monkeypatch.setattr(images, "HERE", Engine(labelled))
        with pytest.raises(NotBuilt, match=f"Image {re.escape(old)} was built before there was TLS") as caught:
            images.require_images(project)
        assert caught.value.hint.startswith("inv build")
        images.require_images(make_project(tls=False))
    monkeypatch.setattr(images, "HERE", Engine((etcd, patroni)))
    images.require_images(project)


@pytest.mark.parametrize("folder", ["etcd", "patroni"])
def test_those_that_are_built_say_so(folder):
    text = (ROOT / "images" / folder / "Dockerfile").read_text()
    assert f"\nLABEL {images.TLS_LABEL}=on\n" in text
