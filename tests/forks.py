"""`inv` without the half second it takes to load its libraries: a process that has them forks for each command.

Libraries are loaded before, and the modules of pgha, which cost a quarter of a second more. tasks.py and all settings
are read again by each command, as a shell's would.
"""

import atexit
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path


class Forks:
    """The process that forks, from the first command on; it runs commands of this checkout."""

    def __init__(self, checkout):
        self._checkout = checkout
        self._process = None

    def run(self, arguments, folder, environment, timeout):
        """As subprocess.run would, with nobody at the terminal."""
        if self._process is None or self._process.poll() is not None:
            line = [sys.executable, __file__, str(self._checkout)]
            self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with tempfile.TemporaryDirectory() as place:
            streams = [str(Path(place) / name) for name in ("stdout", "stderr")]
            asked = {"arguments": arguments, "folder": str(folder), "environment": environment, "streams": streams}
            self._process.stdin.write(json.dumps({**asked, "timeout": timeout}) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            out, err = (Path(stream).read_text() for stream in streams)
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(["inv", *arguments], timeout, out, err)
        return subprocess.CompletedProcess(["inv", *arguments], code, out, err)


def serve():
    import cronsim  # noqa: F401
    import cryptography.hazmat.primitives.asymmetric.ed25519
    import cryptography.x509  # noqa: F401
    import fabric  # noqa: F401
    import invoke.main  # noqa: F401
    import jinja2  # noqa: F401
    import rich.console
    import rich.live
    import rich.progress
    import rich.table  # noqa: F401
    import tenacity  # noqa: F401
    import yaml  # noqa: F401

    load(Path(sys.argv[1]))
    gc.freeze()

    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            become(asked)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def load(checkout):
    """All of its pgha."""
    sys.path.insert(0, str(checkout))
    for path in sorted((checkout / "pgha").rglob("*.py")):
        importlib.import_module(".".join(path.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__"))
    sys.path.pop(0)


def become(asked):
    """Be the program `inv` with these arguments; does not return."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = [os.open(os.devnull, os.O_RDONLY), *(os.open(stream, flags, 0o600) for stream in asked["streams"])]
    for number, descriptor in enumerate(opened):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["inv", *asked["arguments"]]
    sys.path[:1] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, asked["timeout"])

    code = 1
    try:
        from invoke.main import program

        program.run()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
