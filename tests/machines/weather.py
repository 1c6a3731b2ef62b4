"""What befalls a machine, as the text that does it."""

from __future__ import annotations

TABLE = "inet pgha_bed"

FILLER = "/var/lib/docker/filler"


def cut(addresses: list[str]) -> str:
    """nft's input, one transaction that replaces an earlier cut.

    The hooks are before addresses are translated inwards and after they are outwards, where a machine's own address
    stands in its containers' packets, too.
    """
    listed = ", ".join(addresses)
    return f"""\
add table {TABLE}
delete table {TABLE}
table {TABLE} {{
    chain incoming {{
        type filter hook prerouting priority -400;
        ip saddr {{ {listed} }} drop
    }}
    chain outgoing {{
        type filter hook postrouting priority 400;
        ip daddr {{ {listed} }} drop
    }}
}}
"""


def mend() -> str:
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def fill(leave: int) -> str:
    """A shell's line: what is free, but for `leave` bytes, becomes one file."""
    free = "$(($(stat -f -c '%a * %S' /var/lib/docker)))"
    return f"rm -f {FILLER}; sync; size=$(({free} - {leave})); [ $size -le 0 ] || fallocate -l $size {FILLER}"


def skew(seconds: float) -> str:
    """A shell's line."""
    return f"echo {seconds:+g} > /machine/skew" if seconds else "rm -f /machine/skew"
