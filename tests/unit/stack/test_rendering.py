import configparser
import os
import re
from dataclasses import replace
from ipaddress import ip_address, ip_network

import paramiko
import pytest
import yaml

from pgha.project.certificates import pair_of
from pgha.project.checkout import checkout_id
from pgha.project.keys import authorized_keys_text, ensure_keys
from pgha.project.passwords import OWN, kept_passwords, with_role
from pgha.project.record import Record
from pgha.stack import crontab
from pgha.stack.rendering import identities

ODD_PASSWORDS = [
    "a'b",
    'a"b',
    "a:b",
    "#a b",
    "back\\slash\\",
    "100%s",
    " around ",
    "{{ x }}{% y %}",
    "null",
    "0123",
    "- x",
    "*&!|>@`",
    "$HOME ${X}",
]
SHAPES = [(1, 1), (2, 1), (2, 2), (3, 2), (9, 1)]


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose_of(rendered):
    return yaml.load(rendered.files["compose.yaml"], LOADER)


def configs(rendered):
    """The digest of each container's files, which decides whether `up` makes it again."""
    return {name: service["labels"]["pgha.config"] for name, service in compose_of(rendered)["services"].items()}


def patroni_conf(rendered, node="pg1-node1"):
    return yaml.safe_load(rendered.files[f"{node}/patroni.conf"])


def ini(text):
    # pgBackRest takes several tls-server-auth.
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=False)
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("settings", [{}, {"postgres": 15, "data_centers": 2}, {"pgbackrest": False, "nodes": 1}])
def test_the_same_settings_give_the_same_bytes(rendering, settings):
    assert rendering(**settings) == rendering(**settings)


# The compose file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_a_node_knows_which_etcd_members_share_its_data_center(make_project, rendering, data_centers, nodes):
    topology = make_project(data_centers=data_centers, nodes=nodes).topology
    compose = compose_of(rendering(data_centers=data_centers, nodes=nodes))
    sites = {f"https://{member.name}:2379": member.site for member in topology.etcd}
    for node in topology.nodes:
        environment = compose["services"][node.name]["environment"]
        here, elsewhere = (set(filter(None, environment[key].split(","))) for key in ("ETCD_HERE", "ETCD_ELSEWHERE"))
        assert here == {endpoint for endpoint, site in sites.items() if site == node.site}
        assert elsewhere == set(sites) - here


@pytest.mark.parametrize("repository", [True, False])
@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_each_service_is_in_its_site_and_the_wan(make_project, rendering, data_centers, nodes, repository):
    settings = {"data_centers": data_centers, "nodes": nodes, "pgbackrest": repository}
    topology = make_project(**settings).topology
    compose = compose_of(rendering(**settings))
    assert list(compose["services"]) == [host.name for host in topology.hosts]
    for host in topology.hosts:
        service = compose["services"][host.name]
        assert set(service["networks"]) == {host.site.name, "wan"}
        assert service["container_name"] == f"pgha-{host.name}"
        assert service["hostname"] == host.name
        assert service["labels"]["pgha.site"] == host.site.name
    assert set(compose["networks"]) == {site.name for site in topology.sites} | {"wan"}


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_each_service_has_an_address_of_its_own_in_each_network(make_project, rendering, data_centers, nodes):
    compose = compose_of(rendering(data_centers=data_centers, nodes=nodes))
    networks = {}
    for name, network in compose["networks"].items():
        (config,) = network["ipam"]["config"]
        networks[name] = ip_network(config["subnet"])
        assert ip_network(config["ip_range"]).subnet_of(networks[name])
        assert ip_address(config["gateway"]) == networks[name][1]
    given = []
    for service in compose["services"].values():
        for name, network in service["networks"].items():
            given.append(ip_address(network["ipv4_address"]))
            assert given[-1] in networks[name]
            assert given[-1] not in ip_network(compose["networks"][name]["ipam"]["config"][0]["ip_range"])
    assert len(set(given)) == len(given) == 2 * len(compose["services"])


def test_a_node_that_is_added_changes_no_definition_of_an_address(rendering):
    def networks(**settings):
        return {n: s["networks"] for n, s in compose_of(rendering(**settings))["services"].items()}

    before = networks(data_centers=3, nodes=1)
    for more in ({"data_centers": 3, "nodes": 2}, {"data_centers": 4, "nodes": 1}):
        after = networks(**more)
        assert {name: after[name] for name in before} == before


