"""Closed by default: ports, passwords, keys, logins."""

import io
import json
import subprocess
import tarfile

import psycopg
import pytest
from tools import docker, inspect, program

pytestmark = pytest.mark.integration


@pytest.fixture
def secrets(main):
    """Every generated password."""
    found = [main.passwords()[name] for name in ("superuser", "replication", "rewind", "restapi", "repository")]
    assert all(len(value) >= 20 for value in found)
    return found


def images(stack):
    return sorted({entry["Config"]["Image"] for entry in inspect(*stack.containers().values())})


def assert_none_in(secrets, text):
    assert text
    assert not [secret for secret in secrets if secret in text]


def test_ports_are_published_on_the_loopback_address_only(main):
    published = [
        binding["HostIp"]
        for entry in inspect(*main.containers().values())
        for bindings in entry["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    ]
    assert len(published) == 13
    assert set(published) == {"127.0.0.1"}


def test_no_password_is_on_show(main, secrets):
    assert_none_in(secrets, json.dumps(inspect(*main.containers().values())))
    assert_none_in(secrets, (main.folder / "compose.yaml").read_text())
    for image in images(main):
        assert_none_in(secrets, docker("history", "--no-trunc", image))
    for host in main.containers():
        assert_none_in(secrets, main.logs(host) or "empty")
        arguments = main.shell(host, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        environments = main.shell(host, "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '; true")
        assert_none_in(secrets, arguments + environments)


@pytest.fixture
def keys(main):
    """A line of each private key that belongs to that key alone."""
    folders = (main.keys_folder, main.certificates_folder)
    texts = [path.read_text() for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [text.splitlines()[-2] for text in texts if "PRIVATE KEY-----" in text]
    assert len(found) == 2 + 7 + 13
    return found


def test_no_private_key_is_on_show(main, keys):
    assert_none_in(keys, json.dumps(inspect(*main.containers().values())))
    for host in main.containers():
        assert_none_in([*keys, "PRIVATE KEY"], main.logs(host) or "empty")
    # A container has its own, and the authority's is in none.
    at = main.certificates_folder / "hosts"
    others = [path.read_text().splitlines()[-2] for path in at.glob("*.key") if path.stem != "pg1-node1"]
    others.append((main.certificates_folder / "ca.key").read_text().splitlines()[-2])
    places = "/etc /pgha /run/secrets /tmp /var/lib/postgresql /var/log"
    assert main.shell("pg1-node1", f"grep -rlsF -f - {places} || true", stdin="\n".join(others)) == ""


def test_passwords_and_keys_are_in_files_for_their_owner_only(main, secrets):
    private = [main.folder / "passwords.yaml", main.folder / "pgpass", *main.folder.glob("*/patroni.conf")]
    private += [*main.folder.glob("*/pgbackrest.conf"), *main.keys_folder.glob("*id_ed25519")]
    private += [path for path in (main.keys_folder / "host_keys").iterdir() if path.suffix != ".pub"]
    private += [path for path in main.certificates_folder.rglob("*") if path.is_file()]
    assert len(private) == 8 + 7 + 2 + 7 + 26
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    for path in (main.keys_folder / "id_ed25519.pub", main.keys_folder / "known_hosts"):
        assert path.stat().st_mode & 0o777 == 0o644
    others = [path for path in main.folder.rglob("*") if path.is_file() and path not in private]
    assert_none_in(secrets, "".join(path.read_text() for path in others))


def test_inside_the_containers_passwords_are_in_files_for_their_owner_only(main, secrets):
    places = "/etc /pgha /run/secrets /tmp /var/lib/postgresql /var/log /pgdata/17/*.conf /pgdata/17/*.json"
    for host in ("pg1-node1", "pg3-node2", "pgbackrest"):
        files = main.shell(host, f"grep -rlsF -f - {places} | xargs -r stat -c '%a %n'", stdin="\n".join(secrets))
        assert not [line for line in files.splitlines() if not line.startswith("600 ")], files
        # The repository host has its passphrase, the nodes have the database's passwords.
        assert files


def test_no_key_and_no_password_is_in_an_image(main, secrets):
    whole = subprocess.run(["docker", "save", *images(main)], capture_output=True, check=True, timeout=300).stdout
    names = []
    with tarfile.open(fileobj=io.BytesIO(whole)) as outer:
        for layer in (member for member in outer if member.name.endswith("layer.tar") and member.isfile()):
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                names += inner.getnames()
    del whole
    assert any(name.endswith("bin/patroni") for name in names)
    assert any(name.endswith("bin/sshd") for name in names)
    base = [name.rsplit("/", 1)[-1] for name in names]
    assert not [name for name in base if name.startswith(("ssh_host_", "id_ed25519", "id_rsa", "pgpass"))]
    secret = ("patroni.conf", "passwords.yaml", "host_key", "host.key", "ca.key", "ca.crt")
    assert not [name for name in base if name in secret]


def test_tcp_logins_need_the_right_password(main):
    for host in main.nodes:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(main.conninfo(host, password="wrong"))
    with psycopg.connect(main.conninfo("pg2-node1")) as connection:
        assert connection.execute("select current_user").fetchone() == ("postgres",)


def test_no_host_line_trusts(main):
    for host in main.nodes:
        lines = [line.split() for line in main.run(host, "cat", "/pgdata/17/pg_hba.conf").splitlines()]
        rules = [line for line in lines if line and not line[0].startswith("#")]
        assert [rule[0] for rule in rules] == ["local", "local", "hostssl", "hostssl"]
        assert [rule[4:] for rule in rules[2:]] == [["cert", "map=members"], ["scram-sha-256"]]
        assert not [rule for rule in rules if "trust" in rule]
    stored = main.sql(main.leader(), "select string_agg(left(rolpassword, 13), ' ') from pg_authid where rolcanlogin")
    assert set(stored.split()) == {"SCRAM-SHA-256"}


def test_patronis_rest_api_needs_its_password_for_changes(main):
    leader = main.leader()
    line = f"curl -s -o /dev/null -w '%{{http_code}}' -X POST -d '{{}}' https://{leader}:8008/restart"
    assert main.shell(main.replicas()[0], line) == "401"


def test_sshd_refuses_root_and_passwords(main):
    for host in ("pg1-node1", "pgbackrest"):
        as_root = main.openssh(host, "true", "-l", "root")
        assert as_root.returncode == 255
        assert "Permission denied (publickey)" in as_root.stderr
        password = main.openssh(host, "true", "-o", "PreferredAuthentications=password,keyboard-interactive")
        assert password.returncode == 255
        assert "Permission denied (publickey)" in password.stderr


def test_another_user_key_is_refused(main):
    made = main.run("pg1-node1", "sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /tmp/other && cat /tmp/other")
    main.run("pg1-node1", "rm", "/tmp/other", "/tmp/other.pub")
    other = main.folder / "other_key"
    other.write_text(made)
    other.chmod(0o600)
    try:
        config = (main.folder / "ssh_config").read_text()
        assert f'IdentityFile "{main.keys_folder / "id_ed25519"}"' in config
        answer = main.openssh(
            "pg1-node1", "true", "-o", "IdentityFile=none", "-i", str(other), "-F", str(without_key(main))
        )
        assert answer.returncode == 255
        assert "Permission denied" in answer.stderr
    finally:
        other.unlink()
        (main.folder / "ssh_config_without_key").unlink(missing_ok=True)


def without_key(stack):
    lines = (stack.folder / "ssh_config").read_text().splitlines(keepends=True)
    path = stack.folder / "ssh_config_without_key"
    path.write_text("".join(line for line in lines if "IdentityFile" not in line))
    return path


@pytest.fixture
def known_hosts(main):
    """The host keys this side knows; as they were afterwards."""
    path = main.keys_folder / "known_hosts"
    kept = path.read_text()
    yield path
    path.write_text(kept)


def swapped(text):
    """known_hosts with the keys of two hosts exchanged."""
    keys = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}
    keys["pg1-node1"], keys["pg1-node2"] = keys["pg1-node2"], keys["pg1-node1"]
    return "".join(f"{host} {key}\n" for host, key in keys.items())


def test_a_wrong_host_key_is_refused(main, known_hosts):
    known_hosts.write_text(swapped(known_hosts.read_text()))
    answer = main.openssh("pg1-node1", "hostname")
    assert answer.returncode == 255
    assert "Host key verification failed" in answer.stderr
    said = main.refused(5, "ssh", "--node", "pg1-node1", "--command", "hostname")
    assert "pg1-node1" in said and "host key" in said
    assert main.inv("ssh", "--node", "pg2-node1", "--command", "hostname").stdout.strip() == "pg2-node1"


def test_an_unknown_host_key_is_refused(main, known_hosts):
    lines = known_hosts.read_text().splitlines(keepends=True)
    known_hosts.write_text("".join(line for line in lines if not line.startswith("pg1-node1 ")))
    answer = main.openssh("pg1-node1", "hostname")
    assert answer.returncode == 255
    assert "Host key verification failed" in answer.stderr
    assert "pg1-node1" in main.refused(5, "ssh", "--node", "pg1-node1", "--command", "hostname")


def test_missing_keys_are_named(main):
    for name in ("id_ed25519", "known_hosts"):
        path = main.keys_folder / name
        path.rename(path.with_suffix(".away"))
        try:
            for line in (["ssh", "--node", "pg1-node1", "--command", "true"], ["status"], ["config"]):
                assert "inv keys" in main.refused(3, *line)
        finally:
            path.with_suffix(".away").rename(path)


def test_hosts_reach_each_other_without_a_question_and_strictly(main):
    pairs = (("pg1-node1", "pg3-node2"), ("pg2-node1", "pgbackrest"), ("pgbackrest", "pg3-node1"))
    for host, other in pairs:
        answer = main.run(host, "ssh", "-o", "BatchMode=yes", other, "hostname", user="postgres")
        assert answer.strip() == other
        settings = main.run(host, "ssh", "-G", other, user="postgres").splitlines()
        assert "stricthostkeychecking true" in settings
    assert "stricthostkeychecking true" in main.run("pgbackrest", "ssh", "-G", "pg1-node1", user="postgres")
    answer = program(
        "docker", "exec", "--user=postgres", main.container("pg1-node1"),
        "ssh", "-o", "BatchMode=yes", "-o", "HostKeyAlias=pg3-node1", "pg2-node1", "hostname", check=False,
    )  # fmt: skip
    assert answer.returncode == 255
    assert "Host key verification failed" in answer.stderr
