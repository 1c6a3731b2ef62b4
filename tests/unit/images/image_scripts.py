"""Where the images' scripts are, and how a test runs one."""

import os
import subprocess

from pgha import ROOT

BASE = ROOT / "images" / "base"
PATRONI = ROOT / "images" / "patroni"


def run(*command, **environment):
    line = [str(word) for word in command]
    given = {**os.environ, **environment}
    return subprocess.run(line, env=given, capture_output=True, text=True, timeout=60, check=False)