def test_root_has_no_right_that_it_does_not_need(rendering):
    services = compose_of(rendering(nodes=1))["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"]
        needed = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}
        if not name.startswith("etcd"):
            needed |= {"AUDIT_WRITE", "NET_BIND_SERVICE", "SYS_CHROOT"}
        assert set(service["cap_add"]) == needed
        # postgres' crontab runs as another group.
        assert service.get("security_opt") == (["no-new-privileges:true"] if name.startswith("etcd") else None)


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7", "0.0.0.0"])
def test_ports_are_bound_to_the_published_address_only(rendering, address):
    services = compose_of(rendering(publish_address=address, nodes=1))["services"]
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "pg1-node1": [f"{address}:50551:5432", f"{address}:50651:22"],
        "pg2-node1": [f"{address}:50552:5432", f"{address}:50652:22"],
        "pg3-node1": [f"{address}:50553:5432", f"{address}:50653:22"],
        "pgbackrest": [f"{address}:50654:22"],
    }


def test_every_container_has_its_own_labelled_volume(rendering):
    compose = compose_of(rendering())
    for name, service in compose["services"].items():
        assert [volume.split(":")[0] for volume in service["volumes"]] == [name]
    assert set(compose["volumes"]) == set(compose["services"])
    labels = {name: volume["labels"] for name, volume in compose["volumes"].items()}
    assert {name: label["pgha.shape"] for name, label in labels.items()} == {
        **dict.fromkeys(labels, "-d 3 -p 2 -n pg -v 17 etcd=5"),
        # Its backups can be restored into any shape of the same major.
        "pgbackrest": "-v 17",
    }
    assert len({label["pgha.passwords"] for label in labels.values()}) == 1


@pytest.mark.parametrize("change", [{"data_centers": 2}, {"nodes": 1}, {"prefix": "db"}, {"postgres": 16}])
def test_another_shape_is_another_label(rendering, change):
    def shape(**settings):
        return compose_of(rendering(**settings))["volumes"]["etcd1"]["labels"]["pgha.shape"]

    assert shape(**change) != shape()


def test_backups_fit_any_shape_of_their_major(rendering):
    def shape(**settings):
        return compose_of(rendering(**settings))["volumes"]["pgbackrest"]["labels"]["pgha.shape"]

    assert shape() == shape(data_centers=2, nodes=1, prefix="db")
    assert shape() != shape(postgres=16)


def test_the_password_label_changes_with_a_password(rendering):
    def label(**settings):
        return compose_of(rendering(**settings))["volumes"]["etcd1"]["labels"]["pgha.passwords"]

    assert label() == label()
    assert label() != label(rewind_password="new")


@pytest.mark.parametrize("repository", [True, False])
def test_every_secret_is_declared_once_and_its_file_is_there(make_project, rendering, repository):
    project, rendered = make_project(pgbackrest=repository), rendering(pgbackrest=repository)
    compose = compose_of(rendered)
    used = [secret["source"] for service in compose["services"].values() for secret in service["secrets"]]
    assert sorted(used) == sorted(compose["secrets"])
    for secret in compose["secrets"].values():
        path = secret["file"]
        if path.startswith("./"):
            assert path[2:] in rendered.files
        else:
            assert (project.folder / path).resolve().is_file()
            folders = (project.keys_folder, project.certificates_folder)
            assert any((project.folder / path).resolve().is_relative_to(folder) for folder in folders)


def test_a_container_gets_no_other_s_host_key(rendering):
    for name, service in compose_of(rendering())["services"].items():
        for secret in service["secrets"]:
            assert secret["source"] == f"{name}.{secret['target']}"
    for source, secret in compose_of(rendering())["secrets"].items():
        if "host_keys" in secret["file"]:
            assert source == secret["file"].rsplit("/", 1)[-1] + ".host_key"


def test_images_are_the_release_s(rendering):
    images = {name: service["image"] for name, service in compose_of(rendering(postgres=16))["services"].items()}
    assert images["etcd1"] == "pgha-etcd-3.5:trixie-pgdg"
    assert images["pg1-node1"] == "pgha-pg16-patroni:trixie-pgdg"
    assert images["pgbackrest"] == "pgha-pgbackrest:trixie-pgdg"


def test_a_change_concerns_only_the_containers_it_reaches(rendering):
    before = configs(rendering())
    after = configs(rendering(process_max=7))
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if not name.startswith("etcd")
    }
    # `inv rotate` brings a password into containers that run.
    assert configs(rendering(restapi_password="new")) == before


def test_new_keys_concern_every_container_with_ssh(make_project, rendering):
    before = configs(rendering())
    ensure_keys(make_project(), rotate=True)
    after = configs(rendering())
    assert {name for name in before if before[name] == after[name]} == {f"etcd{n}" for n in range(1, 6)}


