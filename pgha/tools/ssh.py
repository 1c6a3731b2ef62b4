"""ssh to the machines, as the operator: their own configuration, agent and known hosts hold."""

from __future__ import annotations

from pgha.model.machines import Machine, destination
from pgha.tools.command import Command

ENGINE_SOCKET = "/var/run/docker.sock"

CONNECT_TIMEOUT = 2
"""Seconds for a machine to answer: `status` shows the others meanwhile, and waits no longer."""


def open_master(machine: Machine, control: str, socket: str) -> Command:
    """One connection for everything, in the background, with the engine's socket at the other end of `socket`: with an
    engine at `ssh://` every call opens a connection, and sshd refuses the eleventh that begins at once (MaxStartups).

    It ends 10 minutes after its last use, and 6 s after a machine has stopped answering. A host key that is not known
    is an error, and nothing is asked for.
    """
    options = {
        "ControlPersist": "10m",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ExitOnForwardFailure": "yes",
        "StreamLocalBindUnlink": "yes",
        "ConnectTimeout": str(CONNECT_TIMEOUT),
        "ServerAliveInterval": "2",
        "ServerAliveCountMax": "3",
    }
    given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    forward = ["-L", f"{socket}:{ENGINE_SOCKET}"]
    return Command(("ssh", "-fNM", "-S", control, *given, *forward, *_place(machine)), timeout=20)


def close_master(machine: Machine, control: str) -> Command:
    return Command(("ssh", "-S", control, "-O", "exit", *_place(machine)), timeout=10)


def _place(machine: Machine) -> tuple[str, ...]:
    place, port = destination(machine)
    return (*(("-p", port) if port else ()), place)
