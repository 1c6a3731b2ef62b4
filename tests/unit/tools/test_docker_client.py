"""Which Compose goes with which engine, and which package has it: decided by versions as they were captured."""

import pytest

from pgha.tools import debian, docker_client


@pytest.mark.parametrize(
    ("compose", "engine", "fits"),
    [
        ("1.29.2", "20.10.24+dfsg1", True),
        ("1.29.2", "24.0.7", True),
        ("1.29.2", "25.0.0", False),
        ("1.29.2", "28.2.2", False),
        ("2.26.1-4", "28.2.2", True),
        ("v2.29.1", "20.10.24+dfsg1", True),
        ("", "28.2.2", True),
        ("1.29.2", "", True),
    ],
)
def test_the_first_compose_does_not_go_with_a_new_engine(compose, engine, fits):
    assert docker_client.fits_together(compose, engine) is fits


BOOKWORM = """\
docker-compose:
  Installed: (none)
  Candidate: 1.29.2-3
  Version table:
     1.29.2-3 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
"""

TRIXIE = """\
docker-compose:
  Installed: (none)
  Candidate: 2.26.1-4
  Version table:
     2.26.1-4 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
"""

NOBLE = """\
docker-compose-v2:
  Installed: (none)
  Candidate: 2.24.6+ds1-0ubuntu2
  Version table:
     2.24.6+ds1-0ubuntu2 500
docker-compose:
  Installed: (none)
  Candidate: 1.29.2-6ubuntu1
  Version table:
     1.29.2-6ubuntu1 500
"""

DOCKERS_OWN = """\
docker-compose-plugin:
  Installed: (none)
  Candidate: 5:2.29.1-1~debian.12~bookworm
  Version table:
docker-compose:
  Installed: 1.29.2-3
  Candidate: 1.29.2-3
  Version table:
"""

NOTHING = """\
docker-compose:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


@pytest.mark.parametrize(
    ("policy", "package"),
    [
        (BOOKWORM, "docker-compose"),
        (TRIXIE, "docker-compose"),
        (NOBLE, "docker-compose-v2"),
        (DOCKERS_OWN, "docker-compose-plugin"),
        (NOTHING, ""),
        ("", ""),
    ],
)
def test_the_second_compose_is_installed_where_apt_offers_it(policy, package):
    assert debian.compose_package(debian.parse_policy(policy)) == package


@pytest.mark.parametrize(
    ("text", "socket", "default"),
    [
        ("default unix:///var/run/docker.sock\n", "/var/run/docker.sock", True),
        ("rootless unix:///run/user/1000/docker.sock\n", "/run/user/1000/docker.sock", False),
        (
            "desktop-linux unix:///home/a b/.docker/desktop/docker.sock\n",
            "/home/a b/.docker/desktop/docker.sock",
            False,
        ),
        ("far ssh://admin@host\n", "", False),
        ("\n", "", False),
    ],
)
def test_the_context_tells_where_the_engine_is(text, socket, default):
    endpoint = docker_client.parse_context(text)
    assert (endpoint.socket, endpoint.is_own) == (socket, default)
    assert bool(endpoint.hint) is not default
