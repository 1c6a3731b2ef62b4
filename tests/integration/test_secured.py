"""What listens in the networks, who is answered, and how TLS is switched off and on."""

import json

import pytest
from psycopg.conninfo import make_conninfo
from tools import Writer, docker, inspect, until

pytestmark = pytest.mark.integration

SCAN = r"""
import json, socket, ssl, subprocess, sys, urllib.error, urllib.request

asked = json.loads(sys.argv[1])
folder = "/tmp/scan"
subprocess.run(["mkdir", folder], check=True)
with open(f"{folder}/ca.crt", "w") as file:
    file.write(asked["authority"])
stranger = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=pg1-node1", "-keyout", f"{folder}/key", "-out", f"{folder}/crt"]
subprocess.run(stranger, check=True, stderr=subprocess.DEVNULL)


def context(own=False):
    made = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    if own:
        made.load_cert_chain(f"{folder}/crt", f"{folder}/key")
    return made


def is_open(host, port):
    with socket.socket() as one:
        one.settimeout(2)
        return one.connect_ex((host, port)) == 0


def in_the_clear(host, port):
    with socket.create_connection((host, port), 2) as one:
        try:
            one.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            return one.recv(4096).decode(errors="replace")
        except OSError as error:
            return type(error).__name__


def verified(host, port):
    with socket.create_connection((host, port), 5) as one:
        with context().wrap_socket(one, server_hostname=host) as secured:
            return secured.version()


def answer(url, method="GET", own=False):
    request = urllib.request.Request(url, method=method, data=b"{}" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=5, context=context(own)) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__


found = {}
for host, tls_ports in asked["hosts"].items():
    ports = [port for port in range(1, 10000) if is_open(host, port)]
    found[host] = {
        "open": ports,
        "clear": {port: in_the_clear(host, port) for port in ports},
        "verified": {port: verified(host, port) for port in tls_ports},
        "answers": {},
    }
    asking = found[host]["answers"]
    if 2379 in tls_ports:
        for own in (False, True):
            asking[f"read {own}"] = answer(f"https://{host}:2379/v3/kv/range", "POST", own)
            asking[f"version {own}"] = answer(f"https://{host}:2379/version", own=own)
            asking[f"members {own}"] = answer(f"https://{host}:2380/members", own=own)
    if 8008 in tls_ports:
        asking["read"] = answer(f"https://{host}:8008/cluster")
        for path in ("restart", "reload", "switchover", "failsafe"):
            asking[path] = answer(f"https://{host}:8008/{path}", "POST")
            asking[f"{path} of a stranger"] = answer(f"https://{host}:8008/{path}", "POST", own=True)
print(json.dumps(found))
"""
"""Run in a container that has the networks and the authority's certificate, and nothing else of the project."""

ETCD, NODE, SERVED, REPOSITORY = [2379, 2380], [22, 5432, 8008, 8432], [8008, 8432], [22, 8432]


def scan(stack, network):
    (image,) = {entry["Config"]["Image"] for entry in inspect(stack.container(stack.nodes[0]))}
    hosts = {**dict.fromkeys(stack.etcds, ETCD), **dict.fromkeys(stack.nodes, SERVED), "pgbackrest": [8432]}
    asked = {"hosts": hosts, "authority": (stack.certificates_folder / "ca.crt").read_text()}
    told = docker(
        "run", "--rm", "--interactive", f"--network={stack.name}_{network}", image, "python3", "-", json.dumps(asked),
        input=SCAN,
    )  # fmt: skip
    return json.loads(told)


def test_nothing_is_said_in_the_clear_and_nothing_changed_without_a_certificate(small):
    found = scan(small, "wan")
    wanted = {**dict.fromkeys(small.etcds, ETCD), **dict.fromkeys(small.nodes, NODE), "pgbackrest": REPOSITORY}
    assert {host: seen["open"] for host, seen in found.items()} == wanted
    for host, seen in found.items():
        for port, said in seen["clear"].items():
            assert "200" not in said.split("\n")[0] and "{" not in said, f"{host}:{port} in the clear: {said}"
        assert set(seen["verified"].values()) <= {"TLSv1.2", "TLSv1.3"}, host
    for host in small.etcds:
        refused = set(found[host]["answers"].values())
        assert refused and all(isinstance(answer, str) for answer in refused), f"{host} answers a stranger: {refused}"
    for host in small.nodes:
        answers = found[host]["answers"]
        assert answers.pop("read") == 200
        assert {answer for what, answer in answers.items() if "stranger" not in what} == {403}, answers
        assert all(isinstance(answer, str) for what, answer in answers.items() if "stranger" in what), answers
    # Those that have one are answered, and a change still takes the password.
    node = small.nodes[0]
    assert small.etcd_healthy() == len(small.etcds)
    line = f"curl -s -o /dev/null -w '%{{http_code}}' -X POST -d '{{}}' https://{node}:8008/restart"
    assert small.shell(node, line) == "401"


