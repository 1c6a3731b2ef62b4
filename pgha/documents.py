"""YAML that this project or its tools wrote, read with libyaml where PyYAML has it: a tenth of the time."""

from __future__ import annotations

from typing import Any

import yaml

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> Any:
    """Raises yaml.YAMLError when it is none."""
    return yaml.load(text, LOADER)
