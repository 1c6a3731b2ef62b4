"""Whether machines reach each other: a container that listens where the project's will, and one that asks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pgha.errors import ToolFailed
from pgha.tools import docker
from pgha.tools.command import Command

LISTEN = """
import socket, sys, time
held = [socket.create_server(("", int(port)), backlog=50) for port in sys.argv[1:]]
time.sleep(60)
"""
"""It ends by itself."""

ASK = """
import json, socket, sys, threading, time
end, silent = time.monotonic() + 5, []
def ask(place):
    address, _, port = place.rpartition(":")
    while True:
        try:
            return socket.create_connection((address, int(port)), timeout=2).close()
        except OSError as error:
            if time.monotonic() > end:
                return silent.append([address, int(port), error.strerror or "no answer"])
            time.sleep(0.2)
threads = [threading.Thread(target=ask, args=[place]) for place in sys.argv[1:]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(sorted(silent)))
"""
"""What does not take a connection within 5 s, while the listener may still be starting."""


@dataclass(frozen=True)
class Silent:
    """A port that could not be reached."""

    address: str
    port: int
    words: str


def listen(name: str, image: str, label: str, address: str, ports: Sequence[int]) -> Command:
    argv = ["run", "--detach", "--rm", "--init", "--name", name, "--label", label]
    for port in ports:
        argv += ["--publish", f"{address}:{port}:{port}"]
    return docker.docker(*argv, image, "python3", "-c", LISTEN, *map(str, ports))


def ask(image: str, label: str, places: Sequence[str]) -> Command:
    """`places`: `10.0.1.9:2379`."""
    return docker.docker("run", "--rm", "--init", "--label", label, image, "python3", "-c", ASK, *places)


def parse_silent(text: str) -> tuple[Silent, ...]:
    """Raises ToolFailed when it is something else."""
    try:
        return tuple(Silent(str(address), int(port), str(words)) for address, port, words in json.loads(text))
    except (ValueError, TypeError) as error:
        raise ToolFailed("The ports of the other machines could not be tried", text[:2000]) from error
