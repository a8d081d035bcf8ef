"""pvcnoded's part in the host's networks and in the primary's role, wired: what runs, what wakes whom, how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.leadership import Leadership
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config, EmbeddedStore
from pvc_core.daemon import systemd
from pvc_core.daemon.checks import quorum
from pvc_core.hostnet.floating import Floating
from pvc_core.model.node import HealthSeen
from pvc_core.reconcile.engine import Engine, Reconciler
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.hostnet import HostNetReconciler
from pvc_core.reconcile.own_server import OwnServerReconciler
from pvc_core.reconcile.primary import PrimaryReconciler
from pvc_core.reconcile.units import UnitsReconciler
from pvc_core.store.base import Store

SERVER_S = 2.0
"""How long this coordinator's server of the store may take to say what it is."""
ROLE_KEYS = frozenset({layout.LEADER.key(layout.ONLY), layout.PRIMARY_WANTED.key(layout.ONLY)})


def build_leadership(
    config: Config, *, incarnation: str, store: Store, clock: Clock, log: Any, keeper: ViewKeeper
) -> Leadership | None:
    """This coordinator's part in the lease; None on a hypervisor's node, and where there is one coordinator only."""
    if not config.coordinator or len(config.cluster.coordinators) == 1:
        return None
    leadership = Leadership(
        node=config.node,
        incarnation=incarnation,
        coordinators=config.cluster.coordinators,
        store=store,
        clock=clock,
        log=log,
        view=lambda: keeper.view,
    )
    keeper.subscribe(lambda keys: leadership.wake() if keys is None or keys & ROLE_KEYS else None)
    return leadership


@dataclass(frozen=True, slots=True)
class Host:
    """`lease_store` is the lease's own client: a renewal never queues behind the view's reading."""

    networks: HostNetReconciler
    units: UnitsReconciler
    primary: PrimaryReconciler | None
    leadership: Leadership | None
    lease_store: Store | None
    server: OwnServerReconciler | None = None
    """Of a coordinator, where the store is ZooKeeper."""

    def reconcilers(self, *, in_custody: bool) -> Sequence[Reconciler]:
        """In custody the networks stay as they are wanted; nobody in custody is primary."""
        kept = (self.networks, self.units, *((self.server,) if self.server else ()))
        return kept if in_custody or self.primary is None else (*kept, self.primary)

    def health(self) -> Sequence[HealthSeen]:
        some = (self.networks, self.units, self.primary, self.server)
        return [item for one in some if one is not None for item in one.health()]

    def begin(
        self, quick: Engine, wake_all: Callable[[], None], thread: Callable[[str, Callable[[], None]], Any]
    ) -> None:
        """The networks at once, before there is a store; the role as soon as there is one."""
        for network in self.networks.networks:
            quick.wake(self.networks.kind, network)
        for unit in self.units.needed_by:
            quick.wake(self.units.kind, unit)
        if self.server is not None:
            quick.wake(self.server.kind, self.server.node)
        if self.leadership is not None and self.primary is not None:
            self.leadership.lower = self.primary.floating.lower
            self.leadership.renewed = self.primary.floating.extend
            self.leadership.changed = lambda: self._changed(quick, wake_all)
            thread("leadership", self.leadership.run)

    def _changed(self, quick: Engine, wake_all: Callable[[], None]) -> None:
        """The addresses before all else: somebody waits for them."""
        if self.primary is not None:
            quick.wake(self.primary.kind, self.primary.ground.node)
        wake_all()

    def end(self, join: Callable[[str], None]) -> None:
        """Another coordinator becomes primary now, if one can; else the addresses stay until the lease ends."""
        if self.leadership is not None:
            self.leadership.stop()
            join("leadership")
            self.leadership.resign()
        if self.lease_store is not None:
            self.lease_store.close()


def build_units(needed_by: Mapping[str, Sequence[str]]) -> UnitsReconciler:
    """Where no systemd runs they are somebody else's to start."""
    return UnitsReconciler(
        needed_by if systemd.runs() else {},
        state=lambda unit: systemd.states([unit])[unit],
        start=lambda unit: systemd.do("start", unit),
    )


def build_host(config: Config, ground: Ground, *, lease_store: Store | None, in_custody: bool) -> Host:
    needed_by: dict[str, list[str]] = {}
    for name, plugin in ground.plugins.items():
        for unit in plugin.units:
            needed_by.setdefault(unit, []).append(name)
    floating = {name: net.floating.ip for name, net in config.host_networks.items() if net.floating is not None}
    leads = config.coordinator and not in_custody
    return Host(
        networks=HostNetReconciler(config.host_networks),
        units=build_units(needed_by),
        primary=PrimaryReconciler(ground, Floating(floating, config.paths.run)) if leads else None,
        leadership=ground.leadership if leads else None,
        lease_store=lease_store,
        server=_server(config),
    )


def _server(config: Config) -> OwnServerReconciler | None:
    if not config.coordinator or isinstance(config.store, EmbeddedStore):
        return None
    return OwnServerReconciler(config.node, partial(quorum.own, config, deadline_s=SERVER_S))
