"""Rotations of keys and certificates on containers that are folders: whoever has an old one is trusted by all others
at every moment, wherever it is interrupted."""

from collections import Counter
from functools import cache
from types import SimpleNamespace

import pytest
from cryptography import x509

from pgha.console import Progress
from pgha.errors import BadValue, HalfDone, LosesQuorum, PghaError, ToolFailed
from pgha.project import successors
from pgha.project.certificates import authority, ensure_certificates
from pgha.project.coming import CERTIFICATES, KEYS, half_rotated
from pgha.project.files import write_file
from pgha.project.keys import authorized_keys_text, ensure_keys, host_public_key
from pgha.stack import certified, identities, postgres_tls, rendering
from pgha.stack.rendering import secrets_of
from pgha.tools import rotation, trust
from pgha.tools.etcd import EtcdView


class World:
    """Containers with the files they were given, and what their services have read of them."""

    def __init__(self, project):
        self.project = project
        self.fails_at = 0
        self.calls = Counter()
        self.files, self.read = {}, {}
        self.postgres = {}
        """what the Postgres of a node has read"""
        for host in project.topology.hosts:
            self.start(host.name)

    def _read(self, host):
        self.read[host] = dict(self.files[host])
        if host in [node.name for node in self.project.topology.nodes]:
            self.postgres[host] = dict(self.files[host])

    def reload_postgres(self, project, hosts):
        for host in self.postgres.keys() & set(hosts):
            self._count()
            self.postgres[host] = dict(self.files[host])

    def _here(self, host, name):
        return (self.project.folder / secrets_of(self.project, host)[name]).resolve().read_text()

    def _count(self):
        self.check()
        self.calls["all"] += 1
        if self.calls["all"] == self.fails_at:
            raise ToolFailed("the engine went away")

    def bring(self, project, hosts, names, service=""):
        for host in project.topology.hosts:
            if host.name in hosts:
                self._count()
                brought = {name: self._here(host, name) for name in names}
                self.files[host.name] |= brought
                if host in project.topology.etcd:
                    # It reads its own at each handshake.
                    self.read[host.name] |= {name: text for name, text in brought.items() if name != "ca.crt"}
                if service:
                    self.tell(project, [host.name])

    def tell(self, project, hosts):
        for host in project.topology.ssh_hosts:
            if host.name in hosts:
                self._count()
                self.read[host.name] = dict(self.files[host.name])
        self.reload_postgres(project, hosts)

    def start_etcd_again(self, project, hosts):
        for member in project.topology.etcd:
            if member.name in hosts:
                self._count()
                self.start(member.name)

    def start(self, host):
        """A container that starts takes what lies here, whenever that is."""
        at = self.project.topology.host(host)
        given = secrets_of(self.project, at)
        wanted = [name for name in (*rendering.IDENTITY, "known_hosts") if name in given]
        self.files[host] = {name: self._here(at, name) for name in wanted}
        self._read(host)

    def check(self):
        """Everybody reaches everybody."""
        operator = self.project.identity_file.with_name("id_ed25519.pub").read_text().strip()
        known_here = self.project.known_hosts.read_text()
        for name in self.files:
            for other, its in self.files.items():
                # A server goes by what it has read, a client by the files.
                assert trusts(self.read[name]["ca.crt"], its["host.crt"]), f"the server of {name} lets {other} in"
                assert trusts(its["ca.crt"], self.read[name]["host.crt"]), f"{other} trusts the server of {name}"
                if name in self.postgres:
                    had = self.postgres[name]
                    assert trusts(had["ca.crt"], its["host.crt"]), f"the Postgres of {name} lets {other} in"
                    assert trusts(its["ca.crt"], had["host.crt"]), f"{other} trusts the Postgres of {name}"
        here = self.project.certificates_folder / "ca.crt"
        for name, had in self.postgres.items():
            assert trusts(here.read_text(), had["host.crt"]), f"a client of this host trusts the Postgres of {name}"
        ssh = {name: files for name, files in self.files.items() if "host_key" in files}
        for name, files in ssh.items():
            assert operator in files["authorized_keys"], f"{name} lets the operator in"
            shown = f"{name} {public_of(self.read[name]['host_key'])}"
            assert shown in known_here, f"the operator knows {name}"
            for other, its in ssh.items():
                assert public_of(its["id_ed25519"]) in files["authorized_keys"], f"{name} lets {other} in"
                assert shown in its["known_hosts"], f"{other} knows {name}"


