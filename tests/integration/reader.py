"""Follows a runbook as its reader would: types what it shows into a shell, and compares what is printed."""

import json
import os
import re
import subprocess
import sys

from runbook import agrees, runbooks, steps
from situations import SITUATIONS, lead
from tools import PATIENCE, ROOT, until

OURS = re.compile(r"\bpgha(?=[-_](?:pg\d|etcd\d|pgbackrest|clone))")
"""The default project's name before a container's or a volume's."""


def follow(stack, name, tmp_path):
    """Make the situation, and follow the runbook through it; the stack is well afterwards."""
    lead(stack)
    blanks = SITUATIONS[name](stack) or {}
    symptom, *rest = steps(runbooks()[name].read_text())
    for step in (symptom, *rest):
        command = OURS.sub(stack.name, step.command)
        for word, here in blanks.items():
            command = command.replace(word, here)
        run(stack, step, command, tmp_path)
    until(lambda: stack.status()["healthy"], f"the stack is well after {name}")


def run(stack, step, command, folder):
    """One command; `inv status` is typed again until it shows what the text does."""
    seen = []

    def agreed():
        code, printed = typed(stack, command, folder)
        seen[:] = [f"$ {command}", printed, f"exit code {code}, and the text shows:", *step.shown]
        return (code != 0) == step.is_refused and agrees(step.shown, printed)

    if step.looks:
        try:
            until(agreed, "what the text shows", 90, 1)
        except AssertionError:
            raise AssertionError("\n".join(seen)) from None
    else:
        assert agreed(), "\n".join(seen)


def typed(stack, command, folder):
    """Exit code and what is printed, in its order, of a command with `inv` on the PATH."""
    program = folder / "inv"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m invoke "$@"\n')
    program.chmod(0o755)
    environment = {**stack.environment({}), "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    answer = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=400 * PATIENCE, check=False,
    )  # fmt: skip
    printed = re.sub(rf"\b{re.escape(stack.name)}\b", "pgha", answer.stdout)
    assert "Traceback" not in printed, printed
    return answer.returncode, printed


def restored_to_health(stack):
    """Whatever a runbook that failed has left behind; a stack that cannot be brought back goes."""
    changed, stack.settings = stack.settings, {}
    if (stack.folder / "broken.yaml").exists():
        stack.try_inv("chaos.heal")
    if changed or not is_healthy(stack):
        stack.try_inv("resume")
        stack.try_inv("up")
        try:
            until(lambda: is_healthy(stack), f"{stack.name} is as it was made", 30, 1)
        except AssertionError:
            stack.clear()


def is_healthy(stack):
    """Whole, and of the shape it was made with."""
    document = stack.try_inv("status", "--json").stdout
    return '"healthy": true' in document and {m["name"] for m in json.loads(document)["members"]} == set(stack.nodes)
