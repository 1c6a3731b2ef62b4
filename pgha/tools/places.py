"""Where repositories stand on the repository's host, and who still writes there."""

from __future__ import annotations

from pgha.tools.command import Command

PUSHING = Command(("sh", "-c", 'pgrep -f "archive-pus[h]" || true'), timeout=15)
"""On a node: the processes of pgBackRest that bring WAL into the archive; each knows the repositories it began with."""


def holds_repository(path: str) -> Command:
    """Print `yes` when a repository stands in this place: one whose passphrase somebody may have."""
    script = (
        'for file in "$1"/archive/*/archive.info* "$1"/backup/*/backup.info*; do [ ! -e "$file" ] || echo yes; done'
    )
    return Command(("sh", "-c", script, "holds", path), timeout=30)


def clear(path: str) -> Command:
    """Remove the repository that stands in this place, and nothing else that is there."""
    return Command(("rm", "-rf", f"{path}/archive", f"{path}/backup"), timeout=0)
