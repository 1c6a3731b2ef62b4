"""The project's certificates: an authority of its own, and for each host one that it shows as server and as client.

pgBackRest's servers and their clients use them, etcd, Patroni and Postgres.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pgha.errors import Damaged
from pgha.model.addresses import addresses, block_of, fits
from pgha.model.topology import Host
from pgha.project import coming
from pgha.project.files import write_file
from pgha.project.keys import KeysReport, read_key
from pgha.project.project import Project

VALID = timedelta(days=3650)
"""Ten years, the authority too. Rotation is a command that a person types, and a certificate that ends by itself would
stop archiving on a day nobody chose."""

CLOCKS_APART = timedelta(days=1)
"""A certificate is valid from so long before it is made: the clock of another machine may be behind."""

ROTATE = "inv keys --rotate, then inv up"

WITHOUT_KEY = (
    "restore it from a copy; or make another authority: inv rotate --what certificates, of a stack that does not run "
    + ROTATE
)


@dataclass(frozen=True)
class Pair:
    """A certificate's file and its key's."""

    certificate: Path
    key: Path

    @property
    def there(self) -> bool:
        return self.certificate.exists() and self.key.exists()


@dataclass(frozen=True)
class Identity:
    """The content of a pair."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority(project: Project) -> Pair:
    return authority_in(project.certificates_folder)


def authority_in(folder: Path) -> Pair:
    """The authority's pair in such a folder."""
    return Pair(folder / "ca.crt", folder / "ca.key")


def pair_of(project: Project, host: str) -> Pair:
    return pair_in(project.certificates_folder, host)


def pair_in(folder: Path, host: str) -> Pair:
    """A host's pair in such a folder."""
    return Pair(folder / "hosts" / f"{host}.crt", folder / "hosts" / f"{host}.key")


def hosts_with_one(project: Project) -> tuple[Host, ...]:
    """Those whose servers speak TLS: all, or those between which pgBackRest speaks."""
    if project.settings.tls:
        return project.topology.hosts
    return project.topology.ssh_hosts if project.topology.repository else ()


def ensure_certificates(project: Project, rotate: bool = False) -> KeysReport:
    """Make the certificates that are missing, or all of them again with a new authority.

    One of another authority, for other names, or whose time is over is made again.
    Raises Damaged for a file that cannot be read, and then writes nothing over it.
    """
    hosts = hosts_with_one(project)
    if rotate:
        coming.forget(project, coming.CERTIFICATES)
    if not hosts or coming.coming(project, coming.CERTIFICATES).exists():
        # Those that are coming are all there; which ones hold already is the rotation's.
        return KeysReport((), tuple(project.relative(pair_of(project, host.name).certificate) for host in hosts))
    ca = authority(project)
    pairs = {pair_of(project, host.name): names_of(project, host) for host in hosts}
    known = not rotate and any(pair.certificate.exists() for pair in (ca, *pairs))
    issuer = read_authority(project, ca) if known else new_authority(project)
    made = {} if known else {ca: issuer}
    for pair, names in pairs.items():
        there = pair.there and not rotate
        if not there or not _fits(_read(project, pair).certificate, issuer.certificate, names):
            made[pair] = issue(issuer, names)
    for pair, identity in made.items():
        write_identity(pair, identity)
    for path in (path for pair in (ca, *pairs) for path in (pair.certificate, pair.key)):
        path.chmod(0o600)
    told = {pair: project.relative(pair.certificate) for pair in (ca, *pairs)}
    return KeysReport(
        tuple(told[pair] for pair in told if pair in made), tuple(told[pair] for pair in told if pair not in made)
    )


def names_of(project: Project, host: Host) -> list[str]:
    """The names by which a container is found on the project's networks, and within itself; the first is who it is.

    With its addresses, once it has some: etcd takes a member's certificate only from where that says, and asking the
    name service for it would depend on the network that this looks into first. A Postgres is found by clients of this
    host and of other machines, too."""
    own, settings = [host.name, project.container(host.name)], project.settings
    if not settings.tls:
        return own
    noted = project.record().subnet
    block = block_of(noted) if noted else None
    # Of another shape, which it has no room for, the next rendering chooses another.
    found = addresses(project.topology, block, host) if block and fits(project.topology, block) else {}
    published = [settings.client_address, *settings.certificate_names.split()] if host in project.topology.nodes else []
    # What it sends to other machines comes from its own one's address.
    machine = [host.machine.address] if host.machine else []
    return list(dict.fromkeys([*own, "localhost", "127.0.0.1", *map(str, found.values()), *machine, *published]))


