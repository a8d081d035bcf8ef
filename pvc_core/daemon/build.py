"""Where what pvcnoded runs is wired. What pvcapid and others use is build_services.py's, the plugins' halves are
build_drivers.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.guests import GuestIndex
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.contracts.plugin import Drivers
from pvc_core.daemon.availability import build_availability
from pvc_core.daemon.build_drivers import build_drivers, compute_of, ladder_of, networks_of, plugins_seen
from pvc_core.daemon.build_services import host_bridges, spread
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
from pvc_core.loader import Hooks, Loaded
from pvc_core.model.node import DaemonState
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
from pvc_core.store.base import Store


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
    keeper = ViewKeeper(store, clock, live=config.coordinator, spread=spread(config))
    contexts, drivers, broken = build_drivers(
        config, loaded, store, keeper, clock, log, incarnation=incarnation, tolerant=bool(custody)
    )
    hooks = Hooks({name: made.hooks for name, made in drivers.items() if made.hooks is not None}, clock=clock, log=log)
    calls = ThreadCalls()
    compute, definitions = compute_of(loaded, drivers)
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
        networks=networks_of(config, drivers),
        fence=ladder_of(config, drivers),
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
    seen = partial(plugins_seen, loaded, broken, bool(custody))
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