def test_the_operator_s_key_is_in_no_container(make_project, rendering):
    operator = make_project().identity_file
    rendered = rendering()
    compose = compose_of(rendered)
    for name, service in compose["services"].items():
        sources = [secret["source"] for secret in service["secrets"]]
        files = [(make_project().folder / compose["secrets"][source]["file"]).resolve() for source in sources]
        assert operator.resolve() not in files
        own = [path.name for path in files if path.name.endswith("id_ed25519")]
        assert own == ([] if name.startswith("etcd") else ["containers_id_ed25519"])
    private = operator.read_text().splitlines()[1]
    assert not any(private in text for text in rendered.files.values())


def test_every_host_lets_the_same_people_in(make_project, rendering):
    rendered, project = rendering(), make_project()
    assert rendered.files["authorized_keys"] == authorized_keys_text(project)
    secrets = compose_of(rendered)["secrets"]
    for host in project.topology.ssh_hosts:
        assert secrets[f"{host.name}.authorized_keys"] == {"file": "./authorized_keys"}


def test_a_container_gets_its_own_certificate_and_not_the_authority_s_key(make_project, rendering):
    folder, compose = make_project().certificates_folder, compose_of(rendering())
    for name, service in compose["services"].items():
        files = {
            secret["target"]: (make_project().folder / compose["secrets"][secret["source"]]["file"]).resolve()
            for secret in service["secrets"]
        }
        own = {target: str(path.relative_to(folder)) for target, path in files.items() if folder in path.parents}
        wanted = {"ca.crt": "ca.crt", "host.crt": f"hosts/{name}.crt", "host.key": f"hosts/{name}.key"}
        assert own == wanted


def test_a_new_certificate_concerns_its_host_alone(make_project, rendering):
    before = configs(rendering())
    pair_of(make_project(), "pg2-node1").key.unlink()
    after = configs(rendering())
    assert {name for name in before if before[name] != after[name]} == {"pg2-node1"}


def test_a_certificate_that_has_to_be_made_again_is_seen_before_it_is(make_project, rendering, write_down_passwords):
    rendering()
    made, other = make_project(), make_project(certificate_names="db.example.com")
    before, seen = (identities(project, write_down_passwords(project)) for project in (made, other))
    assert {host for host in before if before[host] != seen[host]} == {node.name for node in made.topology.nodes}


def test_another_schedule_makes_no_container_again(make_project, rendering):
    before = rendering()
    crontab.switch(make_project(), on=True)
    after = rendering()
    crontabs = {f"{host.name}/crontab" for host in make_project().topology.ssh_hosts}
    assert {path for path in before.files if before.files[path] != after.files[path]} == crontabs
    assert configs(before) == configs(after)


# Secrets ----------------------------------------------------------------------------------------------------


def test_passwords_stand_in_secret_files_only(make_project, rendering):
    rendered = rendering()
    values = [getattr(kept_passwords(make_project()), name) for name in OWN]
    secret = {path for path, text in rendered.files.items() if any(value in text for value in values)}
    nodes = [node.name for node in make_project().topology.nodes]
    assert secret == {"pgpass", "pgbackrest/pgbackrest.conf", *(f"{node}/patroni.conf" for node in nodes)}
    private = secret | {f"{node}/pgbackrest.conf" for node in nodes}
    for path in rendered.files:
        assert rendered.mode(path) == (0o600 if path in private else 0o644), path


def test_a_role_s_password_is_in_a_file_for_this_host_alone(make_project, rendering):
    before = rendering()
    assert "roles.pgpass" not in before.files
    secret = with_role(make_project(), "app").roles["app"]
    rendered = rendering()
    assert rendered.files["roles.pgpass"].endswith(f"*:*:*:app:{secret}\n")
    assert rendered.mode("roles.pgpass") == 0o600
    assert [path for path, content in rendered.files.items() if secret in content] == ["roles.pgpass"]
    assert "roles.pgpass" not in rendered.files["compose.yaml"]
    assert rendered.digests == before.digests, "no container is made again"


def test_the_passphrase_is_on_the_repository_host_alone(make_project, rendering):
    rendered = rendering()
    passphrase = kept_passwords(make_project()).repository
    assert [path for path, text in rendered.files.items() if passphrase in text] == ["pgbackrest/pgbackrest.conf"]
    compose = compose_of(rendered)
    for name, service in compose["services"].items():
        files = [compose["secrets"][secret["source"]]["file"] for secret in service["secrets"]]
        assert ("./pgbackrest/pgbackrest.conf" in files) == (name == "pgbackrest")


