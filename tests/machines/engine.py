"""This host's engine, which the machines are containers of: commands as lists, and what a machine may do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

LABEL = "pgha.bed"

NAMES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"""
CAPABILITIES = NAMES.split()
"""In the order of their bits (linux/capability.h), as far as engines from 20.10 on know their names."""


class Failed(Exception):
    """A command that did not end well, with its words."""


def run(*arguments: str, check: bool = True, timeout: float = 300, stdin: str | None = None) -> str:
    """A docker command of this host's engine; its output."""
    line = ["docker", *arguments]
    try:
        answer = subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{shlex.join(line)} did not end within {timeout:g} s") from None
    if check and answer.returncode:
        raise Failed(f"{shlex.join(line)}: {answer.stdout}{answer.stderr}")
    return answer.stdout


def bounding_set(status: str) -> list[str]:
    """The capabilities that /proc/self/status says this host can give away.

    `--privileged` asks for all there are, and fails where one lacks.
    """
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return [name for bit, name in enumerate(CAPABILITIES) if bits >> bit & 1]


def nearly_privileged() -> list[str]:
    """The options of a container that runs an engine: all this host may do, but not `--privileged`."""
    options = ["--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
               "--security-opt=systempaths=unconfined", "--device-cgroup-rule=a *:* rwm"]  # fmt: skip
    return [*options, *(f"--cap-add={name}" for name in bounding_set(Path("/proc/self/status").read_text()))]


def labelled(kind: str, bed: str) -> list[str]:
    """What of this kind (container, volume, network) belongs to a bed; of all beds without a name."""
    label = f"{LABEL}={bed}" if bed else LABEL
    every = ["--all"] if kind == "container" else []
    return run(kind, "ls", *every, "--filter", f"label={label}", "--format",
               "{{.Name}}" if kind != "container" else "{{.Names}}").split()  # fmt: skip


def inspect(kind: str, *names: str) -> list[dict]:
    return json.loads(run(kind, "inspect", *names)) if names else []


def image_ids(names: list[str], *prefix: str) -> dict[str, str]:
    """Image -> its id, of those that are there; `prefix` is how to get to another engine."""
    listed = run(*prefix, "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    have = dict(line.split() for line in listed.splitlines())
    return {name: have[name] for name in names if name in have}


def fan_out(source: list[str], targets: list[list[str]]) -> None:
    """What one command writes, read once, as the input of several."""
    reading = subprocess.Popen(source, stdout=subprocess.PIPE)
    writing = [subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for line in targets]
    assert reading.stdout is not None
    while chunk := reading.stdout.read(1 << 20):
        for process in writing:
            assert process.stdin is not None
            process.stdin.write(chunk)
    for process in writing:
        assert process.stdin is not None
        process.stdin.close()
    lines = [source, *targets]
    codes = [process.wait() for process in (reading, *writing)]
    if bad := [shlex.join(line) for line, code in zip(lines, codes, strict=True) if code]:
        raise Failed(f"{bad[0]} failed")
