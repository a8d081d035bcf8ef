"""The guard's own client of the store: it never queues behind another daemon's reads."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from pvc_core.errors import Permanent
from pvc_core.guard.settings import Settings
from pvc_core.store.access import Credentials, Grant
from pvc_core.store.base import Store
from pvc_core.store.zookeeper import ZooKeeperStore, trust

USER = "node"
SESSION_S = 2.0
"""Carries no safety: nothing of the guard's is ephemeral."""


def opener(settings: Settings, *, call_deadline_s: float, hide: Callable[[str], None]) -> Callable[[], Store]:
    """What makes a client. It raises Permanent while there is no secret or authority; `hide` is told the secret."""

    def open_store() -> Store:
        secret = password(settings.secrets)
        hide(secret)
        return ZooKeeperStore(
            settings.hosts,
            credentials=Credentials(USER, secret, "digest" if settings.alone else "sasl"),
            tls=_trust(settings.authority) if settings.authority else None,
            acl=_grants,
            session_timeout_s=SESSION_S,
            call_deadline_s=call_deadline_s,
        )

    return open_store


def _grants(key: str) -> Sequence[Grant]:
    """Heartbeats, and the directories above them should the guard be the first: the API reads, the nodes write."""
    return (Grant(USER), Grant("api", "r"))


def _trust(authority: Path) -> ssl.SSLContext:
    """With this node's own certificate, which lies beside the authority's."""
    return trust(authority, (authority.with_name("node.crt"), authority.with_name("node.key")))


def password(secrets: Path) -> str:
    """Of the store's user the nodes are; `secrets` is paths.secrets. Raises Permanent."""
    path = secrets / f"store-{USER}"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Permanent(
            f"cannot read the store's password in {path}: {error.strerror}", help="make it with: pvcnoded init"
        ) from error