@pytest.mark.parametrize("passphrase", [text for text in ODD_PASSWORDS if text == text.strip()])
def test_pgbackrest_reads_any_passphrase_as_it_is(rendering, passphrase):
    conf = ini(rendering(repository_passphrase=passphrase).files["pgbackrest/pgbackrest.conf"])["global"]
    assert (conf["repo1-cipher-type"], conf["repo1-cipher-pass"]) == ("aes-256-cbc", passphrase)


def test_another_passphrase_is_no_reason_to_make_a_container_again(rendering):
    """It is rotated in running containers; where there is no repository yet, there is no container either."""
    assert configs(rendering()) == configs(rendering(repository_passphrase="new"))


@pytest.mark.parametrize("password", ODD_PASSWORDS)
def test_patroni_reads_any_password_as_it_is(rendering, password):
    given = dict.fromkeys(["superuser_password", "replication_password", "rewind_password", "restapi_password"])
    conf = patroni_conf(rendering(**{key: f"{password}{n}" for n, key in enumerate(given)}))
    accounts = conf["postgresql"]["authentication"]
    assert accounts["superuser"] == {"username": "postgres", "password": f"{password}0"}
    assert accounts["replication"].items() >= {"username": "replicator", "password": f"{password}1"}.items()
    assert accounts["rewind"].items() >= {"username": "rewind_user", "password": f"{password}2"}.items()
    assert conf["restapi"]["authentication"] == {"username": "patroni", "password": f"{password}3"}


@pytest.mark.parametrize("password", ODD_PASSWORDS)
def test_pgpass_escapes_what_libpq_unescapes(rendering, password):
    (line,) = [line for line in rendering(superuser_password=password).files["pgpass"].splitlines() if line[0] != "#"]
    *fields, value = re.fullmatch(r"(.*?):(.*?):(.*?):(.*?):((?:[^:\\]|\\[:\\])*)", line).groups()
    assert fields == ["*", "*", "*", "postgres"]
    assert re.sub(r"\\(.)", r"\1", value) == password


# etcd -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_every_etcd_member_knows_all_members(make_project, rendering, data_centers, nodes):
    names = [host.name for host in make_project(data_centers=data_centers, nodes=nodes).topology.etcd]
    files = rendering(data_centers=data_centers, nodes=nodes).files
    for name in names:
        conf = yaml.safe_load(files[f"{name}/etcd.yml"])
        assert conf["name"] == name
        assert conf["initial-cluster"].split(",") == [f"{other}=https://{other}:2380" for other in names]
        assert conf["initial-advertise-peer-urls"] == f"https://{name}:2380"
        assert conf["advertise-client-urls"] == f"https://{name}:2379"


# Patroni ----------------------------------------------------------------------------------------------------


def test_patroni_is_named_and_reached_by_its_host_name(rendering):
    rendered = rendering(prefix="db")
    conf = patroni_conf(rendered, "db2-node1")
    assert conf["name"] == "db2-node1"
    assert conf["restapi"]["connect_address"] == "db2-node1:8008"
    assert conf["postgresql"]["connect_address"] == "db2-node1:5432"
    assert conf["etcd3"]["hosts"] == [f"etcd{n}:2379" for n in range(1, 6)]


def test_postgres_speaks_tls_and_members_are_known_by_their_certificates(rendering):
    own = patroni_conf(rendering(prefix="db"), "db2-node1")["postgresql"]
    at = "/pgha/tls/"
    parameters = {key: value for key, value in own["parameters"].items() if key.startswith("ssl")}
    assert parameters == {
        "ssl": "on", "ssl_ca_file": f"{at}ca.crt", "ssl_cert_file": f"{at}host.crt", "ssl_key_file": f"{at}host.key",
    }  # fmt: skip
    shown = {
        "sslmode": "verify-full", "sslrootcert": f"{at}ca.crt", "sslcert": f"{at}host.crt", "sslkey": f"{at}host.key",
    }  # fmt: skip
    for user in ("replication", "rewind"):
        assert own["authentication"][user].items() >= shown.items()
    assert "sslmode" not in own["authentication"]["superuser"]
    assert own["pg_hba"] == [
        "local all postgres peer", "local all all scram-sha-256",
        "hostssl replication,all replicator,rewind_user all cert map=members",
        "hostssl all all all scram-sha-256",
    ]  # fmt: skip
    maps = [line.split() for line in own["pg_ident"]]
    assert {role for _, _, role in maps} == {"replicator", "rewind_user"}
    for _, pattern, _ in maps:
        # Postgres searches; what begins with a slash is a regular expression.
        matches = [bool(re.search(pattern[1:], name)) for name in ("db2-node1", "pgbackrest", "etcd1", "db2-node1.x")]
        assert pattern[0] == "/" and matches == [True, False, False, False]


