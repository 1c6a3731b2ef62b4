"""Cuts and delays inside a container's network namespace, made from outside by a short-lived helper container."""

from __future__ import annotations

from collections.abc import Sequence

from pgha.tools.command import Command

TABLE = "inet pgha_chaos"

NO_SUCH_QDISC = 2
"""tc's exit code when the kernel refuses what it was asked for."""


def _helper(container: str, image: str, *argv: str) -> Command:
    return Command(
        ("docker", "run", "--rm", "--network", f"container:{container}", "--cap-add", "NET_ADMIN", "--user", "root",
         image, *argv),
    )  # fmt: skip


def cut(container: str, image: str, addresses: Sequence[str]) -> Command:
    """Drop every packet from and to these addresses, silently, as a broken line does.

    One transaction that replaces what an earlier cut left. What goes to other addresses, through published ports
    or to Docker's name server is not touched.
    """
    listed = ", ".join(sorted(addresses))
    rules = (
        f"add table {TABLE}; delete table {TABLE}; add table {TABLE}; "
        f"add chain {TABLE} incoming {{ type filter hook input priority -10; }}; "
        f"add chain {TABLE} outgoing {{ type filter hook output priority -10; }}; "
        f"add rule {TABLE} incoming ip saddr {{ {listed} }} drop; "
        f"add rule {TABLE} outgoing ip daddr {{ {listed} }} drop"
    )
    return _helper(container, image, "nft", rules)


def mend(container: str, image: str) -> Command:
    """Take the cut away; also where there is none."""
    return _helper(container, image, "nft", f"add table {TABLE}; delete table {TABLE}")


DELAY = """
interface=$(ip -o -4 addr | awk -v address="$1" '$4 ~ "^" address "/" { print $2 }')
exec tc qdisc replace dev "$interface" root netem delay "$2"
"""

NO_DELAY = """
interface=$(ip -o -4 addr | awk -v address="$1" '$4 ~ "^" address "/" { print $2 }')
tc qdisc show dev "$interface" | grep -q netem || exit 0
exec tc qdisc del dev "$interface" root
"""


def can_delay(image: str) -> Command:
    """Whether this host's kernel has the netem queue discipline, tried on a namespace of its own."""
    return Command(
        ("docker", "run", "--rm", "--network", "none", "--cap-add", "NET_ADMIN", "--user", "root", image,
         "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"),
    )  # fmt: skip


def delay(container: str, image: str, address: str, milliseconds: int) -> Command:
    """Send every packet of the interface with this address later by so much: the round trip grows by it."""
    return _helper(container, image, "sh", "-c", DELAY, "delay", address, f"{milliseconds}ms")


def no_delay(container: str, image: str, address: str) -> Command:
    """Take the delay away; also where there is none."""
    return _helper(container, image, "sh", "-c", NO_DELAY, "no-delay", address)
