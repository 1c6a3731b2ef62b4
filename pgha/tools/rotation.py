"""What gives running containers other passwords: their files, Patroni's reload, the roles' verifiers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pgha.errors import ToolFailed
from pgha.model.urls import REST, Urls
from pgha.tools import patroni
from pgha.tools.command import Command
from pgha.tools.databases import UNLOGGED
from pgha.tools.postgres import FREE
from pgha.tools.trust import FOLDER as FOLDER_TLS

FOLDER = "/pgha/config"

NEXT_PASSFILE, PASSFILE = f"{FOLDER}/pgpass.next", f"{FOLDER}/pgpass"

SCRIPT = f"{FOLDER}/rotate.sql"

COMMITTED = "committed"
"""What the script prints when its transaction is through."""

ROLES = {"postgres": "superuser", "replicator": "replication", "rewind_user": "rewind"}
"""A role of the project's own -> its password."""

VERIFIERS = (
    "select coalesce(json_object_agg(rolname, rolpassword), '{}') from pg_authid"
    f" where rolname in ({', '.join(repr(name) for name in ROLES)})"
)


def place(path: str) -> Command:
    """Put what it reads from its input into a file of postgres' own. A reader finds the old or the whole new one."""
    script = 'umask 077; cat > "$0.part" && mv -f "$0.part" "$0"'
    return Command(("sh", "-c", script, path), timeout=15)


def adopt_passfile() -> Command:
    """The passfile that was placed beside becomes the one that is read; done twice, nothing."""
    script = 'if [ -e "$0" ]; then mv -f "$0" "$1"; fi'
    return Command(("sh", "-c", script, NEXT_PASSFILE, PASSFILE), timeout=15)


def reload() -> Command:
    """Patroni reads its file again, before its next look."""
    return Command(("s6-svc", "-h", patroni.SERVICE), timeout=15)


def ask_restapi(urls: Urls) -> Command:
    """The HTTP status of a request of its own Patroni with the login it reads from its input: 202 when that is taken.
    What it asks for is one more reload."""
    url = f"{urls.patroni()}/reload"
    return Command(
        ("curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-K", "-", url), 15
    )


RENEW = f"""
umask 077
sed 's#^  cafile: {FOLDER_TLS}/ca.crt$#  cafile: {FOLDER_TLS}/./ca.crt#; t
     s#^  cafile: {FOLDER_TLS}/./ca.crt$#  cafile: {FOLDER_TLS}/ca.crt#' "$0" > "$0.part" && mv -f "$0.part" "$0" &&
s6-svc -h "$1"
"""


def renew_restapi() -> Command:
    """Let Patroni read the certificates of its REST API again. At a SIGHUP it looks at the serial number of its own and
    at the configuration (patroni/api.py, `reload_config`): the authority's are read when their path is another one."""
    return Command(("sh", "-c", RENEW, patroni.CONFIG, patroni.SERVICE), timeout=15)


def ask_listener() -> Command:
    """The socket that Patroni's REST API listens on: another one after it has read its certificates."""
    return Command(("ss", "-ltneH", f"sport = :{REST}"), timeout=10)


def parse_listener(text: str) -> str:
    """The number of the socket; nothing while there is none."""
    found = re.search(r"\bino:(\d+)", text)
    return found[1] if found else ""


def restapi_login(password: str) -> str:
    """What `ask_restapi` reads."""
    text = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'user = "patroni:{text}"\n'


def parse_verifiers(text: str) -> dict[str, str | None]:
    """The answer to `VERIFIERS`. Raises ToolFailed when it is something else."""
    try:
        document = json.loads(text)
        return {str(name): None if value is None else str(value) for name, value in document.items()}
    except (ValueError, AttributeError) as error:
        # The answer may hold a verifier.
        raise ToolFailed("psql did not tell the roles' passwords") from error


def set_verifiers(verifiers: Mapping[str, str], *, tell: bool = False) -> str:
    """SQL, one transaction, that gives roles their passwords; with `tell` it prints COMMITTED at once afterwards."""
    lines = [f"alter role {name} password '{verifier}';" for name, verifier in verifiers.items()]
    # psql holds back what it prints itself until it ends.
    return "\n".join(["begin;", *lines, "commit;", *([f"\\! echo {COMMITTED}"] if tell else []), ""])


def run_script() -> Command:
    """Run what was placed at SCRIPT; nothing of it goes into the server's log."""
    psql = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", SCRIPT)
    return Command(("env", f"{FREE} {UNLOGGED}", *psql), timeout=60)


def remove_script() -> Command:
    return Command(("rm", "-f", SCRIPT, NEXT_PASSFILE), timeout=15)


LOCAL = "set synchronous_commit = local;\n"
"""Before a script when no standby may be there to acknowledge it."""