def test_without_tls_postgres_is_as_it_was(rendering):
    rendered = rendering(tls=False)
    own = patroni_conf(rendered)["postgresql"]
    assert not [key for key in own["parameters"] if key.startswith("ssl")]
    assert set(own["authentication"]["replication"]) == {"username", "password"}
    assert own["pg_hba"][2:] == ["host replication replicator all scram-sha-256", "host all all all scram-sha-256"]
    assert "pg_ident" not in own
    assert not [line for line in rendered.files["pg1-node1/patroni.conf"].splitlines() if "tls" in line]


@pytest.mark.parametrize("postgres", [14, 15, 16, 17, 18])
def test_data_and_programs_are_those_of_the_major(rendering, postgres):
    conf = patroni_conf(rendering(postgres=postgres))["postgresql"]
    assert conf["data_dir"] == f"/pgdata/{postgres}"
    assert conf["bin_dir"] == f"/usr/lib/postgresql/{postgres}/bin"


@pytest.mark.parametrize(
    ("settings", "mode", "count"),
    [
        ({}, "quorum", 2),
        ({"postgres": 14}, "quorum", 2),
        ({"postgres": 15}, "quorum", 2),
        ({"data_centers": 2, "nodes": 4}, "quorum", 4),
        ({"data_centers": 1, "nodes": 2}, "quorum", 1),
        ({"data_centers": 1, "nodes": 1}, False, 1),
        ({"durability": "async"}, False, 1),
        ({"durability": "async", "postgres": 15}, False, 1),
    ],
)
def test_how_a_commit_is_made_durable(rendering, settings, mode, count):
    dcs = patroni_conf(rendering(**settings))["bootstrap"]["dcs"]
    assert dcs["synchronous_mode"] == mode
    assert dcs["synchronous_node_count"] == count


def test_timing_comes_from_the_settings_and_a_new_cluster_archives_nothing(rendering):
    dcs = patroni_conf(rendering(ttl=40, loop_wait=10, retry_timeout=15))["bootstrap"]["dcs"]
    assert (dcs["ttl"], dcs["loop_wait"], dcs["retry_timeout"]) == (40, 10, 15)
    assert dcs["postgresql"]["parameters"]["archive_command"] == "/bin/true"


def test_a_stock_cluster_has_none_of_the_departures(rendering):
    rendered = rendering(stock=True)
    conf = patroni_conf(rendered)
    assert conf["watchdog"] == {"mode": False}
    assert not {"before_stop", "callbacks", "basebackup"} & set(conf["postgresql"])
    dcs = conf["bootstrap"]["dcs"]
    assert (dcs["ttl"], dcs["loop_wait"], dcs["retry_timeout"]) == (30, 10, 10)
    assert not {"primary_start_timeout", "primary_stop_timeout", "failsafe_mode"} & set(dcs)
    assert not [key for key in dcs["postgresql"]["parameters"] if key.startswith(("wal_sender", "wal_re"))]
    nodes = [service for name, service in rendered.services.items() if name.startswith("pg1-")]
    assert all(node["environment"]["PGHA_STOCK"] == "on" for node in nodes)


def test_what_the_operator_asks_for_is_not_made_stock(rendering):
    dcs = patroni_conf(rendering(stock="on", ttl=25, retry_timeout=6))["bootstrap"]["dcs"]
    assert (dcs["ttl"], dcs["loop_wait"], dcs["retry_timeout"]) == (25, 10, 6)


# pgBackRest -------------------------------------------------------------------------------------------------


def tls_client(end):
    """What pgBackRest shows and asks for when it calls another host."""
    files = {"ca-file": "ca.crt", "cert-file": "host.crt", "key-file": "host.key"}
    return {f"{end}-host-type": "tls"} | {f"{end}-host-{key}": f"/pgha/tls/{name}" for key, name in files.items()}


def allowed(text):
    """Whose certificate pgBackRest's server lets in -> for which stanza."""
    lines = [line.split("=") for line in text.splitlines() if line.startswith("tls-server-auth=")]
    assert len(lines) == len({client for _, client, _ in lines})
    return {client: stanza for _, client, stanza in lines}


@pytest.mark.parametrize(("data_centers", "nodes"), SHAPES)
def test_nodes_and_repository_let_each_other_in_for_their_stanza_alone(rendering, data_centers, nodes):
    files = rendering(data_centers=data_centers, nodes=nodes, prefix="db").files
    own = {path.split("/")[0]: text for path, text in files.items() if path.endswith("/pgbackrest.conf")}
    repository = own.pop("pgbackrest")
    assert len(own) == data_centers * nodes
    assert allowed(repository) == dict.fromkeys(own, "pg_ha_db")
    for text in own.values():
        assert allowed(text) == {"pgbackrest": "pg_ha_db"}
    for text in [repository, *own.values()]:
        server = {key: value for key, value in ini(text)["global"].items() if key.startswith("tls-server-")}
        del server["tls-server-auth"]
        assert server == {
            "tls-server-address": "*", "tls-server-ca-file": "/pgha/tls/ca.crt",
            "tls-server-cert-file": "/pgha/tls/host.crt", "tls-server-key-file": "/pgha/tls/host.key",
        }  # fmt: skip


