"""Who is told of alerts: Alertmanager's configuration."""

from __future__ import annotations

import re
from typing import Any

from pgha.model.rules import MAIL
from pgha.model.settings import Settings

URL_FILE = "/pgha/monitoring/notify_url"
"""Where the monitoring's container has a webhook's URL: in a file, as any secret."""

WAIT, REPEAT = "10s", "4h"
"""What begins within WAIT comes as one message, and what lasts is told again after REPEAT (Alertmanager's own)."""


def alertmanager_document(settings: Settings) -> dict[str, Any]:
    """alertmanager.yml; without `notify` alerts are kept and shown, and nobody is told."""
    receiver: dict[str, Any] = {"name": "operator"}
    if is_mail(settings):
        receiver["email_configs"] = [
            {"to": settings.notify, "from": settings.notify, "smarthost": settings.notify_smarthost,
             "send_resolved": True}
        ]  # fmt: skip
    elif settings.notify:
        receiver["webhook_configs"] = [{"url_file": URL_FILE, "send_resolved": True}]
    return {
        "route": {
            "receiver": "operator",
            "group_by": ["alertname"],
            "group_wait": WAIT,
            "group_interval": "1m",
            "repeat_interval": REPEAT,
        },
        # Of a host that is away the rest is known.
        "inhibit_rules": [
            {
                "source_matchers": ['alertname = "container_away"'],
                "target_matchers": ['alertname =~ "member_unwell|scrape_fails|etcd_unhealthy"'],
                "equal": ["host"],
            }
        ],
        "receivers": [receiver],
    }


def is_mail(settings: Settings) -> bool:
    """Whether mails are sent."""
    return re.fullmatch(MAIL, settings.notify, re.ASCII) is not None


def url_of(settings: Settings) -> str:
    """The webhook's URL; nothing where there is none."""
    return "" if is_mail(settings) else settings.notify