@cache
def public_of(private):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_ssh_private_key(private.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


@cache
def trusts(authorities, certificate):
    own = x509.load_pem_x509_certificate(certificate.encode())
    for ca in x509.load_pem_x509_certificates(authorities.encode()):
        if ca.subject == own.issuer:
            own.verify_directly_issued_by(ca)
            return True
    return False


@pytest.fixture
def world(make_project, write_down_passwords, monkeypatch):
    project = make_project(data_centers=1, nodes=2)
    ensure_keys(project)
    ensure_certificates(project)
    write_down_passwords(project)
    write_file(project.folder / "authorized_keys", authorized_keys_text(project))
    made = World(project)
    for module in (identities, certified):
        monkeypatch.setattr(module, "bring", made.bring)
        monkeypatch.setattr(module, "everywhere", lambda project, commands, what: None)
    monkeypatch.setattr(certified, "_tell", made.tell)
    monkeypatch.setattr(certified, "_start_etcd_again", made.start_etcd_again)
    monkeypatch.setattr(identities, "_hosts", lambda project, way: (way.hosts(project), ()))
    monkeypatch.setattr(identities, "check", lambda project, what: half_rotated(project) == what)
    monkeypatch.setattr(identities, "wait_until", wait_no_longer)
    monkeypatch.setattr(certified, "_shown_by", made_shown(made.read))
    monkeypatch.setattr(certified, "_listener", lambda project, node: "17")
    monkeypatch.setattr(identities, "connect", lambda project: connected(made))
    monkeypatch.setattr(postgres_tls, "_shown_by", made_shown(made.postgres))
    for name in ("prove", "note_clone"):
        monkeypatch.setattr(postgres_tls, name, lambda project, other: None)
    return made


def wait_no_longer(look, holds, what, **_):
    seen = look()
    if not holds(seen):
        raise PghaError(f"{what}: {seen}")


def made_shown(read):
    def shown(project, host, port=0):
        if host not in read:
            return None
        names = [
            ca.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
            for ca in x509.load_pem_x509_certificates(read[host]["ca.crt"].encode())
        ]
        return trust.Shown(read[host]["host.crt"], tuple(names))

    return shown


def connected(world):
    def must(host, command, message):
        return SimpleNamespace(stdout=f"localhost {public_of(world.read[host]['host_key'])}\n")

    return SimpleNamespace(must=must)


@pytest.mark.parametrize(
    ("what", "stride"), [(KEYS, 1), (CERTIFICATES, 5), pytest.param(CERTIFICATES, 1, marks=pytest.mark.long)]
)
def test_everybody_reaches_everybody_wherever_it_is_interrupted(world, what, stride):
    project = world.project
    before = {host: dict(files) for host, files in world.read.items()}
    made = rendering.identity_marks(project, identities.kept_passwords(project))
    identities.rotate_identities(project, what, Progress())
    steps = world.calls["all"]
    assert steps >= 3 * len(identities.WAYS[what].hosts(project))
    for step in range(1, steps + 1, stride):
        world.calls.clear()
        world.fails_at = step
        with pytest.raises(ToolFailed) as caught:
            identities.rotate_identities(project, what, Progress())
        assert f"inv rotate --what {what} completes it" in caught.value.hint
        assert half_rotated(project) == what
        world.start(list(world.files)[step % len(world.files)])
        world.check()
        world.fails_at = 0
        assert identities.rotate_identities(project, what, Progress()).resumed
        world.check()
    assert half_rotated(project) == ""
    own = identities.WAYS[what].own
    for host, files in before.items():
        if not set(own) <= set(files):
            continue
        assert all(world.read[host][name] != files[name] for name in own)
        assert world.postgres.get(host, world.read[host]).items() >= {n: world.files[host][n] for n in own}.items() or (
            what == KEYS
        )
    assert len(successors.trusted_names(project)) == 1
    ssh = [host.name for host in project.topology.ssh_hosts]
    old = {public_of(before[host]["id_ed25519"]) for host in ssh}
    assert all(key not in world.files[host]["authorized_keys"] for host in ssh for key in old) == (what == KEYS)
    assert all(host_public_key(project, host) == public_of(world.read[host]["host_key"]) for host in ssh)
    assert rendering.identity_marks(project, identities.kept_passwords(project)) == made, "no container is made again"
    ensure_keys(project, rotate=True)
    now = rendering.identity_marks(project, identities.kept_passwords(project))
    assert not {now[host] for host in ssh} & set(made.values()), "keys that no container was given make them again"


def test_an_authority_whose_key_is_lost_is_replaced_all_the_same(world):
    """Nothing is signed with it any more."""
    key = authority(world.project).key
    key.unlink()
    identities.rotate_identities(world.project, CERTIFICATES, Progress())
    world.check()
    assert key.exists() and len(successors.trusted_names(world.project)) == 1
    assert ensure_certificates(world.project).made == ()


def test_what_was_half_done_is_completed_here_when_no_container_is_left(world):
    project = world.project
    for what in (KEYS, CERTIFICATES):
        world.calls.clear()
        world.fails_at = 2
        with pytest.raises(ToolFailed):
            identities.rotate_identities(project, what, Progress())
        world.fails_at = 0
        identities.settle(project)
        assert half_rotated(project) == ""
        assert ensure_certificates(project).made == ensure_keys(project).made == ()
        for host in world.files:
            world.start(host)
        world.check()


def test_without_tls_and_a_repository_there_are_no_certificates(make_project):
    with pytest.raises(BadValue, match="has no certificates"):
        identities.check(make_project(pgbackrest=False, tls=False), CERTIFICATES)


def test_one_rotation_after_another(world, monkeypatch):
    from pgha.remote import engine
    from pgha.stack import rotating

    monkeypatch.setattr(engine, "require_engine", lambda project: None)
    monkeypatch.setattr(engine, "containers", lambda project: {"pg1-node1": object()})
    world.fails_at = 1
    with pytest.raises(ToolFailed):
        identities.rotate_identities(world.project, KEYS, Progress())
    assert rotating.require_rotatable(world.project, KEYS)
    with pytest.raises(HalfDone, match="A rotation of the keys is half done") as caught:
        rotating.require_rotatable(world.project, CERTIFICATES)
    assert caught.value.hint == "inv rotate --what keys completes it"


def listening(sockets, told):
    """Nodes whose Patroni listens, each on its socket, takes its certificates when it is told, and then on another."""

    def run(node, command):
        assert command in (rotation.ask_listener(), trust.ask_server(8008, node))
        if command == rotation.ask_listener():
            return SimpleNamespace(
                stdout=sockets[node] and f"LISTEN 0 5 0.0.0.0:8008 0.0.0.0:* ino:{sockets[node]} sk:1"
            )
        return SimpleNamespace(stdout="" if sockets[node] else "connect:errno=111\n")

    def everywhere(project, commands, what):
        for node in commands:
            told.append(node)
            sockets[node] = sockets[node] and sockets[node] + "0"

    return SimpleNamespace(run=run), everywhere


def test_a_patroni_that_does_not_run_reads_its_certificates_when_it_starts(make_project, monkeypatch):
    project = make_project(data_centers=1, nodes=2)
    told = []
    ssh, everywhere = listening({"pg1-node1": "17", "pg1-node2": ""}, told)
    monkeypatch.setattr(certified, "connect", lambda project: ssh)
    monkeypatch.setattr(certified, "everywhere", everywhere)
    monkeypatch.setattr(certified, "wait_until", wait_no_longer)
    certified._renew_patroni(project, ["pg1-node1", "pg1-node2", "pgbackrest"])
    assert told == ["pg1-node1", "pg1-node2"]
    assert certified._shown_by(project, "pg1-node2", 8008) is None
    with pytest.raises(ToolFailed, match="Patroni shows no certificate"):
        certified._shown_by(project, "pg1-node1", 8008)


@pytest.mark.parametrize(("healthy", "rotates"), [(3, True), (2, False)])
def test_certificates_stay_while_etcd_cannot_spare_a_member(make_project, monkeypatch, healthy, rotates):
    """Before anything is touched: each member is started again."""
    names = ("etcd1", "etcd2", "etcd3")
    view = EtcdView(names[:healthy], names[healthy:])
    monkeypatch.setattr(certified, "weigh_etcd", lambda project, *leaving: view)
    project = make_project(data_centers=1, nodes=2)
    if rotates:
        certified.WAY.require(project, [*names, "pg1-node1"])
    else:
        with pytest.raises(LosesQuorum, match="etcd3 does not answer"):
            certified.WAY.require(project, [*names[:2], "pg1-node1"])
    certified.WAY.require(make_project(tls=False), ["pg1-node1", "pgbackrest"])