def test_postgres_waits_a_minute_at_most_for_an_answer_that_was_lost(rendering):
    conf = ini(rendering().files["pg1-node1/pgbackrest.conf"])
    for section in ("global:archive-get", "global:archive-push"):
        # pgBackRest wants the second one greater.
        assert (conf[section]["db-timeout"], conf[section]["protocol-timeout"]) == ("50", "60")


def test_pgbackrest_is_the_same_on_every_node(rendering):
    files = rendering(process_max=5).files
    nodes = {text for path, text in files.items() if path.endswith("/pgbackrest.conf") and path.startswith("pg1-")}
    others = {text for path, text in files.items() if path.endswith("node1/pgbackrest.conf")}
    assert len(nodes | others) == 1
    conf = ini(nodes.pop())
    assert {key: value for key, value in conf["global"].items() if key.startswith("repo1-")} == {
        "repo1-host": "pgbackrest", **tls_client("repo1"),
    }  # fmt: skip
    assert conf["global"]["process-max"] == "5"
    assert conf["global"]["delta"] == "y"
    assert conf["pg_ha_db"]["pg1-path"] == "/pgdata/17"
    assert "repo1-path" not in conf["global"]


def test_only_archive_push_of_a_node_is_asynchronous(rendering):
    files = rendering().files
    for path in [path for path in files if path.endswith("/pgbackrest.conf")]:
        conf = ini(files[path])
        with_it = [section for section in conf.sections() if "archive-async" in conf[section]]
        assert with_it == ([] if path.startswith("pgbackrest/") else ["global:archive-push"])
        assert files[path].count("archive-async") == len(with_it)


@pytest.mark.parametrize(("given", "limit"), [("", None), ("5GiB", "5GiB")])
def test_a_node_keeps_all_wal_unless_told_otherwise(rendering, given, limit):
    files = rendering(archive_queue_max=given).files
    assert ini(files["pg1-node1/pgbackrest.conf"])["global:archive-push"].get("archive-push-queue-max") == limit
    assert "queue-max" not in files["pgbackrest/pgbackrest.conf"]


def test_without_a_number_pgbackrest_uses_every_cpu(rendering):
    files = rendering().files
    for host in ("pg1-node1", "pgbackrest"):
        assert ini(files[f"{host}/pgbackrest.conf"])["global"]["process-max"] == str(os.cpu_count())


@pytest.mark.parametrize(("given", "kept"), [(0, None), (3, "3")])
def test_differential_backups_stay_as_long_as_they_may(rendering, given, kept):
    conf = ini(rendering(retention_diff=given).files["pgbackrest/pgbackrest.conf"])["global"]
    assert conf.get("repo1-retention-diff") == kept


def test_the_repository_knows_every_node(rendering):
    conf = ini(rendering(retention_full=7).files["pgbackrest/pgbackrest.conf"])
    hosts = [value for key, value in conf["pg_ha_db"].items() if key.endswith("-host")]
    assert hosts == [f"pg{dc}-node{n}" for dc in (1, 2, 3) for n in (1, 2)]
    for n in range(1, 7):
        assert tls_client(f"pg{n}").items() <= dict(conf["pg_ha_db"]).items()
    assert [conf["pg_ha_db"][f"pg{n}-path"] for n in range(1, 7)] == ["/pgdata/17"] * 6
    assert conf["global"]["repo1-retention-full"] == "7"
    assert "repo1-host" not in conf["global"]


@pytest.mark.parametrize(
    ("postgres", "block", "standby"),
    [(14, "y", "prefer"), (15, None, "n"), (16, "y", "prefer"), (17, "y", "prefer"), (18, "y", "prefer")],
)
def test_an_old_pgbackrest_gets_no_option_it_does_not_know(rendering, postgres, block, standby):
    conf = ini(rendering(postgres=postgres).files["pgbackrest/pgbackrest.conf"])["global"]
    assert conf.get("repo1-block") == block
    assert conf.get("repo1-bundle") == block
    assert conf["backup-standby"] == standby


def test_without_pgbackrest_nothing_of_it_is_rendered(make_project, rendering):
    rendered = rendering(pgbackrest=False, tls=False)
    assert not [path for path in rendered.files if "pgbackrest" in path]
    assert "pgbackrest" not in compose_of(rendered)["services"]
    assert "Host pgbackrest" not in rendered.files["ssh_config"]


