"""pvc.yaml as the rest of PVC sees it: frozen dataclasses, complete and checked. Built in read.py only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any

from pvc_core.config.document import Document
from pvc_core.config.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    name: str
    coordinators: tuple[str, ...]
    parallel_migrations: int = 2
    """How many VMs a flush, a ready or a rebalance has on their way at once, in the whole cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedStore:
    """pvcstored on this one node, on loopback; `path` is its directory."""

    port: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperStore:
    """A server on every coordinator; `tls` False only where somebody else runs servers that cannot."""

    port: int
    tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """One of upstream, cluster, storage; `floating` is the address that follows the primary."""

    device: str
    address: IPv4Interface | IPv6Interface | None = None
    floating: IPv4Interface | IPv6Interface | None = None
    gateway: IPv4Address | IPv6Address | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSection:
    """plugins.NAME as it stands in the file; the plugin's own schema loads `raw`, and `fault` places what it finds."""

    name: str
    raw: Mapping[str, Any] = field(repr=False)
    document: Document = field(repr=False, compare=False)
    run: Path = Path("/run/pvc")
    """paths.run, which moves what the plugin's schema has below it (schema/fields.py, below_run)."""

    def fault(self, found: str, allowed: str, *keys: str | int) -> Fault:
        """A fault of this plugin, at `keys` below its section."""
        return self.document.fault(("plugins", self.name, *keys), found, allowed, hide=not keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPool:
    name: str
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Which plugin answers which word: `networks` maps a network type ("managed") to its plugin."""

    compute: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)
    default_pool: DefaultPool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fencing:
    ladder: tuple[str, ...] = ()
    proof: str = "one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Seconds; rules.py holds what they must satisfy together."""

    profile: str = "default"
    """Where the values came from that pvc.yaml does not name (schema/config.py)."""
    heartbeat_s: float = 1.0
    suspicion_s: float = 5.0
    self_fence_s: float = 8.0
    promise_s: float = 3.0
    sick_s: float = 30.0
    boot_grace_s: float = 300.0
    reset: bool = False
    """The guard resets its machine when the guests there can be neither stopped nor ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    state: Path = Path("/var/lib/pvc")
    run: Path = Path("/run/pvc")
    secrets: Path = Path("/etc/pvc/secrets")
    log: Path = Path("/var/log/pvc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything of pvc.yaml. `node` is this node's name, from the hostname or --node; `text` the file's own words."""

    file: Path
    node: str
    cluster: Cluster
    store: EmbeddedStore | ZookeeperStore
    host_networks: Mapping[str, HostNetwork]
    plugins: Mapping[str, PluginSection]
    use: Use
    fencing: Fencing
    intervals: Intervals
    peer_port: int
    guard_port: int
    paths: Paths
    text: str = field(repr=False)
    document: Document = field(repr=False, compare=False)

    @property
    def coordinator(self) -> bool:
        """Whether this node is one."""
        return self.node in self.cluster.coordinators
