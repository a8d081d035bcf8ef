"""The one room where objects are wired. build_node makes what pvcnoded runs, build_services what pvcapid (and others)
use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.guests import GuestIndex
from pvc_core.cluster.heard import Heard
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.contracts.compute import ComputeDefinitions, ComputeDriver
from pvc_core.contracts.fence import FenceDriver
from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.plugin import Drivers, Plugin
from pvc_core.daemon.availability import build_availability
from pvc_core.daemon.bytes import Bytes, Uploads
from pvc_core.daemon.context import DaemonContext
from pvc_core.daemon.facts import node_facts
from pvc_core.daemon.health import node_health
from pvc_core.daemon.host import Host, build_host, build_leadership
from pvc_core.daemon.report import ReportReconciler
from pvc_core.daemon.restoring import Restoring
from pvc_core.daemon.ring import LogRing
from pvc_core.daemon.served import ServedFile
from pvc_core.daemon.stats import StatsReconciler
from pvc_core.errors import Permanent, PvcError
from pvc_core.loader import Hooks, Loaded, driver_faults
from pvc_core.model.node import DaemonState, PluginSeen
from pvc_core.peer import Unreachable, ask
from pvc_core.peer.local import alive
from pvc_core.peer.relay import MORE_S, relayed
from pvc_core.policy.standstill import goes_on, standstill
from pvc_core.reconcile.arrival import Arrivals, LeftoversReconciler
from pvc_core.reconcile.calls import ThreadCalls
from pvc_core.reconcile.docket import Docket
from pvc_core.reconcile.engine import Engine, Reconciler
from pvc_core.reconcile.faults import FaultsReconciler
from pvc_core.reconcile.fence_care import FenceCare
from pvc_core.reconcile.flush import FlushReconciler
from pvc_core.reconcile.ground import Ground, Permits, nobody_waits
from pvc_core.reconcile.kinds import all_kinds
from pvc_core.reconcile.level import LevelReconciler
from pvc_core.reconcile.maintenance import MaintenanceReconciler
from pvc_core.reconcile.migration import Departure
from pvc_core.reconcile.moving import Mover
from pvc_core.reconcile.network import NetworkReconciler
from pvc_core.reconcile.node import NodeReconciler
from pvc_core.reconcile.place import PlaceReconciler
from pvc_core.reconcile.pool import PoolReconciler
from pvc_core.reconcile.rollcall import RollCallReconciler
from pvc_core.reconcile.storage_report import StorageReportReconciler
from pvc_core.reconcile.strangers import StrangersReconciler
from pvc_core.reconcile.task import TaskReconciler
from pvc_core.reconcile.vm import VmReconciler, urgency
from pvc_core.reconcile.vm_start import Starter
from pvc_core.schema.records import LEVEL
from pvc_core.services.all import Services, services_on
from pvc_core.services.desk import Ask, Desk
from pvc_core.services.network_checks import HostSide
from pvc_core.store.base import Store

ETHERNET_MTU = 1500
SPREAD_S, COORDINATORS_S = 3.0, 0.5
"""After a reconnect the nodes of a larger cluster re-read the store within this time, not all at once. Coordinators are
few, and until they have read nobody judges and nobody recovers.
"""


@dataclass(kw_only=True)
class Node:
    """All of pvcnoded, ready to run (life.py)."""

    config: Config
    store: Store
    keeper: ViewKeeper
    ground: Ground
    quick: Engine
    """VMs, pools, the node: steps that end soon."""
    care: Engine
    """Who watches the nodes and gives them up: held up by nothing else."""
    slow: Engine
    """Tasks, which may copy for hours: on threads of their own."""
    bytes: Bytes
    hooks: Hooks
    contexts: Mapping[str, DaemonContext]
    drivers: Mapping[str, Drivers]
    state: DaemonState = DaemonState.INIT
    custody: str = ""
    stuck: Callable[[], Mapping[str, str]] = field(default=dict)
    standstill: Callable[[], str] = field(default=str)
    """Why nothing is started, stopped or moved now; "" when all may go on."""
    restoring: Restoring
    host: Host


def build_node(
    config: Config,
    loaded: Loaded,
    *,
    store: Store,
    clock: Clock,
    log: Any,
    permits: Permits,
    incarnation: str,
    ring: LogRing,
    custody: str = "",
    lease_store: Store | None = None,
    moment: Callable[[str], None] = nobody_waits,
) -> Node:
    """`lease_store`: a client of its own for the primary's lease, on a coordinator that is one of several.

    Raises Permanent naming the plugin whose drivers cannot be built (in custody it is shown as broken instead)."""
    keeper = ViewKeeper(store, clock, live=config.coordinator, spread=_spread(config))
    contexts, drivers, broken = _drivers(
        config, loaded, store, keeper, clock, log, incarnation=incarnation, tolerant=bool(custody)
    )
    hooks = Hooks({name: made.hooks for name, made in drivers.items() if made.hooks is not None}, clock=clock, log=log)
    calls = ThreadCalls()
    compute, definitions = _compute(loaded, drivers)
    ground = Ground(
        node=config.node,
        incarnation=incarnation,
        coordinators=config.cluster.coordinators,
        keeper=keeper,
        repository=Repository(store, level=lambda: keeper.view.level),
        clock=clock,
        log=log,
        compute=compute,
        definitions=definitions,
        descriptions=Descriptions(definitions),
        storage={name: made.storage for name, made in drivers.items() if made.storage is not None},
        plugins=loaded.plugins,
        networks=_networks(config, drivers),
        fence=_ladder(config, drivers),
        actions={(name, action): call for name, made in drivers.items() for action, call in made.actions.items()},
        permits=permits,
        hooks=hooks,
        calls=calls,
        moment=moment,
        leadership=build_leadership(
            config, incarnation=incarnation, store=lease_store or store, clock=clock, log=log, keeper=keeper
        ),
        parallel_migrations=config.cluster.parallel_migrations,
    )
    for context in contexts.values():
        context.acts = ground.is_primary
    host = build_host(config, ground, lease_store=lease_store, in_custody=bool(custody))
    index = GuestIndex(keeper, ground.descriptions, log)
    for context in contexts.values():
        context.index = index
        context.holds = host.primary.floating.also if host.primary else None
    uploads, served = Uploads(), ServedFile(config.paths.state, config.cluster.name)
    restoring = Restoring(ground, served.get, lambda: [*node.quick.running(), *node.slow.running()])
    offered = {name: made.fence for name, made in drivers.items() if made.fence is not None}
    fence, docket = FenceCare(ground, offered), Docket(clock)
    node = Node(
        config=config,
        store=store,
        keeper=keeper,
        ground=ground,
        quick=Engine((), clock, log),
        care=Engine((), clock, log) if custody else build_availability(config, ground, loaded, drivers, docket, log),
        slow=Engine((), clock, log),
        bytes=Bytes(ground, uploads, ring),
        hooks=hooks,
        contexts=contexts,
        drivers=drivers,
        custody=custody,
        stuck=lambda: dict(calls.stuck),
        standstill=lambda: standstill(keeper.view, served.get(), level=LEVEL),
        restoring=restoring,
        host=host,
    )
    node.bytes.ended = restoring.came = lambda task_id: node.slow.wake("task", task_id)
    seen = partial(_plugins_seen, loaded, broken, bool(custody))
    node.quick, node.slow = engines(
        ground,
        uploads,
        host_bridges=host_bridges(config),
        log=log,
        in_custody=bool(custody),
        facts=lambda: node_facts(config, incarnation, seen, lambda: node.state, custody),
        health=lambda strangers: (*node_health(node, strangers, broken), *host.health(), *fence.health()),
        more=(
            *host.reconcilers(in_custody=bool(custody)),
            ReportReconciler(ground, config.paths.run),
            *(() if custody else (FaultsReconciler(ground, lambda: docket.silent), StorageReportReconciler(ground))),
            *_era(ground, served, in_custody=bool(custody)),
        ),
        held=lambda kind, key: "" if goes_on(keeper.view, kind, key) else node.standstill(),
        restores=restoring,
        slow=(fence,),
    )
    keeper.subscribe(lambda keys: node.quick.changed(keeper.view, keys))
    keeper.subscribe(lambda keys: node.slow.changed(keeper.view, keys))
    keeper.subscribe(lambda keys: node.care.changed(keeper.view, keys))
    return node


def engines(
    ground: Ground,
    uploads: Any,
    *,
    host_bridges: Mapping[str, str],
    log: Any,
    facts: Any,
    health: Any,
    in_custody: bool = False,
    more: Sequence[Reconciler] = (),
    held: Callable[[str, str], str] = lambda kind, key: "",
    restores: Restoring | None = None,
    slow: Sequence[Reconciler] = (),
) -> tuple[Engine, Engine]:
    """(quick, slow). In custody only the node's own record is kept: nothing starts, stops or moves."""
    starter = Starter(ground, dict(host_bridges))
    arrivals = Arrivals(ground, starter)
    strangers = StrangersReconciler(ground)
    node = NodeReconciler(ground, facts, lambda: health(strangers))
    if in_custody:
        return Engine((node, *more), ground.clock, log), Engine((), ground.clock, log)
    quick: tuple[Reconciler, ...] = (
        node,
        VmReconciler(ground, starter, Mover(ground, starter, Departure(ground, starter)), arrivals),
        LeftoversReconciler(ground, arrivals, lambda uuid: guests.wake("vm", uuid)),
        PlaceReconciler(ground),
        FlushReconciler(ground),
        PoolReconciler(ground),
        NetworkReconciler(ground),
        strangers,
        StatsReconciler(ground),
        MaintenanceReconciler(ground),
        LevelReconciler(ground),
        *more,
    )
    guests = Engine(quick, ground.clock, log, held=held, rank=partial(urgency, ground))
    tasks = TaskReconciler(ground, all_kinds(starter, uploads, restores))
    return guests, Engine((tasks, *slow), ground.clock, log, held=held)


