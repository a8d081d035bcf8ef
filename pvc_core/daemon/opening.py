"""Opens the store as one of the two identities; which of them may write a key is cluster/layout.py's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pvc_core.cluster import layout
from pvc_core.config import Config, EmbeddedStore, ZookeeperStore
from pvc_core.founding.places import pki_of, store_hosts
from pvc_core.founding.secrets import STORE_API, STORE_NODE, read_secret
from pvc_core.store.zookeeper import Credentials, Grant, ZooKeeperStore, trust

NODE, API = "node", "api"


def open_store(
    config: Config,
    identity: Literal["node", "api"],
    *,
    session_timeout_s: float = 6.0,
    call_deadline_s: float = 5.0,
) -> ZooKeeperStore:
    """A client; connects by itself, now or when the store is there. Raises NotFound (no secret), Permanent."""
    password = read_secret(config.paths.secrets, STORE_NODE if identity == NODE else STORE_API)
    secure = isinstance(config.store, ZookeeperStore) and config.store.tls
    pki = pki_of(config)
    return ZooKeeperStore(
        store_hosts(config),
        tls=trust(pki / "ca.crt", (pki / f"{identity}.crt", pki / f"{identity}.key")) if secure else None,
        credentials=Credentials(identity, password, "digest" if isinstance(config.store, EmbeddedStore) else "sasl"),
        acl=grants,
        session_timeout_s=session_timeout_s,
        call_deadline_s=call_deadline_s,
    )


def grants(key: str) -> Sequence[Grant]:
    """The nodes may do all; the API reads all but plugins' own records and writes what people may ask for."""
    if key.startswith(layout.PLUGINS):
        return (Grant(NODE),)
    return (Grant(NODE), Grant(API, "rwcd" if layout.by_api(key) else "r"))