ROOT_RIGHTS = r"""
for status in /proc/[0-9]*/status; do
    sed -n 's/^Name:\t//p; s/^Uid:\t\([0-9]*\).*/\1/p; s/^Cap\(Eff\|Bnd\):\t0*//p' "$status" 2>/dev/null | tr '\n' ' '
    echo
done
"""
"""A line a process: its name, its user, and, in hexadecimal, the rights it has and those it may ever get."""


def test_servers_have_no_rights_of_root(small):
    for host in small.containers("running"):
        running = [line.split() for line in small.run(host, "sh", "-c", ROOT_RIGHTS).splitlines()]
        servers = [line for line in running if line and line[0] in ("etcd", "patroni", "postgres", "pgbackrest")]
        assert servers, f"no server runs on {host}"
        # An effective set that is empty has no digit left.
        assert all(line[1] != "0" and len(line) == 3 for line in servers), (host, servers)
        rights = int(servers[0][2], 16)
        # Files of others, raw sockets, devices: CAP_FSETID, CAP_NET_RAW, CAP_MKNOD.
        assert not any(rights >> bit & 1 for bit in (4, 13, 27)), (host, hex(rights))


def test_the_certificates_are_shown(small):
    held = json.loads(small.inv("certificates", "--json").stdout)
    assert held["tls"]
    names = {entry["whose"]: entry["names"] for entry in held["certificates"]}
    assert set(names) == {"authority", *small.etcds, *small.nodes, "pgbackrest"}
    for host in small.containers():
        networks = inspect(small.container(host))[0]["NetworkSettings"]["Networks"].values()
        assert {host, "localhost", *(network["IPAddress"] for network in networks)} <= set(names[host])
    assert all(entry["days_left"] > 3600 for entry in held["certificates"])
    assert small.nodes[0] in small.inv("certificates").stdout


def peers(stack):
    """Where etcd's members find each other."""
    listed = stack.run("etcd1", "etcdctl", f"--endpoints={stack.scheme}://etcd1:2379", "member", "list")
    return {scheme for line in listed.splitlines() for scheme in ("http", "https") if f" {scheme}://etcd" in line}


@pytest.mark.long
def test_tls_is_switched_off_and_on_all_at_once(small):
    """One after another is refused; nothing that was acknowledged is lost, and etcd's members know each other."""
    small.wait_synchronous()
    try:
        for tls, scheme in (("off", "http"), ("on", "https")):
            before = small.containers("running")
            file = small.folder / "etcd1" / "etcd.yml"
            rendered = file.read_text()
            for verb in ("up", "render"):
                said = small.refused(2, verb, tls=tls)
                assert f"tls is {tls} in the settings" in said and "inv up --at-once" in said
            assert (small.containers("running"), file.read_text()) == (before, rendered)
            # A client that takes what it gets: the string names the kind that there is.
            with Writer(make_conninfo(small.dsn(), sslmode="prefer"), "written_while_tls_changed") as writer:
                small.inv("up", "--at-once", tls=tls)
                writer.wait_for_more()
            assert not writer.missing()
            until(lambda: small.etcd_healthy() == len(small.etcds), "etcd is whole")
            assert (small.scheme, peers(small)) == (scheme, {scheme})
            docker("restart", *(small.container(host) for host in small.etcds))
            small.wait_synchronous()
            small.settings["tls"] = tls
            small.inv("switchover")
            small.wait_synchronous()
    finally:
        small.settings.pop("tls", None)
        small.inv("up", "--at-once")
    small.wait_synchronous()
    assert small.status()["problems"] == []
