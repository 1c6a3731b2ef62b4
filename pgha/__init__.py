"""The library behind `tasks.py`: a multi-data-center Patroni cluster, brought up, operated and proven."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: templates/, images/, ssh/ and build/ stand here."""
