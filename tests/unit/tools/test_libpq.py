import pytest

from pgha.tools.libpq import has_password, parse_psql_version

PASSFILE = """\
# host:port:database:user:password
#*:*:*:commented:secret
*:*:*:postgres:se\\:cret
*:*:app\\:db:app:it
pg1-node1:5432:*:one_host:secret
*:*:*:short
"""


@pytest.mark.parametrize(
    ("user", "dbname", "known"),
    [
        ("postgres", "postgres", True),
        ("postgres", "any", True),
        ("app", "app:db", True),
        ("app", "postgres", False),
        ("commented", "postgres", False),
        ("one_host", "postgres", False),
        ("short", "postgres", False),
        ("*", "postgres", False),
        ("other", "postgres", False),
    ],
)
def test_a_passfile_is_read_as_libpq_reads_it(user, dbname, known):
    assert has_password(PASSFILE, user, dbname) is known


def test_a_line_for_all_users_is_for_each():
    assert has_password("*:*:*:*:secret\n", "app", "app")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "15.18"),
        ("psql (PostgreSQL) 18beta1\n", "18beta1"),
        ("psql (EnterpriseDB) 9\n", ""),
        ("", ""),
    ],
)
def test_the_version_of_psql(text, version):
    assert parse_psql_version(text) == version
