"""Where things of the cluster are, read off pvc.yaml: this node's cluster address, its certificates, the store."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from pvc_core.config import Config, EmbeddedStore


def cluster_address(config: Config) -> IPv4Address | IPv6Address | None:
    network = config.host_networks.get("cluster")
    return network.address.ip if network and network.address else None


def pki_of(config: Config) -> Path:
    """Beside the secrets: /etc/pvc/pki."""
    return config.paths.secrets.with_name("pki")


def store_hosts(config: Config) -> str:
    """host:port of every server of the store, as ZooKeeperStore takes them.

    Its own address is not looked up: Debian's /etc/hosts gives a host's own name 127.0.1.1, where no server listens.
    """
    if isinstance(config.store, EmbeddedStore):
        return f"127.0.0.1:{config.store.port}"
    own = cluster_address(config) or ("127.0.0.1" if len(config.cluster.coordinators) == 1 else config.node)
    names = [bracketed(own) if name == config.node else name for name in config.cluster.coordinators]
    return ",".join(f"{name}:{config.store.port}" for name in names)


def bracketed(host: IPv4Address | IPv6Address | str) -> str:
    """As it stands before a colon and a port."""
    return f"[{host}]" if ":" in str(host) else str(host)