# SSH --------------------------------------------------------------------------------------------------------


def test_ssh_config_leads_to_every_host(make_project, rendering):
    project = make_project(publish_address="192.0.2.7")
    config = paramiko.SSHConfig.from_text(rendering(publish_address="192.0.2.7").files["ssh_config"])
    for n, host in enumerate(project.topology.ssh_hosts):
        found = config.lookup(host.name)
        assert (found["hostname"], found["port"]) == ("192.0.2.7", str(50651 + n))
        assert found["hostkeyalias"] == host.name
        assert found["user"] == "postgres"
        assert found["stricthostkeychecking"] == "yes"
        assert found["identityfile"][0].strip('"') == str(project.identity_file)
        assert found["userknownhostsfile"].strip('"') == str(project.known_hosts)


def test_containers_trust_only_known_hosts(rendering):
    config = paramiko.SSHConfig.from_text(rendering().files["container_ssh_config"])
    for name in ("pg1-node1", "pg3-node2", "pgbackrest"):
        assert config.lookup(name)["stricthostkeychecking"] == "yes"
        assert config.lookup(name)["user"] == "postgres"


def test_sshd_lets_in_keys_only(rendering):
    lines = dict(line.split(" ", 1) for line in rendering().files["sshd_config"].splitlines() if line[0] != "#")
    assert lines["PasswordAuthentication"] == lines["KbdInteractiveAuthentication"] == lines["PermitRootLogin"] == "no"
    assert lines["AuthenticationMethods"] == "publickey"
    assert lines["AllowUsers"] == "postgres"
    assert "/usr/lib/postgresql/17/bin:" in lines["SetEnv"]


def test_digests_do_not_help_to_guess_a_password(make_project, rendering):
    rendered = rendering(superuser_password="guessable")
    passwords = kept_passwords(make_project())
    assert passwords.id in rendered.files["compose.yaml"]
    assert replace(passwords, digest_key="").id not in rendered.files["compose.yaml"]


def test_no_proxy_leads_to_the_project_s_own_hosts(rendering):
    """A client's proxy comes into every container, and the health check's question to localhost would go through it."""
    services = compose_of(rendering(data_centers=1))["services"]
    for service in services.values():
        assert service["environment"]["NO_PROXY"] == service["environment"]["no_proxy"] == "*"


def test_the_name_of_a_lost_host_is_soon_given_up(rendering):
    for service in compose_of(rendering(data_centers=1))["services"].values():
        assert (service["dns_opt"], service["dns_search"]) == (["timeout:1", "attempts:2"], ".")


def test_postgres_containers_have_the_shared_memory_of_the_settings(rendering):
    def sizes(**settings):
        return {n: s.get("shm_size") for n, s in compose_of(rendering(data_centers=1, **settings))["services"].items()}

    nothing = dict.fromkeys(("etcd1", "etcd2", "etcd3", "pgbackrest"))
    assert sizes() == {**nothing, "pg1-node1": "256m", "pg1-node2": "256m"}
    assert sizes(shm_size="1g")["pg1-node2"] == "1g"


def test_a_node_s_attempts_to_connect_end_soon(rendering):
    services = compose_of(rendering(data_centers=1))["services"]
    assert services["pg1-node1"]["sysctls"] == {"net.ipv4.tcp_syn_retries": "2"}


def test_the_repository_s_volume_tells_its_passphrase_by_a_mark(make_project, rendering):
    def marks(**settings):
        volumes = compose_of(rendering(**settings))["volumes"]
        return {name: volume["labels"].get("pgha.passphrase") for name, volume in volumes.items()}

    assert {name for name, mark in marks().items() if mark} == {"pgbackrest"}
    assert marks()["pgbackrest"] == marks()["pgbackrest"]
    before = marks()["pgbackrest"]
    after = marks(repository_passphrase="another")["pgbackrest"]
    assert before != after and "another" not in after


def test_containers_and_volumes_carry_their_checkout(make_project, rendering):
    compose = compose_of(rendering())
    parts = [*compose["services"].values(), *compose["volumes"].values()]
    assert {part["labels"]["pgha.checkout"] for part in parts} == {checkout_id(make_project().root)}


