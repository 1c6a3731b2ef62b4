import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from pgha.errors import Missing
from pgha.project import certificates
from pgha.project.certificates import authority, ensure_certificates, names_in, names_of, pair_of

SSH_HOSTS = ["pg1-node1", "pg1-node2", "pg2-node1", "pg2-node2", "pg3-node1", "pg3-node2", "pgbackrest"]
HOSTS = ["etcd1", "etcd2", "etcd3", "etcd4", "etcd5", *SSH_HOSTS]


@pytest.fixture
def certified(a_project):
    ensure_certificates(a_project)
    return a_project


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def all_files(project):
    folder = project.certificates_folder
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def hosts_of(report):
    return [path.rsplit("/", 1)[-1].removesuffix(".crt") for path in report]


def test_every_host_gets_one(a_project):
    report = ensure_certificates(a_project)
    assert hosts_of(report.made) == ["ca", *HOSTS]
    assert report.kept == ()
    assert report.made[1] == "tls/pgha/hosts/etcd1.crt"
    assert {str(path) for path in all_files(a_project)} == {
        "ca.crt", "ca.key", *(f"hosts/{host}.{kind}" for host in HOSTS for kind in ("crt", "key")),
    }  # fmt: skip


def test_without_tls_those_that_speak_pgbackrest_get_one(make_project):
    project = make_project(tls=False)
    assert hosts_of(ensure_certificates(project).made) == ["ca", *SSH_HOSTS]
    names = read(pair_of(project, "pg1-node1").certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["pg1-node1", "pgha-pg1-node1"]


def test_without_tls_and_a_repository_nobody_needs_one(make_project):
    project = make_project(pgbackrest=False, tls=False)
    assert ensure_certificates(project).made == ()
    assert not project.certificates_folder.exists()


def test_all_files_are_for_their_owner_alone(certified):
    pair_of(certified, "pg1-node1").key.chmod(0o644)
    ensure_certificates(certified)
    paths = [path for path in certified.certificates_folder.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}


def test_a_host_is_who_its_certificate_says(certified):
    for host in HOSTS:
        certificate = read(pair_of(certified, host).certificate)
        assert [name.value for name in certificate.subject] == [host]
        assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [host, f"pgha-{host}", "localhost"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
        assert certificate.public_key().curve.name == "secp256r1"


def test_clients_find_the_names_and_addresses_they_use(make_project):
    """Each but once, in an order that stays: a certificate with these is not made again."""
    given = {"publish_address": "192.0.2.7", "certificate_names": "db.example.com 198.51.100.1 localhost"}
    for _ in range(2):
        made = ensure_certificates(make_project(**given)).made
    assert made == ()
    known = names_in(read(pair_of(make_project(), "pg2-node1").certificate))
    assert known == [
        "pg2-node1", "pgha-pg2-node1", "localhost", "127.0.0.1", "192.0.2.7", "db.example.com", "198.51.100.1",
    ]  # fmt: skip
    assert "192.0.2.7" not in names_in(read(pair_of(make_project(), "pgbackrest").certificate))
    check(make_project(), "pg2-node1", "db.example.com")


def test_another_name_is_a_certificate_of_the_same_authority(certified, make_project):
    ca = read(authority(certified).certificate)
    made = ensure_certificates(make_project(certificate_names="db.example.com")).made
    assert hosts_of(made) == [host for host in SSH_HOSTS if host != "pgbackrest"]
    assert read(authority(certified).certificate) == ca


def test_without_tls_they_name_what_pgbackrest_asks_for(make_project):
    project = make_project(tls=False, certificate_names="db.example.com")
    ensure_certificates(project)
    assert names_in(read(pair_of(project, "pg1-node1").certificate)) == ["pg1-node1", "pgha-pg1-node1"]


def check(project, host, name, role="server"):
    """As a client or a server would."""
    builder = PolicyBuilder().store(Store([read(authority(project).certificate)]))
    certificate = read(pair_of(project, host).certificate)
    if role == "client":
        return builder.build_client_verifier().verify(certificate, [])
    return builder.build_server_verifier(x509.DNSName(name)).verify(certificate, [])


def test_the_chain_verifies(certified):
    for host in HOSTS:
        assert len(check(certified, host, host)) == 2
        assert len(check(certified, host, host, "client").chain) == 2
    with pytest.raises(VerificationError):
        check(certified, "pg1-node1", "pg1-node2")


def handshake(client, server, name):
    """A TLS handshake in memory; the certificate that the server saw."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1].getpeercert()


def context(project, host, purpose):
    pair = pair_of(project, host)
    made = ssl.create_default_context(purpose, cafile=authority(project).certificate)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(pair.certificate, pair.key)
    return made


def test_openssl_takes_them_on_both_sides(certified):
    client = context(certified, "pg1-node1", ssl.Purpose.SERVER_AUTH)
    server = context(certified, "pgbackrest", ssl.Purpose.CLIENT_AUTH)
    assert handshake(client, server, "pgbackrest")["subject"] == ((("commonName", "pg1-node1"),),)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
        handshake(client, server, "pg1-node2")


def test_another_project_s_certificate_is_refused(certified, make_project):
    other = make_project(project="other")
    ensure_certificates(other)
    client = context(other, "pg1-node1", ssl.Purpose.SERVER_AUTH)
    server = context(certified, "pgbackrest", ssl.Purpose.CLIENT_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "pgbackrest")


def test_they_hold_for_ten_years_and_for_a_clock_that_is_behind(certified):
    now = datetime.now(UTC)
    for path in [authority(certified).certificate, pair_of(certified, "pg1-node1").certificate]:
        certificate = read(path)
        assert certificate.not_valid_before_utc < now - timedelta(hours=23)
        assert certificate.not_valid_after_utc > now + timedelta(days=3649)


def test_certificates_are_never_replaced_unasked(certified):
    before = all_files(certified)
    report = ensure_certificates(certified)
    assert report.made == ()
    assert hosts_of(report.kept) == ["ca", *HOSTS]
    assert all_files(certified) == before


def test_rotate_makes_all_again_and_the_authority_too(certified):
    before, old = all_files(certified), read(authority(certified).certificate)
    report = ensure_certificates(certified, rotate=True)
    assert report.kept == ()
    after = all_files(certified)
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path in before)
    check(certified, "pgbackrest", "pgbackrest")
    with pytest.raises(ValueError, match="Issuer certificate subject does not match"):
        read(pair_of(certified, "pgbackrest").certificate).verify_directly_issued_by(old)


def test_a_new_host_gets_its_certificate_from_the_authority_that_is_there(make_project):
    small, large = make_project(nodes=1), make_project(nodes=2)
    ensure_certificates(small)
    before = all_files(small)
    assert hosts_of(ensure_certificates(large).made) == ["etcd4", "etcd5", "pg1-node2", "pg2-node2", "pg3-node2"]
    after = all_files(large)
    assert all(after[path] == before[path] for path in before)
    check(large, "pg3-node2", "pg3-node2")


def lose(project, host):
    pair_of(project, host).key.unlink()


def all_names(project, host):
    return names_of(project, project.topology.host(host))


def foreign(project, host):
    """Of another authority."""
    other = certificates.new_authority(project)
    certificates.write_identity(pair_of(project, host), certificates.issue(other, all_names(project, host)))


def renamed(project, host):
    issuer = certificates._read(project, authority(project))
    certificates.write_identity(pair_of(project, host), certificates.issue(issuer, [host]))


def past(project, host):
    issuer = certificates._read(project, authority(project))
    valid, certificates.VALID = certificates.VALID, timedelta(seconds=-1)
    try:
        certificates.write_identity(pair_of(project, host), certificates.issue(issuer, all_names(project, host)))
    finally:
        certificates.VALID = valid


def overwritten(project, host):
    path = pair_of(project, host).certificate
    path.write_bytes(DAMAGES["overwritten"](path.read_bytes()))


@pytest.mark.parametrize("change", [lose, foreign, renamed, past, overwritten])
def test_a_certificate_that_is_of_no_use_is_made_again(certified, change):
    change(certified, "pg2-node1")
    assert hosts_of(ensure_certificates(certified).made) == ["pg2-node1"]
    check(certified, "pg2-node1", "pg2-node1")
    assert ensure_certificates(certified).made == ()


def test_an_authority_whose_time_is_over_is_named(certified, monkeypatch):
    monkeypatch.setattr(certificates, "VALID", timedelta(seconds=-1))
    ensure_certificates(certified, rotate=True)
    with pytest.raises(Missing, match=r"tls/pgha/ca\.crt: its time is over") as caught:
        ensure_certificates(certified)
    assert caught.value.hint.startswith("inv keys --rotate")


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_a_lost_part_of_the_authority_is_named(certified, name):
    (certified.certificates_folder / name).unlink()
    before = all_files(certified)
    with pytest.raises(Missing, match=f"tls/pgha/{name} is missing") as caught:
        ensure_certificates(certified)
    hint = caught.value.hint
    assert "inv keys --rotate, then inv up" in hint and ("inv rotate" in hint) == (name == "ca.key")
    assert all_files(certified) == before


def other_kind(text):
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def encrypted(text):
    key = ec.generate_private_key(ec.SECP256R1())
    hidden = serialization.BestAvailableEncryption(b"phrase")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


DAMAGES = {
    "empty": lambda text: b"",
    "zeros": lambda text: b"\0" * len(text),
    "cut": lambda text: text[: len(text) // 2],
    "overwritten": lambda text: text[:60] + b"AAAAAAAA" + text[68:],
}


FILES = ["ca.crt", "ca.key", "hosts/pg2-node1.crt", "hosts/pg2-node1.key"]


@pytest.mark.parametrize(
    ("name", "damage"),
    # A host's certificate that can be read and is signed no more is one of another authority.
    [(name, damage) for name in FILES for damage in DAMAGES if (name, damage) != (FILES[2], "overwritten")],
)
def test_a_damaged_file_is_named_and_left_as_it_is(certified, name, damage):
    path = certified.certificates_folder / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    before = all_files(certified)
    with pytest.raises(Missing, match=f"tls/pgha/{name.rsplit('.', 1)[0]}") as caught:
        ensure_certificates(certified)
    assert "inv keys --rotate" in caught.value.hint
    assert all_files(certified) == before


@pytest.mark.parametrize("replace", [other_kind, encrypted])
def test_a_key_of_another_kind_is_named(certified, replace):
    path = pair_of(certified, "pg1-node1").key
    path.write_bytes(replace(None))
    with pytest.raises(Missing, match="tls/pgha/hosts/pg1-node1"):
        ensure_certificates(certified)


def test_the_key_of_another_host_is_named(certified):
    other = pair_of(certified, "pg1-node2").key.read_bytes()
    pair_of(certified, "pg1-node1").key.write_bytes(other)
    with pytest.raises(Missing, match=r"pg1-node1\.crt does not belong to tls/pgha/hosts/pg1-node1\.key"):
        ensure_certificates(certified)


def test_rotate_replaces_a_damaged_file(certified):
    authority(certified).key.write_text("damaged")
    ensure_certificates(certified, rotate=True)
    check(certified, "pg1-node1", "pg1-node1")


@pytest.mark.parametrize("writes", range(4))
def test_what_was_interrupted_leaves_no_pair_that_does_not_belong_together(a_project, monkeypatch, writes):
    real, count = certificates.write_file, iter(range(100))

    def write_file(*arguments):
        if next(count) == writes:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(certificates, "write_file", write_file)
    with pytest.raises(KeyboardInterrupt):
        ensure_certificates(a_project)
    monkeypatch.setattr(certificates, "write_file", real)
    ensure_certificates(a_project)
    check(a_project, "pg1-node1", "pg1-node1")


def test_a_certificate_names_the_addresses_of_its_host_once_it_has_some(certified):
    record = replace(certified.record(), subnet="172.30.240.0/20")
    certified.write_record(record)
    assert len(ensure_certificates(certified).made) == len(HOSTS)
    names = certificates.names_in(read(pair_of(certified, "etcd2").certificate))
    assert names == ["etcd2", "pgha-etcd2", "localhost", "127.0.0.1", "172.30.244.12", "172.30.240.12"]
    assert ensure_certificates(certified).made == ()
    certified.write_record(replace(record, subnet="172.30.224.0/20"))
    assert len(ensure_certificates(certified).made) == len(HOSTS)


def test_a_block_that_has_no_room_for_another_shape_names_none_of_its_addresses(make_project):
    """As after more data centers were set, before anything is rendered."""
    small = make_project(data_centers=1, nodes=1)
    small.write_record(replace(small.record(), subnet="172.30.240.0/22"))
    ensure_certificates(small)
    large = make_project(data_centers=2, nodes=1)
    assert certificates.is_to_be_made_again(large, large.topology.host("etcd1"))
    ensure_certificates(large)
    assert names_in(read(pair_of(large, "etcd1").certificate)) == ["etcd1", "pgha-etcd1", "localhost", "127.0.0.1"]