def names_in(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a certificate is for. Raises ValueError when it is for none."""
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError("it names no host") from error
    return [str(name.value) for name in known if isinstance(name, (x509.DNSName, x509.IPAddress))]


def _subject_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def new_authority(project: Project) -> Identity:
    """A key and its certificate, signed by itself; nothing is written."""
    key = ec.generate_private_key(ec.SECP256R1())
    # With a name of its own: a server names those it trusts.
    name = _name(f"{project.name} CA {secrets.token_hex(4)}")
    builder = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    )
    return Identity(builder.sign(key, hashes.SHA256()), key)


def issue(issuer: Identity, names: list[str]) -> Identity:
    """A key and a certificate for these names; nothing is written."""
    key = ec.generate_private_key(ec.SECP256R1())
    roles = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        _builder(_name(names[0]), issuer.certificate.subject, key)
        .add_extension(x509.SubjectAlternativeName([_subject_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(roles, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    return Identity(builder.sign(issuer.key, hashes.SHA256()), key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*allowed: str) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in allowed for name in names})


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _fits(certificate: x509.Certificate, ca: x509.Certificate, names: list[str]) -> bool:
    """Whether a host can go on with it."""
    try:
        certificate.verify_directly_issued_by(ca)
        known = names_in(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return known == [str(_subject_name(name).value) for name in names] and not _is_over(certificate)


def is_to_be_made_again(project: Project, host: Host) -> bool:
    """Whether `ensure_certificates` would replace a host's certificate that can be read."""
    try:
        own = load_certificate(pair_of(project, host.name).certificate.read_bytes())
        ca = load_certificate(authority(project).certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return not _fits(own, ca, names_of(project, host))


def _is_over(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc <= datetime.now(UTC)


def load_certificate(text: bytes) -> x509.Certificate:
    """The first one of a file, for `read_key`. Its parts are read when they are asked for: those that everything here
    needs are asked for at once."""
    certificate = x509.load_pem_x509_certificate(text)
    certificate.public_key()
    return certificate


def _load_authority(text: bytes) -> x509.Certificate:
    certificate = load_certificate(text)
    try:
        certificate.verify_directly_issued_by(certificate)
    except InvalidSignature:
        raise ValueError("its signature is wrong") from None
    return certificate


def read_authority(project: Project, ca: Pair) -> Identity:
    """Raises Damaged, also when its time is over."""
    if ca.certificate.exists() and not ca.key.exists():
        raise Damaged(f"{project.relative(ca.key)} is missing", WITHOUT_KEY)
    issuer = _read(project, ca, _load_authority)
    _require_time(project, ca, issuer.certificate)
    return issuer


def trusted_authority(project: Project) -> x509.Certificate:
    """The certificate alone, whose key may be lost. Raises Damaged, also when its time is over."""
    ca = authority(project)
    certificate = read_key(project, ca.certificate, _load_authority, ROTATE, "a certificate")
    _require_time(project, ca, certificate)
    return certificate


def _require_time(project: Project, ca: Pair, certificate: x509.Certificate) -> None:
    if _is_over(certificate):
        raise Damaged(f"{project.relative(ca.certificate)}: its time is over", ROTATE)


def _read(project: Project, pair: Pair, load: Callable[[bytes], x509.Certificate] = load_certificate) -> Identity:
    key = read_key(project, pair.key, lambda text: serialization.load_pem_private_key(text, None), ROTATE)
    certificate = read_key(project, pair.certificate, load, ROTATE, "a certificate")
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise Damaged(
            f"{project.relative(pair.certificate)} does not belong to {project.relative(pair.key)}",
            f"restore both from a copy, or {ROTATE}",
        )
    return Identity(certificate, key)


def write_identity(pair: Pair, identity: Identity) -> None:
    """A key without its certificate is nothing, and both are made again: an interruption leaves no pair that does not
    belong together."""
    key = identity.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair.certificate.unlink(missing_ok=True)
    write_file(pair.key, key.decode(), 0o600)
    write_file(pair.certificate, identity.certificate.public_bytes(serialization.Encoding.PEM).decode(), 0o600)
