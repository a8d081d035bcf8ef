"""The primary alone measures storage whose driver reports on all of it; while the driver is silent, what was told last
stays, and says that it is old.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Retry
from pvc_core.model.storage import Pool, PoolUsage, StorageReport
from pvc_core.model.view import ClusterView
from pvc_core.policy.faults import faults_of
from pvc_core.reconcile.calls import DirectCalls
from pvc_core.reconcile.pool import PoolReconciler
from pvc_core.reconcile.storage_report import LOOK_S, StorageReportReconciler
from pvc_core.services.pools import Pools
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.storage import FakeStorage, FakeStorageWorld
from pvc_core.testing.store import FakeStoreServer

DRIVER, SILENCE = "storage_fake", "STORAGE_SILENT_STORAGE_FAKE"


@dataclass
class Node:
    """What the reconcilers use of a ground, and the service of a desk."""

    node: str
    server: FakeStoreServer
    clock: FakeClock
    world: FakeStorageWorld
    leads: bool
    calls: Any = field(default_factory=DirectCalls)
    inline: bool = True

    def __post_init__(self) -> None:
        self.repository = Repository(self.server.client())
        self.keeper = ViewKeeper(self.server.client(), self.clock, live=self.leads)
        self.storage = {DRIVER: self.world.driver(self.node)}
        self.plugins = {DRIVER: SimpleNamespace(storage=self.world.definitions)}
        self.report = StorageReportReconciler(cast(Any, self))
        self.pool = PoolReconciler(cast(Any, self))

    def driver(self, _pool: Pool) -> FakeStorage:
        return self.storage[DRIVER]

    @property
    def view(self) -> ClusterView:
        self.keeper.settle(inline=True)
        return self.keeper.view

    def is_primary(self) -> bool:
        return self.leads

    def look(self) -> StorageReport:
        """A round of both; what is kept of the driver then."""
        self.report.step(DRIVER)
        assert self.pool.step("vms").sentence == "usable"
        return self.repository.get(layout.STORAGE_REPORTS, DRIVER).value

    def usage(self) -> PoolUsage:
        return self.view.storage_seen[self.node].value.pools["vms"]

    def faults(self) -> dict[str, str]:
        return {id: one.message for id, one in faults_of(self.view, cast(Any, None)).items()}

    def stale(self) -> tuple[float, str] | None:
        """As the API tells it."""
        return Pools.stale(cast(Any, SimpleNamespace(desk=self, reports=self._reports)))

    def _reports(self) -> list[StorageReport]:
        return [kept.value for kept in self.view.storage_reports.values()]


def _nodes() -> tuple[Node, Node]:
    server, clock, world = FakeStoreServer(auto=True), FakeClock(), FakeStorageWorld()
    Repository(server.client()).add(layout.POOLS, "vms", Pool(name="vms", driver=DRIVER, options={"shared": "true"}))
    primary = Node("hv1", server, clock, world, leads=True)
    primary.pool.step("vms")
    return primary, Node("hv2", server, clock, world, leads=False)


def test_no_node_measures_what_the_primary_was_told() -> None:
    primary, other = _nodes()
    primary.look()
    primary.world.faults.before["pool_usage"] = Retry("somebody measured")
    primary.world.capacity_bytes //= 2
    primary.clock.move(LOOK_S)
    for node in (primary, other):
        node.look()
        assert node.usage().total_bytes == primary.world.capacity_bytes
    assert "pool_usage" in primary.world.faults.before, "nobody asked"


def test_a_silent_driver_leaves_its_figures_and_says_that_they_are_old() -> None:
    primary, _other = _nodes()
    told = primary.look()
    assert primary.stale() is None and SILENCE not in primary.faults()
    primary.clock.move(LOOK_S)
    primary.world.faults.before["report"] = Retry("no monitor answered")
    old = primary.look()
    assert (old.usage, old.at_s, old.silent) == (told.usage, told.at_s, "no monitor answered")
    assert primary.stale() == (LOOK_S, "no monitor answered")
    assert "are old: no monitor answered" in primary.faults()[SILENCE]
    primary.clock.move(LOOK_S)
    assert primary.look().silent == "" and primary.stale() is None and SILENCE not in primary.faults()


def test_what_cannot_be_counted_stays_as_it_was_counted_last() -> None:
    primary, _other = _nodes()
    told = primary.look()
    driver = primary.storage[DRIVER]
    driver.report = lambda pools, deadline_s: StorageReport(driver=DRIVER, status="ill", silent="nobody counts")
    primary.clock.move(LOOK_S)
    now = primary.look()
    assert (now.status, now.usage, now.silent, now.at_s) == ("ill", told.usage, "nobody counts", told.at_s)
