"""SCRAM-SHA-256: what Postgres keeps of a password (RFC 5802; src/common/scram-common.c)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

ITERATIONS = 4096
"""Postgres' own default."""


def verifier(password: str, salt: bytes) -> str:
    """What `create role ... password` takes instead of the password: a statement with it tells nobody the password.

    The password has to be printable ASCII, which needs no preparation (RFC 4013).
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(_hmac(salted, b'Server Key'))}"


def is_of(verifier: str | None, password: str) -> bool:
    """Whether a role's `rolpassword` lets this password in. One that is no SCRAM verifier is of none."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):[A-Za-z0-9+/=]+", verifier or "")
    if found is None:
        return False
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), base64.b64decode(found[2]), int(found[1]))
    return hmac.compare_digest(found[3], _text(hashlib.sha256(_hmac(salted, b"Client Key")).digest()))


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