def test_other_locales_are_another_image(rendering):
    def images(**settings):
        return {name: s["image"] for name, s in compose_of(rendering(data_centers=1, **settings))["services"].items()}

    one = images(locales="de_DE.UTF-8")
    assert {name for name, image in images().items() if image != one[name]} == {"pg1-node1", "pg1-node2"}
    assert one["pg1-node1"] == "pgha-pg17-patroni:trixie-de_DE.UTF-8"
    assert images(locales="fr_FR.UTF-8 de_DE@euro") == images(locales="de_DE@euro  fr_FR.UTF-8")
    assert images(locales="de_DE@euro")["pg1-node1"] == "pgha-pg17-patroni:trixie-de_DE.euro"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ((1, 2), (1, 3), {"pg1-node1", "pg1-node2", "pgbackrest", "etcd1", "etcd2", "etcd3"}),
        ((3, 1), (3, 2), {"pgbackrest", "etcd1", "etcd2", "etcd3"}),  # etcd4 and etcd5 are in the nodes' environment
        ((1, 2), (2, 2), {"pgbackrest", "etcd1"}),  # the other etcd members stand elsewhere
    ],
)
def test_other_hosts_make_no_container_again_but_for_where_etcd_is(make_project, rendering, before, after, same):
    """What names every host is brought to containers that run."""

    def services(shape):
        data_centers, nodes = shape
        found = rendering(data_centers=data_centers, nodes=nodes).services
        # The record keeps the ports, and the definition's digest is of all that.
        for service in found.values():
            service.pop("ports", None)
            service["labels"].pop("pgha.definition")
        return found

    old, new = services(before), services(after)
    assert {host for host in old if old[host] == new.get(host)} == same
    configs = {host: service["labels"]["pgha.config"] for host, service in new.items()}
    assert all(service["labels"]["pgha.config"] == configs[host] for host, service in old.items())


def test_volumes_keep_the_shape_they_were_made_with(make_project, rendering):
    project = make_project(data_centers=1, nodes=3)
    project.write_record(Record({}, {}, made={"pg1-node1": "-d 1 -p 2 -n pg -v 17 etcd=3"}))
    volumes = compose_of(rendering(data_centers=1, nodes=3))["volumes"]
    assert volumes["pg1-node1"]["labels"]["pgha.shape"] == "-d 1 -p 2 -n pg -v 17 etcd=3"
    assert volumes["pg1-node3"]["labels"]["pgha.shape"] == "-d 1 -p 3 -n pg -v 17 etcd=3"


# TLS --------------------------------------------------------------------------------------------------------


def test_etcd_and_patroni_answer_those_with_a_certificate(rendering):
    rendered = rendering()
    etcd, patroni = (yaml.safe_load(rendered.files[path]) for path in ("etcd2/etcd.yml", "pg1-node1/patroni.conf"))
    own = {"cert-file": "/pgha/tls/host.crt", "key-file": "/pgha/tls/host.key"}
    whom = {"client-cert-auth": True, "trusted-ca-file": "/pgha/tls/ca.crt"}
    assert etcd["client-transport-security"] == etcd["peer-transport-security"] == own | whom
    assert not re.search("http:", rendered.files["etcd2/etcd.yml"])
    assert patroni["restapi"]["verify_client"] == "optional"
    assert {patroni["restapi"][key] for key in ("certfile", "cafile")} == {"/pgha/tls/host.crt", "/pgha/tls/ca.crt"}
    assert set(patroni["ctl"]) == {"cacert", "certfile", "keyfile"}
    assert patroni["etcd3"]["protocol"] == "https" and {"cacert", "cert", "key"} < set(patroni["etcd3"])
    services = compose_of(rendered)["services"]
    assert {service["environment"]["ETCDCTL_KEY"] for service in services.values()} == {"/pgha/tls/host.key"}
    assert "https://localhost:8008/health" in services["pg1-node1"]["healthcheck"]["test"]
    assert "--endpoints=https://localhost:2379" in services["etcd1"]["healthcheck"]["test"]
    assert rendered.files["sshd_config"].endswith("ETCDCTL_KEY=/pgha/tls/host.key\n")
    assert "PATRONI_API=https://localhost:8008\n" in rendered.files["pgbackrest/crontab"]


def test_without_tls_nothing_of_it_is_rendered(rendering):
    rendered = rendering(tls=False)
    texts = [
        text for path, text in rendered.files.items() if path.endswith(("etcd.yml", "patroni.conf", "sshd_config"))
    ]
    assert not [text for text in texts if re.search("https:|/pgha/tls|CURL_HOME", text)]
    services = compose_of(rendered)["services"]
    assert [secret["target"] for secret in services["etcd1"]["secrets"]] == ["etcd.yml"]
    assert services["etcd1"]["healthcheck"]["test"] == ["CMD", "etcdctl", "endpoint", "health"]
    assert "http://localhost:8008/health" in services["pg1-node1"]["healthcheck"]["test"]
    assert "CURL_HOME" not in services["pg1-node1"]["environment"]
