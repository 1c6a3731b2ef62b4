"""The engine: docker and Compose command lines, and their answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgha.errors import ToolFailed
from pgha.tools.command import Command

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
CHECKOUT_LABEL = "pgha.checkout"

BUILD_TIMEOUT = 3600.0


def docker(*arguments: str, timeout: float = 60) -> Command:
    return Command(("docker", *arguments), timeout=timeout)


def image_exists(name: str) -> Command:
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def image_label(name: str, label: str) -> Command:
    """What a label of an image says; nothing when it has none."""
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', name)


def remove_images(names: Sequence[str]) -> Command:
    """Their names, and what no other name needs."""
    return docker("image", "rm", *names, timeout=120)


def pull(image: str) -> Command:
    return docker("pull", image, timeout=900)


def build(folder: Path, tags: Sequence[str], arguments: dict[str, str], *, target: str = "",
          no_cache: bool = False) -> Command:  # fmt: skip
    """One image from a folder; `--force-rm` leaves no container behind a failed step."""
    argv = ["build", "--force-rm"]
    for name in tags:
        argv += ["--tag", name]
    for key, value in arguments.items():
        argv += ["--build-arg", f"{key}={value}"]
    if target:
        argv += ["--target", target]
    if no_cache:
        argv.append("--no-cache")
    return docker(*argv, str(folder), timeout=BUILD_TIMEOUT)


def mirror_probe(image: str) -> Command:
    """Whether packages can be fetched from inside a container."""
    return docker("run", "--rm", image, "apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any", timeout=120)


def containers(project: str) -> Command:
    return docker("ps", "--all", "--filter", f"label={PROJECT_LABEL}={project}", "--format", "{{.ID}}")


def volumes(project: str) -> Command:
    return docker("volume", "ls", "--filter", f"label={PROJECT_LABEL}={project}", "--format", "{{.Name}}")


def owners_of_containers(project: str) -> Command:
    """A line a container: the checkout it belongs to, and the folder of its compose file."""
    return docker("ps", "--all", "--filter", f"label={PROJECT_LABEL}={project}",
                  "--format", f'{{{{.Label "{CHECKOUT_LABEL}"}}}} {{{{.Label "{FOLDER_LABEL}"}}}}')  # fmt: skip


def owners_of_volumes(project: str) -> Command:
    return docker("volume", "ls", "--filter", f"label={PROJECT_LABEL}={project}",
                  "--format", f'{{{{.Label "{CHECKOUT_LABEL}"}}}}')  # fmt: skip


def parse_owners(text: str) -> dict[str, str]:
    """The answers to these two: checkout -> folder. A container or volume without the label has nothing as checkout."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {owner: folder.strip() for owner, _, folder in pairs}


def inspect(kind: str, names: Sequence[str]) -> Command:
    return docker(kind, "inspect", *names)


def remove_volumes(names: Sequence[str]) -> Command:
    return docker("volume", "rm", *names, timeout=120)


def signal(verb: str, names: Sequence[str]) -> Command:
    """stop (SIGTERM, and SIGKILL after 2 minutes), kill (SIGKILL), pause (freeze), unpause or start containers."""
    patience = ["-t", "120"] if verb == "stop" else []
    return docker(verb, *patience, *names, timeout=180)


def logs(container: str, *, follow: bool, tail: int) -> Command:
    argv = ["logs", "--tail", str(tail)]
    if follow:
        argv.append("--follow")
    return docker(*argv, container, timeout=0)


def execute(container: str, command: Command) -> Command:
    """A command inside a container, as postgres."""
    return docker("exec", "--user", "postgres", container, *command.argv, timeout=command.timeout)


def make_folders(container: str, folders: Sequence[str]) -> Command:
    """Folders of the user postgres, wherever they are."""
    owner = ("install", "-d", "-o", "postgres", "-g", "postgres", "-m", "0700")
    return docker("exec", "--user", "root", container, *owner, *folders)


def copy_into(container: str, file: Path, target: str) -> Command:
    """A file of this host into a container, as root's; its mode stays."""
    return docker("cp", str(file), f"{container}:{target}")


def remove_networks(names: Sequence[str]) -> Command:
    return docker("network", "rm", *names)


def remove(*containers: str) -> Command:
    """With the volumes that have no name."""
    return docker("rm", "--force", "--volumes", *containers, timeout=180)


def image_ids(names: Sequence[str]) -> Command:
    """A line an image: its id."""
    return docker("image", "inspect", "--format", "{{.Id}}", *names)


def networks(project: str) -> Command:
    return docker("network", "ls", "--filter", f"label={PROJECT_LABEL}={project}", "--format", "{{.ID}}")


