"""Versions as the tools print them."""

from __future__ import annotations

import re


def major(version: str) -> int:
    """20 of `20.10.24+dfsg1`, 2 of `Docker Compose version v2.26.1` or Debian's `5:2.29.1-1`, 18 of `18beta1`.

    0 when it is no version.
    """
    found = re.search(r"(?<![\w.])v?(\d+)(?:\.\d|beta|rc|devel)", version)
    return int(found[1]) if found else 0
