"""Keys and certificates that are to replace those in use: what holds meanwhile, on this host's side."""

import pytest
from cryptography import x509

from pgha.errors import Damaged
from pgha.project import coming
from pgha.project.certificates import authority, ensure_certificates, pair_of
from pgha.project.coming import CERTIFICATES, KEYS
from pgha.project.keys import (
    adopt_keys,
    authorized_keys_text,
    begin_keys,
    ensure_keys,
    known_hosts_text,
    user_and_host_keys,
)
from pgha.project.successors import (
    adopt_certificates,
    begin_certificates,
    certificate_text,
    terms,
    trust_both,
    trust_new,
    trusted_names,
)


@pytest.fixture
def project(make_project):
    made = make_project(data_centers=1)
    ensure_keys(made)
    ensure_certificates(made)
    return made


def keys(project):
    return [path.read_text() for path in user_and_host_keys(project)]


def lines(text):
    return set(text.splitlines())


def test_both_keys_are_trusted_until_the_rotation_is_over(project):
    old, hosts, users = keys(project), lines(known_hosts_text(project)), lines(authorized_keys_text(project))
    begin_keys(project, {})
    assert keys(project) == old, "in use are the old ones"
    both = lines(known_hosts_text(project)), lines(authorized_keys_text(project))
    assert hosts < both[0] and len(both[0]) == 2 * len(hosts)
    assert users < both[1] and len(both[1]) == 2 * len(users)
    for _ in range(2):
        adopt_keys(project)
        assert not set(keys(project)) & set(old)
        assert (lines(known_hosts_text(project)), lines(authorized_keys_text(project))) == both
    assert lines(known_hosts_text(project, settled=True)) == both[0] - hosts
    assert lines(authorized_keys_text(project, settled=True)) == both[1] - users
    coming.forget(project, KEYS)
    assert lines(known_hosts_text(project)) == both[0] - hosts
    made = ensure_keys(project)
    assert made.made == (), "each has the public half that belongs to it"
    assert lines(authorized_keys_text(project)) == both[1] - users


def chains(project, host):
    """Whether a host's certificate is of an authority in the file that every host gets."""
    own = x509.load_pem_x509_certificate(pair_of(project, host).certificate.read_bytes())
    trusted = x509.load_pem_x509_certificates(authority(project).certificate.read_bytes())
    return [ca.subject for ca in trusted if ca.subject == own.issuer and not own.verify_directly_issued_by(ca)] != []


def test_both_authorities_are_trusted_until_the_rotation_is_over(project):
    old, certificate = trusted_names(project), certificate_text(project, "pgbackrest")
    begin_certificates(project, {})
    assert (trusted_names(project), certificate_text(project, "pgbackrest")) == (old, certificate)
    trust_both(project)
    both = trusted_names(project)
    assert both[:1] == old and len(both) == 2
    for _ in range(2):
        adopt_certificates(project)
        assert trusted_names(project) == (both[1], both[0]), "first is the one whose key is in use"
        assert certificate_text(project, "pgbackrest") != certificate
        assert chains(project, "pgbackrest") and chains(project, "pg1-node1")
    trust_both(project)
    assert trusted_names(project) == (both[1], both[0])
    trust_new(project)
    assert trusted_names(project) == both[1:]
    coming.forget(project, CERTIFICATES)
    assert ensure_certificates(project).made == (), "they belong together"


def test_a_second_rotation_leaves_out_what_the_first_one_let_go(project):
    for _ in range(2):
        begin_certificates(project, {})
        trust_both(project)
        assert len(trusted_names(project)) == 2
        adopt_certificates(project)
        coming.forget(project, CERTIFICATES)
    # It was given up before the former authority was let go.
    assert len(trusted_names(project)) == 2


def test_nothing_is_coming_when_the_making_of_it_was_interrupted(project):
    def fill(folder):
        folder.mkdir()
        (folder / "id_ed25519").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        coming.begin(project, KEYS, {}, fill)
    assert coming.half_rotated(project) == ""
    begin_keys(project, {"pg1-node1": "as it was"})
    assert coming.half_rotated(project) == KEYS
    assert coming.marks(project) == {"pg1-node1": "as it was"}
    coming.forget(project, KEYS)
    assert (coming.half_rotated(project), coming.marks(project)) == ("", {})


def test_damaged_marks_are_named(project):
    begin_certificates(project, {})
    (coming.coming(project, CERTIFICATES) / coming.MARKS).write_text("[")
    with pytest.raises(Damaged, match=r"marks\.yaml is damaged") as caught:
        coming.marks(project)
    assert caught.value.hint


def test_new_keys_and_certificates_all_at_once_give_up_what_was_coming(project):
    begin_keys(project, {})
    ensure_keys(project, rotate=True)
    begin_certificates(project, {})
    ensure_certificates(project, rotate=True)
    assert coming.half_rotated(project) == ""
    assert len(lines(known_hosts_text(project))) == len(project.topology.ssh_hosts)
    assert len(trusted_names(project)) == 1


def test_while_certificates_are_coming_none_is_made_beside_them(project):
    begin_certificates(project, {})
    pair_of(project, "pg1-node1").certificate.unlink()
    assert ensure_certificates(project).made == ()


def test_how_long_certificates_hold(project, make_project):
    found = terms(project)
    assert {term.whose for term in found} == {"authority", *(host.name for host in project.topology.hosts)}
    assert {term.days_left for term in found} == {3649}
    assert terms(make_project(pgbackrest=False, tls=False)) == []
