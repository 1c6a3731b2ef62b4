"""What the Patroni of this host says of its cluster."""

import json
import os
import ssl
import urllib.request

API = os.environ.get("PATRONI_API", "")
AUTHORITY = "/pgha/tls/ca.crt"


def members():
    """The members, as `GET /cluster` has them. Raises OSError, ValueError, LookupError."""
    context = ssl.create_default_context(cafile=AUTHORITY) if API.startswith("https:") else None
    with urllib.request.urlopen(f"{API}/cluster", timeout=10, context=context) as answer:
        return json.load(answer)["members"]