def _era(ground: Ground, served: ServedFile, *, in_custody: bool) -> tuple[Reconciler, ...]:
    """In custody a node does not say what runs there: its drivers may be broken."""
    return () if in_custody else (RollCallReconciler(ground, served.note, served.get),)


def build_services(
    config: Config, loaded: Loaded, *, store: Store, clock: Clock, log: Any, local: Ask | None = None
) -> Services:
    """The services on a store; `close` ends their view."""
    compute = loaded.compute
    if compute is None or compute.compute is None:
        raise Permanent("no compute plugin is loaded", help="name one in pvc.yaml under plugins, and in use.compute")
    keeper = ViewKeeper(store, clock, live=True, spread=_spread(config))
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


def _networks(config: Config, drivers: Mapping[str, Drivers]) -> dict[str, NetworkDriver]:
    """By the word of use.networks."""
    found = {word: drivers[name].network for word, name in config.use.networks.items() if name in drivers}
    return {word: driver for word, driver in found.items() if driver is not None}


def _spread(config: Config) -> Callable[[], float]:
    random = Random()
    longest_s = COORDINATORS_S if config.coordinator else SPREAD_S
    return (lambda: random.uniform(0.0, longest_s)) if len(config.cluster.coordinators) > 1 else (lambda: 0.0)


