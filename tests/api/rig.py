"""A cluster of one fake node with the real services, the real frontend on loopback, and a client for both its doors."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx2
import structlog
from marshmallow import Schema, fields

from pvc_api_falcon.frontend import FalconFrontend
from pvc_api_falcon.settings import Settings
from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.settled import Settling
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.actions import Action
from pvc_core.contracts.network import NetworkCapabilities
from pvc_core.contracts.plugin import Plugin
from pvc_core.contracts.targets import Bridge
from pvc_core.model.cluster import Leader
from pvc_core.model.node import (
    ActionSeen,
    DaemonState,
    DomainState,
    HealthSeen,
    Heartbeat,
    NodeSeen,
    NodeStats,
    PluginSeen,
)
from pvc_core.model.storage import Pool, PoolUsage, StorageSeen
from pvc_core.services import Services, services_on
from pvc_core.services.desk import Desk
from pvc_core.services.network_checks import HostSide
from pvc_core.store.base import Store
from pvc_core.testing.network import FakeNetworkDefinitions
from pvc_core.testing.storage import FakeStorageDefinitions
from pvc_core.testing.store import FakeStoreServer
from pvc_core.units import GIB, MIB

from .fake_compute import FakeDefinitions
from .fake_node import NODE, FakeNode

MANAGED = NetworkCapabilities(nic_targets=(Bridge,), vni_max=16_777_215, gateway=True, dhcp=True, acls=True)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, Any]]] = []
        self.infos: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **more: Any) -> None:
        self.infos.append((event, more))

    def error(self, event: str, **more: Any) -> None:
        self.errors.append((event, more))


class NoChecks:
    def check(self, name: str, /, **args: Any) -> None: ...


class ScrubIn(Schema):
    depth = fields.Integer(required=True)


class StorePlugin(Plugin):
    name = "storage_fake"
    config_schema = Schema

    @property
    def actions(self) -> tuple[Action, ...]:
        return (Action(name="scrub", help="Reads everything.", where="primary", schema=ScrubIn),)


class FunctionsPlugin(Plugin):
    """Has what /sriov asks for; what its node answers, FakeNode.actions says."""

    name = "net_fake"
    config_schema = Schema

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(
            Action(
                name=name,
                help="Functions.",
                where="node",
                schema=Schema.from_dict({"vf": fields.String(), "vlan_id": fields.Integer()}),
            )
            for name in FUNCTIONS
        )


FUNCTIONS: dict[str, dict[str, Any]] = {
    "sriov_list": {
        "pfs": [{"phy": "ens1f0", "mtu": "1500", "vfs": ["ens1f0v0"]}],
        "vfs": [
            {
                "phy": "ens1f0v0", "pf": "ens1f0", "mtu": "1500", "mac": "52:54:00:00:00:01",
                "config": {
                    "vlan_id": "100", "vlan_qos": "0", "tx_rate_min": "0", "tx_rate_max": "0", "link_state": "auto",
                    "spoof_check": "True", "trust": "False", "query_rss": "False",
                },
                "pci": {"domain": "0000", "bus": "65", "slot": "10", "function": "0"},
                "usage": {"used": "True", "domain": "web"},
            }
        ],
    },
    "sriov_set": {},
}  # fmt: skip


@dataclass
class Rig:
    services: Services
    keeper: ViewKeeper
    repository: Repository
    node: FakeNode
    server: Any
    """The fake store, or None where the store is a real one."""
    log: Log
    key: str
    """An admin's, called "tester"."""
    plugins: dict[str, Plugin]

    def close(self) -> None:
        self.node.stop()
        self.keeper.stop()


def new_rig(open_as: Callable[[str], Store] | None = None) -> Rig:
    """Node hv1 is up, primary and has a pool "vms". `open_as`: a way to a real store, as "node" and as "api"."""
    server = None if open_as else FakeStoreServer(auto=True)
    client: Callable[[str], Store] = open_as or server.client
    repository, clock = Repository(client("node")), SystemClock()
    fill(repository)
    keeper = ViewKeeper(client("api"), clock, live=True)
    threading.Thread(target=keeper.run, daemon=True).start()
    keeper.settle()
    node, compute = FakeNode(repository, keeper), FakeDefinitions()
    plugins: dict[str, Plugin] = {"storage_fake": StorePlugin({})}
    desk = Desk(
        keeper=keeper,
        repository=Repository(client("api")),
        clock=clock,
        compute=compute,
        descriptions=Descriptions(compute),
        storage={"storage_fake": FakeStorageDefinitions()},
        plugins=plugins,
        checks=NoChecks(),
        ask=node.ask,
        default_pool_driver="storage_fake",
        networks={
            "managed": FakeNetworkDefinitions(MANAGED),
            "bridged": FakeNetworkDefinitions(NetworkCapabilities(nic_targets=(Bridge,), vni_max=4094)),
        },
        host_side=HostSide(mtus={"cluster": 1500}, subnets={"cluster": ip_network("10.1.0.0/24")}),
        settling=Settling(clock, time.sleep),
    )
    services = services_on(desk, cluster_name="cluster1", coordinators=(NODE,), upstream_floating="10.0.0.250/24")
    node.start()
    key = services.keys.add("tester", "admin")
    keeper.settle()
    return Rig(services, keeper, repository, node, server, Log(), key, plugins)


