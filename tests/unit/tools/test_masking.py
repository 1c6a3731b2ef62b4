"""Text without secrets."""

import json
from urllib.parse import quote

import pytest
import yaml

from pgha.tools import statistics
from pgha.tools.masking import MASK, masked

ODD = "a'b\"c\\d:e/f g"


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda secret: f"--user=patroni:{secret} --silent",
        lambda secret: yaml.safe_dump({"key": secret}, default_style='"', width=1000),
        lambda secret: json.dumps({"key": secret}),
        lambda secret: json.dumps({"query": json.dumps(secret)}),
        lambda secret: "select '" + secret.replace("'", "''") + "'",
        lambda secret: "*:*:*:app:" + secret.replace("\\", "\\\\").replace(":", "\\:"),
        lambda secret: f"postgresql+x:{quote(secret, safe='')}",
        lambda secret: "key='" + secret.replace("\\", "\\\\").replace("'", "\\'") + "'",
    ],
)
@pytest.mark.parametrize("secret", [ODD, "k3Jq_-Zx9", "it's"])
def test_a_known_secret_is_masked_however_it_is_quoted(write, secret):
    text = write(secret)
    clean = masked(f"before {text} after", [secret])
    assert MASK in clean and clean.startswith("before ") and clean.endswith(" after")
    assert not any(part in clean for part in ("k3Jq", "it's", "it''s", "c\\d", "d:e", "d%3Ae", "e/f"))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  password: hunter2\nname: x", f"  password: {MASK}\nname: x"),
        ('{\n "password": "hunt\\"er2",\n "a": 1}', f'{{\n "password": "{MASK}",\n "a": 1}}'),
        ('password: "hunter2"\n', f'password: "{MASK}"\n'),
        ("password: 'hunter2'\n", f"password: {MASK}\n"),
        ("repo1-cipher-pass=hunter2\n", f"repo1-cipher-pass={MASK}\n"),
        ("host=a password=hunter2 user=b", f"host=a password={MASK} user=b"),
        ("host=a password='hunter2 \\' x' user=b", f"host=a password={MASK} user=b"),
        ("postgres://app:hunter2@host/db", f"postgres://app:{MASK}@host/db"),
        ("alter role a password 'hunter2' login", f"alter role a password {MASK} login"),
        ("ALTER ROLE a PASSWORD 'hunt''er2';", f"ALTER ROLE a PASSWORD {MASK};"),
        ("create user a with password E'hunter2", f"create user a with password E{MASK}"),
        ("Authorization: Basic aHVudGVyMg==", f"Authorization: Basic {MASK}"),
        ("as 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy' now", f"as '{MASK}' now"),
        ("md5" + "0123456789abcdef" * 2, MASK),
        ("a\n-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\nb", f"a\n{MASK}\nb"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2 is cut", MASK),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, clean):
    assert masked(text, []) == clean


@pytest.mark.parametrize(
    "text",
    [
        "password_encryption: scram-sha-256", "PasswordAuthentication no", "passfile=/pgha/config/pgpass",
        'FATAL:  password authentication failed for user "app"', "the password of app is in build/p/roles.pgpass",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI host", "http://pg1-node1:8008/patroni", '"pgpass": "./pgpass"',
    ],
)  # fmt: skip
def test_all_else_stays(text):
    assert masked(text, ["another"]) == text


def test_a_password_that_is_also_a_name_is_masked_where_a_password_stands():
    text = "user: postgres\npassword: postgres\n"
    assert masked(text, ["postgres"], ["postgres"]) == f"user: postgres\npassword: {MASK}\n"
    assert masked("a: 123\npassword: 1\n", ["1"]) == f"a: 123\npassword: {MASK}\n"


def test_one_secret_within_another_leaves_nothing_of_it():
    assert masked("the-secret-is-long", ["secret", "the-secret-is-long", ""]) == MASK


def test_each_view_of_the_statistics_is_read():
    text = 'pg_stat_wal\t[{"wal_records":7}]\npg_locks\t[]\nno view\nbroken\t[\n'
    assert {name: json.loads(rows) for name, rows in statistics.parse_views(text).items()} == {
        "pg_stat_wal": [{"wal_records": 7}], "pg_locks": [],
    }  # fmt: skip
