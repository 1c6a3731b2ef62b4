"""The library behind `tasks.py`: a multi-data-center Patroni cluster, brought up, operated and proven."""

import gc
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: templates/, images/, ssh/ and build/ stand here."""

# Invoke lets Python keep nothing that it has compiled: in a fresh checkout every command would compile all this again.
sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))

# Nearly all that a command makes it needs until it ends: looking for garbage after each 700 objects would cost it a
# tenth of a second in six.
gc.set_threshold(100_000)