def fill(repository: Repository, driver: str = "storage_fake") -> None:
    """What a node and an operator would have written: hv1 leads, and there is the pool "vms"."""
    plugin = PluginSeen(
        name="storage_fake",
        distribution="pvc-storage-fake",
        version="1.0",
        api_low=1,
        api_high=1,
        roles=("storage",),
        capabilities={"clone": True},
        actions=(ActionSeen(name="scrub", help="Reads everything.", where="primary"),),
    )
    seen = NodeSeen(
        name=NODE,
        daemon_state=DaemonState.RUN,
        domain_state=DomainState.READY,
        cpu_count=8,
        memory_total_bytes=64 * GIB,
        kernel="6.1",
        os="GNU/Linux",
        arch="x86_64",
        pvc_version="2",
        plugins=(plugin,),
        sentence="well",
        health=(HealthSeen(plugin="load", delta=10, message="a little busy", at_s=1.0),),
    )
    repository.add(layout.NODE_SEEN, NODE, seen)
    repository.add(layout.LEADER, layout.ONLY, Leader(node=NODE, incarnation="1", term=1))
    repository.add(layout.POOLS, "vms", Pool(name="vms", driver=driver))
    usage = PoolUsage(total_bytes=1000 * GIB, used_bytes=10 * GIB, free_bytes=990 * GIB, stored_bytes=10 * GIB)
    repository.add(
        layout.STORAGE_SEEN, NODE, StorageSeen(node=NODE, pools={"vms": usage, "fast": usage}, shared={"fast": True})
    )
    interface = {
        "rx_bps": 1,
        "rx_pps": 1,
        "tx_bps": 1,
        "tx_pps": 1,
        "total_bps": 2,
        "total_pps": 2,
        "link_speed": 10**10,
    }
    beat = Heartbeat(
        node=NODE,
        incarnation="1",
        beat=1,
        memory_total_bytes=64 * GIB,
        memory_free_bytes=60 * GIB,
        load=0.5,
        interfaces={"ens0": {**interface, "state": "up"}},
    )
    repository.add(layout.HEARTBEATS, NODE, beat)
    repository.add(layout.STATS, NODE, NodeStats(node=NODE))


@dataclass
class Api:
    """The frontend, running."""

    rig: Rig
    frontend: FalconFrontend
    key: str
    url: str
    socket: Path

    def client(self, *, key: str | None = None, timeout_s: float = 10.0) -> httpx2.Client:
        """Over TCP; `key=""` sends none."""
        headers = {"X-Api-Key": key if key is not None else self.key} if key != "" else {}
        base = f"{self.url}/api/v1"
        # Certificates, which plain HTTP asks for none of, take 25 ms to load.
        return httpx2.Client(base_url=base, headers=headers, timeout=timeout_s, trust_env=False, verify=False)

    def local(self) -> httpx2.Client:
        transport = httpx2.HTTPTransport(uds=str(self.socket), verify=False)
        return httpx2.Client(base_url="http://localhost/api/v1", transport=transport, timeout=10.0, verify=False)


@contextmanager
def running(rig: Rig, tmp: Path, **settings: Any) -> Iterator[Api]:
    defaults: dict[str, Any] = {"listen": "127.0.0.1", "port": 0, "socket": str(tmp / "api.sock"), "stop_within_s": 1.0}
    defaults["failed_logins"] = 10_000  # tests are wrong on purpose, and often
    frontend = FalconFrontend(Settings(**{**defaults, **settings}), rig.services, rig.log)
    failed: list[BaseException] = []
    thread = threading.Thread(target=_serve, args=(frontend, failed), daemon=True)
    thread.start()
    while not frontend.ready.wait(0.02):
        if failed:
            raise failed[0]
    try:
        yield Api(rig, frontend, rig.key, f"http://127.0.0.1:{frontend.port}", tmp / "api.sock")
    finally:
        frontend.stop()
        thread.join(5)
        assert not thread.is_alive(), "serve() did not return within 5 s of stop()"


def _serve(frontend: FalconFrontend, failed: list[BaseException]) -> None:
    try:
        frontend.serve()
    except BaseException as error:  # shown by the test's own thread
        failed.append(error)


def samples() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "samples.json").read_text())
    return found


def shape(value: Any) -> Any:
    """The type of a value as the wire sees it."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, Mapping):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else "text"


__all__ = ["MIB", "NODE", "Api", "Rig", "new_rig", "running", "samples", "shape", "structlog"]
