"""SQL on a node's own Postgres."""

from __future__ import annotations

from pgha.errors import ConnectionsUsedUp, NoConnection, ToolFailed
from pgha.remote.connections import Connections
from pgha.tools.command import Command
from pgha.tools.leader import NO_CONNECTION, parse_refusal


def ask_postgres(ssh: Connections, host: str, query: Command) -> str:
    """What the host's own Postgres answers to a `postgres.query`.

    Raises ConnectionsUsedUp or NoConnection when it takes no connection, ToolFailed when it refuses the query.
    """
    answer = ssh.run(host, query)
    if answer.exit_code == NO_CONNECTION:
        reason, used_up = parse_refusal(answer.words)
        error = ConnectionsUsedUp if used_up else NoConnection
        raise error(f"Postgres on {host} takes no connections: {reason}", hint="inv status")
    if not answer.ok:
        raise ToolFailed(f"psql failed on {host} (exit code {answer.exit_code})", answer.words)
    return answer.stdout
