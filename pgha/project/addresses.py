"""The machines' addresses: given in the settings, or looked up once and kept in the record."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping

from pgha.errors import BadSettings
from pgha.model.machines import machines_of
from pgha.model.settings import Settings


def machine_addresses(
    settings: Settings, recorded: Mapping[str, str], look_up: Callable[[str], str] = socket.gethostbyname
) -> dict[str, str]:
    """Engine -> the IPv4 address of its machine. Raises BadSettings for a name nobody knows, and for one machine under
    two names.

    Containers find each other's machines by these: a name that led elsewhere later would lead them astray.
    """
    found: dict[str, str] = {}
    problems = []
    for machine in dict.fromkeys(machines_of(settings.machines).values()):
        try:
            found[machine.engine] = _address(machine.address, recorded.get(machine.engine, ""), look_up)
        except OSError:
            problems.append(
                f"machines: no address of {machine.address} is known here: give it, as in "
                f"{{engine: {machine.engine}, address: 10.0.2.9}}"
            )
    engines = list(found)
    for index, engine in enumerate(engines):
        twin = next((other for other in engines[:index] if found[other] == found[engine]), "")
        if twin:
            problems.append(
                f"machines: {twin} and {engine} have one address, {found[engine]}: the same machine under two names"
            )
        if ipaddress.IPv4Address(found[engine]).is_loopback:
            problems.append(f"machines: {engine} is at {found[engine]}, where no other machine finds it")
    if problems:
        raise BadSettings(problems)
    return found


def _address(given: str, recorded: str, look_up: Callable[[str], str]) -> str:
    try:
        return str(ipaddress.IPv4Address(given))
    except ValueError:
        return recorded or look_up(given)
