"""The bed: N machines on one network, made and taken away as a whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pgha.console import Progress
from pgha.model.releases import MAJORS, release_for
from pgha.stack.images import ensure_base

from . import access, engine, weather

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

IMAGE = "pgha-machine"
COMPOSE = "/usr/libexec/docker/cli-plugins/docker-compose"

STOP_PATIENCE = 150
"""Seconds for a shutdown: the containers' own two minutes, and dockerd's end."""

ENGINE_PATIENCE = 120

NETWORKS = [f"10.77.{third}" for third in range(1, 255)]
"""Apart from where projects and Docker choose theirs: a machine's containers have routes to their own networks."""


def default_name() -> str:
    """Tells this checkout's bed from another one's."""
    return f"pghabed-{hashlib.sha1(str(ROOT).encode()).hexdigest()[:4]}"


class Bed:
    """Machines db-a, db-b, ... by the name of the bed. What there is is read from the engine, never remembered."""

    def __init__(self, name: str = "", patience: float = 1.0) -> None:
        self.name = name or default_name()
        self.folder = ROOT / "build" / "machines" / self.name
        self.patience = patience

    # Up and down ----------------------------------------------------------------------------------------------

    def up(self, machines: int = 3, base: str = "debian:trixie-slim", disk: str = "") -> None:
        """Make what lacks and start what does not run.

        `disk`: the size of each engine's file system, such as 6G; without it the machines share this host's.
        """
        self.build(base)
        network = self._network()
        names = [f"db-{letter}" for letter in string.ascii_lowercase[:machines]]
        addresses = {name: f"{network}.{number}" for number, name in enumerate(names, start=11)}
        keys = self._write_access(addresses)
        there = set(self.machines())
        for name in names:
            if name not in there:
                self._create(name, addresses, keys, disk)
        self._forget()
        self.start(*names)
        self._compose_plugin(names[0])

    def down(self) -> None:
        """Take everything away, also what is left of a bed whose making was interrupted."""
        for kind, options in (("container", ["--force", "--volumes"]), ("volume", ["--force"]), ("network", [])):
            names = engine.labelled(kind, self.name)
            if names:
                engine.run(kind, "rm", *options, *names)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._forget()

    def build(self, base: str) -> None:
        """The machines' image, on the base that the project's images stand on; what is built already stays."""
        ensure_base(release_for(MAJORS[-1], base), Progress())
        argument = f"BASE_IMAGE={base}"
        engine.run("build", "--force-rm", "--tag", self.image, "--build-arg", argument, str(HERE), timeout=1800)

    @property
    def image(self) -> str:
        return f"{IMAGE}:{self.name}"

    def _network(self) -> str:
        """The first three numbers of the machines' addresses; the network is made if it is not there."""
        existing = engine.inspect("network", *engine.labelled("network", self.name))
        if existing:
            return existing[0]["IPAM"]["Config"][0]["Subnet"].rpartition(".")[0]
        first = int(hashlib.sha1(self.name.encode()).hexdigest(), 16) % len(NETWORKS)
        for prefix in NETWORKS[first:] + NETWORKS[:first]:
            try:
                engine.run("network", "create", "--label", f"{engine.LABEL}={self.name}", "--subnet", f"{prefix}.0/24",
                           self.name)  # fmt: skip
            except engine.Failed as error:
                if "overlaps" not in str(error):
                    raise
            else:
                return prefix
        raise engine.Failed("No network 10.77.x.0/24 is free on this host")

    def _write_access(self, addresses: dict[str, str]) -> dict[str, str]:
        """Machine -> its public host key."""
        access.key_pair(self.folder / "id_ed25519")
        keys = {name: access.key_pair(self.folder / "host_keys" / name) for name in addresses}
        (self.folder / "known_hosts").write_text(access.known_hosts(keys, addresses))
        (self.folder / "ssh_config").write_text(access.ssh_config(self.folder, addresses))
        access.write_shim(self.folder)
        return keys

    def _create(self, name: str, addresses: dict[str, str], keys: dict[str, str], disk: str) -> None:
        label = f"{engine.LABEL}={self.name}"
        container = self.container(name)
        engine.run("volume", "create", "--label", label, container)
        peers = [f"--add-host={peer}:{address}" for peer, address in addresses.items() if peer != name]
        engine.run(
            "create", "--name", container, "--hostname", name, "--label", label, *engine.nearly_privileged(), *peers,
            "--network", self.name, "--ip", addresses[name], "--tmpfs", "/run:exec",
            "--volume", f"{container}:/machine", "--env", f"DISK={disk}", "--stop-timeout", str(STOP_PATIENCE),
            self.image,
        )  # fmt: skip
        public = self.folder / "authorized_keys"
        public.write_text(access.key_pair(self.folder / "id_ed25519") + "\n")
        public.chmod(0o600)
        # Copies are root's and keep their mode.
        engine.run("cp", str(public), f"{container}:/root/.ssh/authorized_keys")
        engine.run("cp", str(self.folder / "host_keys" / name), f"{container}:/etc/ssh/host_key")

    def _compose_plugin(self, name: str) -> None:
        """Compose v2 for a host that has none: v1 cannot make containers again on an engine from 25 on."""
        try:
            engine.run("compose", "version")
        except engine.Failed:
            plugin = self.folder / "docker-compose"
            engine.run("cp", f"{self.container(name)}:{COMPOSE}", str(plugin))
            access.write_docker_config(self.folder, plugin)
            plugin.unlink()

    # What there is ----------------------------------------------------------------------------------------------

    def container(self, machine: str) -> str:
        return f"{self.name}-{machine}"

    @cached_property
    def _entries(self) -> dict[str, dict]:
        found = engine.inspect("container", *engine.labelled("container", self.name))
        return {entry["Config"]["Hostname"]: entry for entry in sorted(found, key=lambda entry: entry["Name"])}

    def _forget(self) -> None:
        self.__dict__.pop("_entries", None)

    def machines(self) -> list[str]:
        return list(self._entries)

    def address(self, machine: str) -> str:
        (network,) = self._entries[machine]["NetworkSettings"]["Networks"].values()
        return network["IPAMConfig"]["IPv4Address"]

    def states(self) -> dict[str, str]:
        """Machine -> `running`, `exited`, ..."""
        self._forget()
        return {name: entry["State"]["Status"] for name, entry in self._entries.items()}

    def environment(self) -> dict[str, str]:
        """What a shell needs on top of its own, so that `ssh db-a` and `docker compose` work in it."""
        own = str(self.folder / "bin")
        found = {"PATH": os.pathsep.join([own, *(part for part in os.get_exec_path() if part != own)])}
        if (self.folder / "docker").is_dir():
            found["DOCKER_CONFIG"] = str(self.folder / "docker")
        return found

    # On a machine -------------------------------------------------------------------------------------------------

    def run(self, machine: str, *command: str, stdin: str | None = None, **options: Any) -> str:
        """A command on a machine, as root; not over its network, so also while that is cut."""
        interactive = ["--interactive"] if stdin is not None else []
        return engine.run("exec", *interactive, self.container(machine), *command, stdin=stdin, **options)

    def docker(self, machine: str, *command: str, **options: Any) -> str:
        """A command of the machine's own engine."""
        return self.run(machine, "docker", *command, **options)

    def containers(self, machine: str) -> dict[str, str]:
        """Container of that machine -> its state."""
        listed = self.docker(machine, "ps", "--all", "--format", "{{.Names}} {{.State}}")
        return dict(line.split() for line in listed.splitlines())

    def ship(self, *images: str) -> list[str]:
        """Bring images of this host to every machine that does not have them; returns these machines."""
        here = engine.image_ids(list(images))
        if lacking := [name for name in images if name not in here]:
            raise engine.Failed(f"{lacking[0]} is not on this host")
        behind = [
            name for name in self.machines()
            if engine.image_ids(list(images), "exec", self.container(name), "docker") != here
        ]  # fmt: skip
        if behind:
            loads = [["docker", "exec", "-i", self.container(name), "docker", "load", "--quiet"] for name in behind]
            engine.fan_out(["docker", "save", *images], loads)
        return behind

    # Power ----------------------------------------------------------------------------------------------------

    def start(self, *machines: str, wait: bool = True) -> None:
        engine.run("start", *map(self.container, machines))
        if wait:
            self.wait_engines(*machines)

    def stop(self, *machines: str) -> None:
        """Shut down: the engine stops its containers, each in its own time."""
        self._together("stop", "--time", str(STOP_PATIENCE), machines=machines)

    def kill(self, *machines: str) -> None:
        """The power is lost: every process is gone at once. What was written is there: the kernel lives on."""
        engine.run("kill", *map(self.container, machines))

    def reboot(self, *machines: str) -> None:
        self.stop(*machines)
        self.start(*machines)

    def _together(self, *command: str, machines: tuple[str, ...]) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(machines))) as pool:
            work = [pool.submit(engine.run, *command, self.container(name)) for name in machines]
            for each in work:
                each.result()

    def wait_engines(self, *machines: str) -> None:
        """Until their engines answer. Raises Failed with the end of a machine's log."""
        deadline = time.monotonic() + ENGINE_PATIENCE * self.patience
        for name in machines:
            while not self.run(name, "docker", "version", "--format", "{{.Server.Version}}", check=False).strip():
                if time.monotonic() > deadline:
                    said = engine.run("logs", "--tail", "20", self.container(name))
                    raise engine.Failed(f"The engine of {name} does not answer. {said}")
                time.sleep(0.2)

    # Weather --------------------------------------------------------------------------------------------------

    def cut(self, machine: str, *others: str, operator: bool = False) -> None:
        """Drop, silently, what passes between a machine and these others; all, when none is named.

        With `operator` what passes between it and this host, too.
        """
        peers = [self.address(name) for name in others or self.machines() if name != machine]
        if operator:
            peers.append(self.address(machine).rpartition(".")[0] + ".1")
        self.run(machine, "nft", "-f", "-", stdin=weather.cut(peers))

    def mend(self, machine: str) -> None:
        """Take a cut away; also where there is none."""
        self.run(machine, "nft", "-f", "-", stdin=weather.mend())

    @contextmanager
    def cut_off(self, machine: str, *others: str, operator: bool = False) -> Iterator[None]:
        self.cut(machine, *others, operator=operator)
        try:
            yield
        finally:
            self.mend(machine)

    def fill(self, machine: str, leave: int = 0) -> None:
        """Fill a machine's disk but for so many bytes. Raises Failed where it is this host's."""
        if not self.run(machine, "sh", "-c", "echo $DISK").strip():
            raise engine.Failed(f"{machine} shares this host's disk: make the bed with a disk of its own (--disk 6G)")
        self.run(machine, "sh", "-c", weather.fill(leave))

    def empty(self, machine: str) -> None:
        self.run(machine, "rm", "-f", weather.FILLER)

    def skew(self, machine: str, seconds: float) -> None:
        """Let `date` on a machine be off by so much; 0 ends it. Containers have the kernel's clock all the same."""
        self.run(machine, "sh", "-c", weather.skew(seconds))
