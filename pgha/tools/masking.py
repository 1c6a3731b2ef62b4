"""Text without secrets: what stands where a secret does, and what is known to be one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "(masked)"

SHORT = 4
"""Characters; shorter ones are parts of many words."""

_KEY = r"""(?im)(^[ \t"'{,-]*[\w-]*(?:password|passwd|passphrase|secret|cipher-pass)["']?[ \t]*[:=][ \t]*"""

_PLACES = (
    # password: "x", with what follows it
    re.compile(_KEY + r"""")(?:[^"\\\n]|\\.)*(?=")"""),
    # password: x, repo1-cipher-pass=x, to the end of the line
    re.compile(_KEY + r""")[^\s{\["].*$"""),
    # in a connection string
    re.compile(r"""(?i)(\b(?:password|passwd|pwd)[ \t]*=[ \t]*)('(?:[^'\\]|\\.)*'|[^\s'",;&]+)"""),
    # user:password@host
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]+:)[^\s/@]+(?=@)"),
    # create role ... password '...'
    re.compile(r"""(?i)(\bpassword\s+(?:is\s+)?e?)('(?:[^'\n]|'')*'?|\$\$.*?\$\$)"""),
    # curl -u user:password, Authorization: Basic ...
    re.compile(r"(?i)(\bauthorization:?\s+(?:basic|bearer)\s+)\S+"),
)

_SHAPES = (
    re.compile(r"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+"),
    re.compile(r"\bmd5[0-9a-f]{32}\b"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)


def masked(text: str, secrets: Iterable[str], names: Iterable[str] = ()) -> str:
    """The text without these secrets, however they are quoted, and without what looks like one.

    A secret that is also one of the `names`, as a password `postgres` is, or shorter than SHORT characters is masked
    where a password stands: elsewhere it tells nothing.
    """
    for pattern in _SHAPES:
        text = pattern.sub(MASK, text)
    for pattern in _PLACES:
        text = pattern.sub(lambda found: found[1] + MASK, text)
    known = set(names)
    forms = {form for secret in secrets if len(secret) >= SHORT and secret not in known for form in _forms(secret)}
    # The longest first: one may hold another.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(secret: str) -> set[str]:
    """A secret as it is, and as YAML and JSON, SQL, a passfile, a URL and a shell may have it."""
    escaped = secret.replace("\\", "\\\\")
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        secret.replace("'", "''"),
        escaped.replace("'", "\\'"),
        escaped.replace(":", "\\:"),
        secret.replace("'", "'\"'\"'"),
        quote(secret),
        quote(secret, safe=""),
    }
