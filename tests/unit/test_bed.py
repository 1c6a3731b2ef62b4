"""The bed's texts: what it lets a container do, how an operator gets in, and what a cut is."""

import os
import subprocess

import pytest
from machines import access, engine, weather
from machines.bed import NETWORKS, default_name

ADDRESSES = {"db-a": "10.77.3.11", "db-b": "10.77.3.12"}


def test_a_machine_may_what_its_host_may():
    allowed = engine.bounding_set("CapInh:\t0000000000000000\nCapBnd:\t000001fffeffffff\nCapAmb:\t0000000000000000\n")
    assert "SYS_ADMIN" in allowed and "MKNOD" in allowed
    assert "SYS_RESOURCE" not in allowed
    assert set(engine.bounding_set("CapBnd:\t000001ffffffffff\n")) == set(engine.CAPABILITIES)


def test_bits_are_those_of_the_kernel():
    """linux/capability.h"""
    assert {name: engine.CAPABILITIES.index(name) for name in ("CHOWN", "NET_ADMIN", "SYS_ADMIN", "AUDIT_READ")} == {
        "CHOWN": 0, "NET_ADMIN": 12, "SYS_ADMIN": 21, "AUDIT_READ": 37,
    }  # fmt: skip


def test_a_key_is_made_once_and_is_nobody_elses(tmp_path):
    public = access.key_pair(tmp_path / "keys" / "id_ed25519")
    assert public.startswith("ssh-ed25519 ")
    assert access.key_pair(tmp_path / "keys" / "id_ed25519") == public
    assert (tmp_path / "keys" / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_a_machine_is_known_by_name_and_by_address():
    assert access.known_hosts({"db-a": "ssh-ed25519 AAAA"}, ADDRESSES) == "db-a,10.77.3.11 ssh-ed25519 AAAA\n"


def test_openssh_reads_the_configuration(tmp_path):
    (tmp_path / "ssh_config").write_text(access.ssh_config(tmp_path, ADDRESSES))
    for name in ("db-b", "10.77.3.12"):
        line = [access.write_shim(tmp_path) / "ssh", "-G", name]
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()
        assert "hostname 10.77.3.12" in said
        assert "user root" in said
        assert "stricthostkeychecking true" in said
        assert f"userknownhostsfile {tmp_path}/known_hosts" in said


def test_the_shim_does_not_call_itself(tmp_path, monkeypatch):
    folder = access.write_shim(tmp_path)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    text = (access.write_shim(tmp_path) / "ssh").read_text()
    assert f'exec "{folder}/ssh"' not in text


def test_compose_stands_beside_what_the_user_has(tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "cli-plugins").mkdir(parents=True)
    (own / "config.json").write_text("{}")
    (tmp_path / "plugin").write_text("#!/bin/sh\n")
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    made = access.write_docker_config(tmp_path / "bed", tmp_path / "plugin")
    assert sorted(path.name for path in made.iterdir()) == ["cli-plugins", "config.json"]
    assert [path.name for path in (made / "cli-plugins").iterdir()] == ["docker-compose"]


def test_a_cut_replaces_another_one_and_ends_without_one():
    assert weather.cut(["10.77.3.12", "10.77.3.13"]).startswith(weather.mend())
    assert "ip saddr { 10.77.3.12, 10.77.3.13 } drop" in weather.cut(["10.77.3.12", "10.77.3.13"])


@pytest.mark.parametrize(("seconds", "line"), [(12, "echo +12 >"), (-2.5, "echo -2.5 >"), (0, "rm -f ")])
def test_a_clock_goes_before_or_after(seconds, line):
    assert weather.skew(seconds).startswith(line)


def test_networks_are_not_where_projects_choose_theirs():
    assert all(prefix.startswith("10.77.") for prefix in NETWORKS)
    assert default_name().startswith("pghabed-")
