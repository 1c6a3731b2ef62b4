import pytest

from pgha.model.releases import release_for, suite_of


@pytest.mark.parametrize(
    ("postgres", "base", "tag", "pgdg", "etcd"),
    [
        (14, "debian:trixie-slim", "trixie-pgdg", True, "pgha-etcd-3.5"),
        (15, "debian:bookworm-slim", "bookworm", False, "pgha-etcd-3.4"),
        (16, "debian:trixie-slim", "trixie-pgdg", True, "pgha-etcd-3.5"),
        (17, "debian:trixie-slim", "trixie", False, "pgha-etcd-3.5"),
        (18, "debian:forky-slim", "forky", False, "pgha-etcd-3.5"),
    ],
)
def test_where_a_major_comes_from(postgres, base, tag, pgdg, etcd):
    release = release_for(postgres)
    assert release.base_image == base
    assert release.pgdg is pgdg
    assert release.etcd_image == f"{etcd}:{tag}"
    assert release.patroni_image == f"pgha-pg{postgres}-patroni:{tag}"
    assert release.pgbackrest_image == f"pgha-pgbackrest:{tag}"
    assert release.shared_image == f"pgha-base:{tag}"


def test_images_can_be_a_checkout_s_own():
    one, other = release_for(17, own_tag="mine"), release_for(16, own_tag="mine")
    assert (one.patroni_image, one.shared_image) == ("pgha-pg17-patroni:trixie-mine", "pgha-base:trixie-mine")
    assert other.tag == "trixie-pgdg-mine"
    assert one.base_image == release_for(17).base_image


@pytest.mark.parametrize("postgres", [14, 15, 16, 17, 18])
def test_on_ubuntu_every_major_comes_from_pgdg(postgres):
    release = release_for(postgres, "mirror.local/library/ubuntu:24.04")
    assert release.base_image == "mirror.local/library/ubuntu:24.04"
    assert release.tag == "noble-pgdg"
    assert release.pgdg


def test_another_base_makes_a_foreign_major_come_from_pgdg():
    release = release_for(17, "debian:bookworm-slim")
    assert (release.tag, release.pgdg) == ("bookworm-pgdg", True)


@pytest.mark.parametrize(
    ("image", "suite"),
    [
        ("debian:trixie", "trixie"),
        ("debian:trixie-slim", "trixie"),
        ("registry:5000/debian:bookworm-slim", "bookworm"),
        ("ubuntu:noble", "noble"),
        ("ubuntu:24.04", "noble"),
    ],
)
def test_known_base_images(image, suite):
    assert suite_of(image).name == suite


@pytest.mark.parametrize(
    "image", ["debian", "debian:", "debian:24.04", "ubuntu:22.04", "ubuntu:bookworm", "mydebian:trixie", "alpine:3"]
)
def test_unknown_base_images(image):
    assert suite_of(image) is None
    with pytest.raises(ValueError, match="not a known base image"):
        release_for(17, image)
