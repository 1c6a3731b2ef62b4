"""Certificates that succeed those in use, with an authority of their own; and how long those in use hold.

Who takes the files meanwhile trusts both authorities, so that a server with an old certificate and a client with a new
one, or the other way round, still speak with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from pgha.project import coming
from pgha.project.certificates import (
    CLOCKS_APART,
    ROTATE,
    Pair,
    authority,
    authority_in,
    hosts_with_one,
    issue,
    load_certificate,
    names_in,
    names_of,
    new_authority,
    pair_in,
    pair_of,
    trusted_authority,
    write_identity,
)
from pgha.project.files import write_file
from pgha.project.keys import read_key
from pgha.project.project import Project


def begin_certificates(project: Project, marks: Mapping[str, str]) -> None:
    """Make an authority and certificates that are to come, beside those in use."""

    def fill(folder: Path) -> None:
        issuer = new_authority(project)
        write_identity(authority_in(folder), issuer)
        for host in hosts_with_one(project):
            write_identity(pair_in(folder, host.name), issue(issuer, names_of(project, host)))
        # Only the first: an earlier one has no say any more.
        old = trusted_authority(project)
        write_file(folder / FORMER, old.public_bytes(serialization.Encoding.PEM).decode(), 0o600)

    coming.begin(project, coming.CERTIFICATES, marks, fill)


FORMER = "former.crt"
"""The certificate of the authority that is to go."""


def trust_both(project: Project) -> None:
    """Whoever takes the authority's file from now on trusts the old and the new one; first is whose key is in use."""
    folder, own = coming.coming(project, coming.CERTIFICATES), authority(project)
    new, old = authority_in(folder), (folder / FORMER).read_text()
    texts = [old, new.certificate.read_text()]
    if own.key.exists() and own.key.read_bytes() == new.key.read_bytes():
        texts.reverse()
    write_file(own.certificate, "".join(texts), 0o600)


def adopt_certificates(project: Project) -> None:
    """Those that are to come take the place of those in use, and the old authority is trusted still; done twice,
    nothing."""
    folder = coming.coming(project, coming.CERTIFICATES)
    for host in hosts_with_one(project):
        _copy(pair_in(folder, host.name), pair_of(project, host.name))
    write_file(authority(project).key, authority_in(folder).key.read_text(), 0o600)
    trust_both(project)


def trust_new(project: Project) -> None:
    """Only the new authority is trusted by whoever takes its file from now on."""
    _copy(authority_in(coming.coming(project, coming.CERTIFICATES)), authority(project))


def _copy(new: Pair, own: Pair) -> None:
    write_file(own.key, new.key.read_text(), 0o600)
    write_file(own.certificate, new.certificate.read_text(), 0o600)


def certificate_text(project: Project, host: str) -> str:
    """What a host's server has to show, by the present files: PEM. Raises Damaged."""
    own = read_key(project, pair_of(project, host).certificate, load_certificate, ROTATE, "a certificate")
    return own.public_bytes(serialization.Encoding.PEM).decode()


def trusted_names(project: Project) -> tuple[str, ...]:
    """The common names of the authorities that every host has to trust, by the present files. Raises Damaged."""
    path = authority(project).certificate
    trusted = read_key(project, path, x509.load_pem_x509_certificates, ROTATE, "a certificate")
    return tuple(_common_name(certificate) for certificate in trusted)


def _common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@dataclass(frozen=True)
class Term:
    """How long a certificate holds."""

    whose: str
    """a host, or `authority`"""
    made: datetime
    ends: datetime
    names: tuple[str, ...] = ()
    """host names and addresses it is for"""

    @property
    def days_left(self) -> int:
        return (self.ends - datetime.now(UTC)).days


def terms(project: Project) -> list[Term]:
    """Of the certificates that are there, the first to end first. Raises Damaged."""
    hosts = hosts_with_one(project)
    pairs = ({"authority": authority(project)} if hosts else {}) | {h.name: pair_of(project, h.name) for h in hosts}
    found = []
    for whose, pair in pairs.items():
        if pair.certificate.exists():
            own = read_key(project, pair.certificate, load_certificate, ROTATE, "a certificate")
            names = () if pair == authority(project) else tuple(names_in(own))
            found.append(Term(whose, own.not_valid_before_utc + CLOCKS_APART, own.not_valid_after_utc, names))
    return sorted(found, key=lambda term: term.ends)