def logs_since(container: str, since: int) -> Command:
    """A container's log from a moment on (seconds since 1970), each line with the engine's time."""
    return docker("logs", "--timestamps", "--since", str(since), container)


def last_logs(container: str, lines: int) -> Command:
    return docker("logs", "--tail", str(lines), container)


def restart(container: str) -> Command:
    return docker("restart", "-t", "10", container, timeout=60)


@dataclass(frozen=True)
class Compose:
    """How Compose is called on this host: the plugin (v2) or the old program (v1)."""

    program: tuple[str, ...]

    def version(self) -> Command:
        return Command((*self.program, "version", "--short"))

    def command(self, file: Path, project: str, *arguments: str, timeout: float = 300) -> Command:
        return Command((*self.program, "--project-name", project, "--file", str(file), *arguments), timeout=timeout)


PLUGIN = Compose(("docker", "compose"))
PROGRAM = Compose(("docker-compose",))


@dataclass(frozen=True)
class Container:
    """One container of a project."""

    service: str
    name: str
    image: str
    state: str
    """`running`, `exited`, `paused`, `created`, ..."""
    health: str
    """`healthy`, `unhealthy`, `starting` or nothing."""
    config: str
    """The digest of the settings it was made with."""
    published: tuple[int, ...]
    addresses: dict[str, str] = field(default_factory=dict)
    """network -> the container's address in it, while it runs"""
    fixed: dict[str, str] = field(default_factory=dict)
    """network -> the address it was made with, running or not"""
    started: str = ""
    """when it was started last"""
    image_id: str = ""
    checkout: str = ""
    """the checkout it belongs to"""
    definition: str = ""
    """the digest of what the compose file said of it"""
    made_by: str = ""
    """the version of Compose"""
    bindings: tuple[str, ...] = ()
    """published ports, as the compose file writes them: `127.0.0.1:50551:5432`"""
    networks: dict[str, str] = field(default_factory=dict)
    """network -> its id, running or not"""
    folder: str = ""
    """where its compose file was"""
    tls: bool = False
    """whether its etcdctl and curl were given a certificate"""


def taken_ports(words: str) -> tuple[str, ...]:
    """The ports on which a container could not be published, from the engine's words: another container has them, or
    another program."""
    allocated = re.findall(r"Bind for \S+:(\d+) failed: port is already allocated", words)
    in_use = re.findall(r"listen \w+ \S+:(\d+): bind: address already in use", words)
    return tuple(sorted({*allocated, *in_use}))


def parse_inspect(text: str) -> list[dict[str, Any]]:
    """`docker ... inspect`: a list of objects."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ToolFailed("docker inspect did not print JSON", text) from error
    if not isinstance(document, list):
        raise ToolFailed("docker inspect did not print a list", text)
    return document


def parse_containers(text: str) -> tuple[Container, ...]:
    """`docker container inspect` of a project's containers."""
    try:
        return tuple(sorted((_container(entry) for entry in parse_inspect(text)), key=lambda c: c.service))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToolFailed(f"docker inspect lacks {error}", text[:2000]) from error


def _container(entry: dict[str, Any]) -> Container:
    labels = entry["Config"]["Labels"]
    networks = entry.get("NetworkSettings", {}).get("Networks") or {}
    bindings = entry["HostConfig"].get("PortBindings") or {}
    return Container(
        service=labels[SERVICE_LABEL],
        name=entry["Name"].lstrip("/"),
        image=entry["Config"]["Image"],
        state=entry["State"]["Status"],
        health=(entry["State"].get("Health") or {}).get("Status", ""),
        config=labels.get("pgha.config", ""),
        published=tuple(int(b["HostPort"]) for entries in bindings.values() for b in entries if b["HostPort"]),
        addresses={name: network["IPAddress"] for name, network in networks.items() if network["IPAddress"]},
        fixed={
            name: address
            for name, network in networks.items()
            if (address := (network.get("IPAMConfig") or {}).get("IPv4Address"))
        },
        started=entry["State"].get("StartedAt", ""),
        image_id=entry.get("Image", ""),
        checkout=labels.get(CHECKOUT_LABEL, ""),
        definition=labels.get("pgha.definition", ""),
        folder=labels.get(FOLDER_LABEL, ""),
        tls=any(given.startswith("ETCDCTL_CERT=") for given in entry["Config"].get("Env") or ()),
        made_by=labels.get("com.docker.compose.version", ""),
        bindings=tuple(sorted(_binding(port, b) for port, entries in bindings.items() for b in entries)),
        networks={name: network.get("NetworkID", "") for name, network in networks.items()},
    )


def _binding(port: str, entry: dict[str, str]) -> str:
    return f"{entry['HostIp']}:{entry['HostPort']}:{port.split('/')[0]}"
