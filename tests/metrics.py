"""Which metrics an expression asks for."""

import re

WORDS = {
    "and", "or", "unless", "on", "by", "sum", "max", "min", "count", "group", "rate", "increase", "time", "vector",
    "scalar", "clamp_min", "label_replace", "group_left", "ALERTS",
}  # fmt: skip


def metrics_in(expression):
    """The names of an expression that are neither functions, labels nor words; ALERTS is Prometheus' own."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\b(on|by|group_left|ignoring)\s*\([^)]*\)", "", bare)
    names = set(re.findall(r"\b[a-zA-Z_]\w*\b", bare))
    return names - WORDS or ({"up"} if "ALERTS" in names else set())
