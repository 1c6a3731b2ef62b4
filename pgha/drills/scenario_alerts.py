"""Which alerts a scenario has to raise, and how soon: held against what Alertmanager says where there is monitoring.

What fires within a few seconds and is over before a rule has looked twice is nothing anybody should be woken for: a
switchover raises none.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgha.monitoring.rules import ALERTS
from pgha.monitoring.targets import JUDGE_SECONDS, PATIENCE_SECONDS, SCRAPE_SECONDS

MARGIN = 6
"""Seconds for Alertmanager to be told, and to be asked."""

GONE_WITHIN = 90.0
"""Seconds after all is whole in which every alert has to be over: what a rule saw last may be two scrapes old, the
metrics of a backup a minute."""


@dataclass(frozen=True)
class Expected:
    """An alert that has to fire."""

    name: str
    within: float
    """seconds from the fault"""


def _seen(name: str, after: float = 0.0) -> Expected:
    """One whose cause is there `after` so many seconds: then a scrape has to fail or to show it, the rule is judged
    twice, and has to hold for its time."""
    found = SCRAPE_SECONDS + PATIENCE_SECONDS + 2 * JUDGE_SECONDS
    return Expected(name, after + found + ALERTS[name].seconds + MARGIN)


AWAY, LEADERLESS, QUORUM = _seen("container_away"), _seen("no_leader"), _seen("quorum_lost")

NOTHING: tuple[Expected, ...] = ()

EXPECTED: dict[str, tuple[Expected, ...]] = {
    "switchover": NOTHING,
    "switchover-candidate": NOTHING,
    "leader-stopped": (AWAY,),
    "postgres-killed": NOTHING,
    "patroni-killed": NOTHING,
    # Nobody can tell that it leads while its Patroni tells nothing.
    "patroni-hung": (LEADERLESS,),
    "leader-killed": (LEADERLESS, AWAY),
    "leader-paused": (LEADERLESS, AWAY),
    "site-killed": (LEADERLESS, AWAY),
    "site-cut": (LEADERLESS, AWAY),
    # A standby notices after wal_receiver_timeout that nothing comes any more.
    "link-cut": (_seen("member_unwell", after=20),),
    "replica-wiped": NOTHING,
    "disk-full": (_seen("disk_full"),),
    "leader-and-standby-killed": (LEADERLESS, AWAY),
    "lagging-candidate": (LEADERLESS, AWAY),
    "etcd-leader-killed": (AWAY,),
    "etcd-minority-killed": (AWAY,),
    "etcd-quorum-killed": (QUORUM, AWAY),
    "witness-killed": (AWAY,),
    "repository-killed": (AWAY,),
    # sshd has no metrics: inv status says that the host does not answer.
    "sshd-stopped": NOTHING,
    # The monitoring is killed with all the others.
    "cold-start": NOTHING,
    "rollout-restart": NOTHING,
    "rollout-image": NOTHING,
    "upgrade-minor": NOTHING,
    # Everything is stopped meanwhile, and for how long depends on the data: what fires is shown.
    "upgrade-major": NOTHING,
    "rotate-passwords": NOTHING,
    "rotate-keys": NOTHING,
    "etcd-member-replaced": NOTHING,
    "scale-out": NOTHING,
    "scale-in": NOTHING,
    "site-lost-for-good": (QUORUM, LEADERLESS, AWAY),
}
"""Scenario -> what has to fire."""