def _drivers(
    config: Config,
    loaded: Loaded,
    store: Store,
    keeper: ViewKeeper,
    clock: Clock,
    log: Any,
    *,
    incarnation: str,
    tolerant: bool,
) -> tuple[dict[str, DaemonContext], dict[str, Drivers], dict[str, str]]:
    contexts: dict[str, DaemonContext] = {}
    drivers: dict[str, Drivers] = {}
    broken: dict[str, str] = {}
    for name, plugin in loaded.plugins.items():
        contexts[name] = DaemonContext(
            config, name, plugin.config, store=store, keeper=keeper, clock=clock, log=log, incarnation=incarnation
        )
        try:
            drivers[name] = _built(name, plugin, contexts[name])
        except PvcError as error:
            if not tolerant:
                raise
            broken[name] = str(error)
    return contexts, drivers, broken


def _built(name: str, plugin: Plugin, context: DaemonContext) -> Drivers:
    try:
        made = plugin.build_drivers(context)
    except PvcError as error:
        raise Permanent(f"plugin {name} cannot be started: {error.message}", help=error.help) from error
    except Exception as error:  # a stranger's bug is named, and costs no traceback
        raise Permanent(f"plugin {name} failed while it was built: {type(error).__name__}: {error}") from error
    faults = list(driver_faults(plugin, made))
    if faults:
        raise Permanent(f"plugin {name} does not keep its contract: {'; '.join(faults)}")
    return made


def _ladder(config: Config, drivers: Mapping[str, Drivers]) -> dict[str, FenceDriver]:
    """The fence drivers of the ladder, in its order; a rung that is a storage driver is found among those."""
    found = {name: drivers[name].fence for name in config.fencing.ladder if name in drivers}
    return {name: driver for name, driver in found.items() if driver is not None}


def _compute(loaded: Loaded, drivers: Mapping[str, Drivers]) -> tuple[ComputeDriver, ComputeDefinitions]:
    plugin = loaded.compute
    made = drivers.get(plugin.name) if plugin else None
    if plugin is None or plugin.compute is None or made is None or made.compute is None:
        raise Permanent(
            "no compute plugin works on this node", help="name one in pvc.yaml under plugins, and in use.compute"
        )
    return made.compute, plugin.compute


def _plugins_seen(loaded: Loaded, broken: Mapping[str, str], custody: bool) -> tuple[PluginSeen, ...]:
    def state(plugin: PluginSeen) -> PluginSeen:
        if plugin.name in broken:
            return replace(plugin, state="broken", reason=broken[plugin.name])
        return replace(plugin, state="custody") if custody and plugin.state == "active" else plugin

    return tuple(state(plugin) for plugin in loaded.seen())
