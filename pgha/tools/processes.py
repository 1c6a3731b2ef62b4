"""Processes inside a container: signals through their supervisor (s6) or their pid file."""

from __future__ import annotations

from pgha.tools.command import Command

SERVICES = ("patroni", "sshd")

_S6 = {"stop": "-d", "kill": "-k", "pause": "-p"}
_SIGNALS = {"stop": "TERM", "kill": "KILL", "pause": "STOP", "reload": "HUP"}


def inside(container: str, *argv: str, timeout: float = 60) -> Command:
    """A command in a container, as root, whether or not its sshd answers."""
    return Command(("docker", "exec", "--user", "root", container, *argv), timeout=timeout)


def signal_service(container: str, service: str, mechanism: str) -> Command:
    """stop: SIGTERM, and it stays down. kill: SIGKILL, and s6 starts it again. pause: SIGSTOP."""
    return inside(container, "s6-svc", _S6[mechanism], f"/service/{service}")


def take_down(container: str, service: str, patience: int = 100) -> Command:
    """Stop a service and wait until it is down; fails when it is not after `patience` seconds."""
    return inside(container, "s6-svc", "-wD", "-T", str(1000 * patience), "-d", f"/service/{service}",
                  timeout=patience + 20)  # fmt: skip


def resume_service(container: str, service: str) -> Command:
    """Wanted up, and continued if it was paused."""
    return inside(container, "s6-svc", "-uc", f"/service/{service}")


def reload_service(container: str, service: str) -> Command:
    """SIGHUP: read the configuration again."""
    return inside(container, "s6-svc", "-h", f"/service/{service}")


PUT = """
places=
while [ $# -gt 0 ]; do
    chown "$1:$1" "$3.new" && chmod "$2" "$3.new" || exit
    places="$places $3"
    shift 3
done
for place in $places; do mv "$place.new" "$place" || exit; done
"""


def put_in_place(container: str, *places: tuple[str, str, str]) -> Command:
    """The files that lie beside these places (each with its owner and mode) take them, one right after the other; each
    whole or not at all."""
    return inside(container, "sh", "-c", PUT, "put", *(word for place in places for word in place))


POSTGRES = """
pid=$(head -n 1 "$1/postmaster.pid") || exit 1
# The file of a Postgres that crashed may name what is another process now.
[ "$(cat "/proc/$pid/comm")" = postgres ] || { echo "Postgres does not run" >&2; exit 1; }
[ "$2" = STOP ] || [ "$2" = CONT ] || exec kill -s "$2" "$pid"
# A stopped postmaster alone would leave its backends writing.
exec kill -s "$2" "$pid" $(pgrep -P "$pid")
"""


def signal_postgres(container: str, data_dir: str, mechanism: str) -> Command:
    """stop: SIGTERM to the postmaster. kill: SIGKILL to it. reload: SIGHUP, it reads its files again. pause: SIGSTOP to
    it and all its children."""
    return inside(container, "sh", "-c", POSTGRES, "signal", data_dir, _SIGNALS[mechanism])


def resume_postgres(container: str, data_dir: str) -> Command:
    return inside(container, "sh", "-c", POSTGRES, "signal", data_dir, "CONT")
