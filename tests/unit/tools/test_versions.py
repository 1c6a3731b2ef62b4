import pytest

from pgha.tools.versions import major


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20.10.24+dfsg1\n", 20),  # Debian 12's engine
        ("26.1.5+dfsg1\n", 26),  # Debian 13's
        ("28.2.2\n", 28),
        ("1.29.2\n", 1),  # docker-compose version --short, Debian 12
        ("2.26.1-4\n", 2),  # docker compose version --short, Debian 13
        ("v2.29.1\n", 2),
        ("Docker Compose version v2.36.0\n", 2),
        ("docker-compose version 1.29.2, build unknown\n", 1),
        ("5:2.29.1-1~debian.12", 2),  # a Debian version with an epoch
        ("15.18", 15),  # psql
        ("18beta1", 18),
        ("18rc1", 18),
        ("19devel", 19),
        ("", 0),
        ("dev\n", 0),
    ],
)
def test_the_major_of_a_version(text, found):
    assert major(text) == found
