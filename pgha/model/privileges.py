"""What root may do in the containers: of what an engine gives it by itself, what is needed there.

Entrypoints give files to other users, whoever reads them, and become these users; supervisors end processes of theirs.
Servers run as etcd or postgres, which have none of these.
"""

from __future__ import annotations

FILES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""To give other users copies of the secrets, in folders that are theirs."""

ETCD = (*FILES, "KILL", "SETGID", "SETUID")
"""To become etcd, and to end it."""

MONITORING = ETCD
"""Likewise for Prometheus and Alertmanager."""

SSHD = (*ETCD, "AUDIT_WRITE", "NET_BIND_SERVICE", "SYS_CHROOT")
"""With what sshd needs: it ends a session that it cannot write down for an audit (audit-linux.c), listens below 1024,
and locks up the part of it that speaks with strangers."""
