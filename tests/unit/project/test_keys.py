from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from pgha.errors import Missing
from pgha.project.keys import authorized_keys_text, containers_key, ensure_keys, host_key, require_user_key


@pytest.fixture
def keyed(a_project):
    ensure_keys(a_project)
    return a_project


def public_of(path):
    return path.with_name(path.name + ".pub").read_text()


def all_files(project):
    return {path: path.read_bytes() for path in sorted(project.keys_folder.rglob("*")) if path.is_file()}


def test_every_ssh_host_and_the_user_get_a_key(a_project):
    report = ensure_keys(a_project)
    assert len(report.made) == 2 + 6 + 1
    assert report.kept == ()
    assert {f"ssh/pgha/{who}id_ed25519" for who in ("", "containers_")} < set(report.made)
    assert "ssh/pgha/host_keys/pg3-node2" in report.made
    require_user_key(a_project)


def test_private_keys_are_for_the_owner_alone(keyed):
    for path in all_files(keyed):
        private = path.suffix != ".pub" and path.name != "known_hosts"
        assert path.stat().st_mode & 0o777 == (0o600 if private else 0o644), path


def test_a_loose_mode_is_tightened(keyed):
    keyed.identity_file.chmod(0o644)
    ensure_keys(keyed)
    assert keyed.identity_file.stat().st_mode & 0o777 == 0o600


def test_public_and_private_keys_belong_together(keyed):
    for path in [keyed.identity_file, containers_key(keyed), host_key(keyed, "pgbackrest")]:
        private = load_ssh_private_key(path.read_bytes(), None)
        assert load_ssh_public_key(public_of(path).encode()) == private.public_key()


def test_keys_are_never_replaced_unasked(keyed):
    before = all_files(keyed)
    report = ensure_keys(keyed)
    assert all_files(keyed) == before
    assert report.made == ()
    assert len(report.kept) == 9


def test_rotate_makes_every_key_again(keyed):
    before = all_files(keyed)
    report = ensure_keys(keyed, rotate=True)
    after = all_files(keyed)
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path in before)
    assert report.kept == ()


def test_a_larger_cluster_keeps_the_keys_it_has(make_project):
    small, large = make_project(nodes=1), make_project(nodes=2)
    ensure_keys(small)
    before = all_files(small)
    report = ensure_keys(large)
    assert sorted(report.made) == [f"ssh/pgha/host_keys/pg{dc}-node2" for dc in (1, 2, 3)]
    after = all_files(large)
    assert all(after[path] == before[path] for path in before if path.name != "known_hosts")


def test_a_lost_public_key_is_derived_again(keyed):
    before = all_files(keyed)
    for path in before:
        if path.suffix == ".pub":
            path.unlink()
    ensure_keys(keyed)
    assert all_files(keyed) == before


def test_a_wrong_public_key_is_put_right(keyed):
    before = all_files(keyed)
    public = keyed.identity_file.with_name("id_ed25519.pub")
    public.write_text(public_of(host_key(keyed, "pg1-node1")))
    ensure_keys(keyed)
    assert all_files(keyed) == before


def test_known_hosts_names_every_host_with_its_own_key(keyed):
    entries = dict(line.split(" ", 1) for line in keyed.known_hosts.read_text().splitlines())
    assert list(entries) == [host.name for host in keyed.topology.ssh_hosts]
    assert len(set(entries.values())) == len(entries)
    for name, text in entries.items():
        assert text == " ".join(public_of(host_key(keyed, name)).split()[:2])
        assert text.startswith("ssh-ed25519 ")


# Who may log in where ---------------------------------------------------------------------------------------


def test_the_operator_and_the_containers_may_log_in(keyed):
    paths = (keyed.identity_file, containers_key(keyed))
    assert authorized_keys_text(keyed) == "".join(public_of(path) for path in paths)
    assert [line.split()[-1] for line in authorized_keys_text(keyed).splitlines()] == ["pgha@pgha", "containers@pgha"]


def other_kind():
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def encrypted(key):
    return load_ssh_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"phrase")
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: b"",
        lambda key: b"\0" * len(key),
        lambda key: key[: len(key) // 2],
        lambda key: key.replace(b"OPENSSH", b"RSA"),
        lambda key: key[:100] + b"AAAA" + key[104:],
        lambda key: other_kind(),
        encrypted,
    ],
    ids=["empty", "zeros", "cut", "other-header", "overwritten", "other-kind", "encrypted"],
)
def test_a_damaged_key_is_named_and_left_as_it_is(keyed, damage):
    path = host_key(keyed, "pg2-node1")
    path.write_bytes(damage(path.read_bytes()))
    before = all_files(keyed)
    with pytest.raises(Missing, match="ssh/pgha/host_keys/pg2-node1 is not") as caught:
        ensure_keys(keyed)
    assert caught.value.hint == "inv keys --rotate"
    assert all_files(keyed) == before


def test_a_key_of_unknown_type_is_named(keyed):
    path = keyed.identity_file
    first, *body, last = path.read_bytes().splitlines()
    unknown = b64encode(b64decode(b"".join(body)).replace(b"ssh-ed25519", b"ssh-ed99999"))
    path.write_bytes(b"\n".join([first, unknown, last, b""]))
    with pytest.raises(Missing, match="id_ed25519 is not"):
        ensure_keys(keyed)


def test_rotate_replaces_a_damaged_key(keyed):
    keyed.identity_file.write_text("damaged")
    ensure_keys(keyed, rotate=True)
    require_user_key(keyed)


def test_a_missing_key_is_named(keyed):
    keyed.identity_file.unlink()
    with pytest.raises(Missing, match="id_ed25519 is missing") as caught:
        require_user_key(keyed)
    assert caught.value.hint == "inv keys"
