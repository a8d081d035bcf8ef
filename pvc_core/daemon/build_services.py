"""Where the services are wired for whoever serves people: pvcapid, and programs that use the library (library.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.heard import Heard
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.settled import Settling
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.errors import Permanent
from pvc_core.loader import Hooks, Loaded
from pvc_core.peer import Unreachable, ask
from pvc_core.peer.local import alive
from pvc_core.peer.relay import MORE_S, relayed
from pvc_core.services.all import Services, services_on
from pvc_core.services.desk import Ask, Desk
from pvc_core.services.network_checks import HostSide
from pvc_core.store.base import Store

ETHERNET_MTU = 1500
SPREAD_S, COORDINATORS_S = 3.0, 0.5
"""After a reconnect the nodes of a larger cluster re-read the store within this time, not all at once. Coordinators are
few, and until they have read nobody judges and nobody recovers.
"""


def build_services(
    config: Config, loaded: Loaded, *, store: Store, clock: Clock, log: Any, local: Ask | None = None
) -> Services:
    """The services on a store; `close` ends their view."""
    compute = loaded.compute
    if compute is None or compute.compute is None:
        raise Permanent("no compute plugin is loaded", help="name one in pvc.yaml under plugins, and in use.compute")
    keeper = ViewKeeper(store, clock, live=True, spread=spread(config))
    desk = Desk(
        keeper=keeper,
        repository=Repository(store, level=lambda: keeper.view.level),
        clock=clock,
        compute=compute.compute,
        descriptions=Descriptions(compute.compute),
        storage={name: plugin.storage for name, plugin in loaded.storage.items() if plugin.storage is not None},
        plugins=loaded.plugins,
        checks=Hooks(loaded.definition_hooks(), clock=clock, log=log),
        ask=local or ask_nodes(config),
        default_pool_driver=config.use.default_pool.driver if config.use.default_pool else "",
        host_bridges=host_bridges(config),
        networks={word: plugin.network for word, plugin in loaded.networks.items() if plugin.network is not None},
        host_side=host_side(config),
        settling=Settling(clock, time.sleep),
    )
    upstream = config.host_networks.get("upstream")
    heard = Heard(clock)
    keeper.subscribe(lambda keys: heard.look(keeper.view))
    return services_on(
        desk,
        cluster_name=config.cluster.name,
        coordinators=config.cluster.coordinators,
        upstream_floating=str(upstream.floating or upstream.address or "") if upstream else "",
        close=keeper.stop,
        heard=heard,
        dead_after_s=config.intervals.suspicion_s,
        node=config.node,
    )


def ask_nodes(config: Config) -> Ask:
    """Questions to nodes over the peer channel, through this node's own daemon: it alone has a certificate."""
    socket = config.paths.run / "node.sock"

    def to(node: str, question: str, args: Mapping[str, Any], *, body: Any = None, deadline_s: float = 10.0) -> Any:
        try:
            if node == config.node:
                return ask(socket, question, args, body=body, deadline_s=deadline_s)
            relay, passed = relayed(node, question, args, with_body=body is not None, deadline_s=deadline_s)
            return ask(socket, relay, passed, body=body, deadline_s=deadline_s + MORE_S)
        except Unreachable as error:
            if alive(socket):
                raise
            raise Unreachable(
                f"node {node} cannot be asked from here: the pvcnoded of {config.node}, through which this API asks "
                "nodes, does not run",
                help="ask the API of another coordinator, or start pvcnoded there",
            ) from error

    return to


def host_bridges(config: Config) -> dict[str, str]:
    """Host network -> the bridge guests plug into."""
    return {name: f"br{name}" for name in config.host_networks}


def host_side(config: Config) -> HostSide:
    """What networks for guests must fit beside. A host network without an MTU of its own has Ethernet's."""
    return HostSide(
        mtus={name: net.mtu or ETHERNET_MTU for name, net in config.host_networks.items()},
        subnets={name: net.address.network for name, net in config.host_networks.items() if net.address},
    )


def spread(config: Config) -> Callable[[], float]:
    """How long (s) to wait with re-reading the store after a reconnect, drawn anew each time."""
    random = Random()
    longest_s = COORDINATORS_S if config.coordinator else SPREAD_S
    return (lambda: random.uniform(0.0, longest_s)) if len(config.cluster.coordinators) > 1 else (lambda: 0.0)
