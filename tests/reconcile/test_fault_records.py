"""Faults are kept while they last, with their acknowledgement, and nothing is told in maintenance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository, Unchanged
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import NotFound
from pvc_core.model.cluster import Leader, Settings
from pvc_core.model.fault import Fault
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.reconcile.faults import NOTE_S, FaultsReconciler
from pvc_core.services.faults import FaultService
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer

DEAD = "DEAD_NODE_HV2"


@dataclass
class Primary:
    """What the reconciler uses of a ground and the service of a desk."""

    server: FakeStoreServer = field(default_factory=lambda: FakeStoreServer(auto=True))
    clock: FakeClock = field(default_factory=FakeClock)
    leads: bool = True
    descriptions: Any = None

    def __post_init__(self) -> None:
        self.descriptions = self
        self.repository = Repository(self.server.client())
        self.repository.add(layout.LEADER, layout.ONLY, Leader(node="hv1", incarnation="i", term=1))
        self.repository.add(layout.NODE_SEEN, "hv2", NodeSeen(name="hv2", daemon_state=DaemonState.DEAD))
        self.keeper = ViewKeeper(self.server.client(), self.clock)
        self.reconciler, self.service = FaultsReconciler(cast(Any, self)), FaultService(cast(Any, self))

    def of(self, vm: Any) -> Any:
        raise AssertionError("there are no VMs")

    @property
    def view(self) -> Any:
        self.keeper.step()
        return self.keeper.view

    def is_primary(self) -> bool:
        return self.leads

    def lead(self) -> Unchanged:
        return Unchanged(layout.LEADER, layout.ONLY, 0)

    def commit(self, *writes: Any) -> None:
        self.repository.commit(writes)

    def look(self) -> dict[str, Fault]:
        self.reconciler.step(layout.ONLY)
        return {fault.id: fault for fault in self.service.list()}

    def state(self, state: DaemonState) -> None:
        self.repository.set(layout.NODE_SEEN, "hv2", NodeSeen(name="hv2", daemon_state=state), if_version=None)


def test_a_fault_is_there_from_its_first_look_until_it_is_over() -> None:
    hv1 = Primary()
    began_s = hv1.clock.wall_s()
    assert hv1.look()[DEAD].first_s == began_s
    hv1.clock.move(NOTE_S)
    assert (hv1.look()[DEAD].first_s, hv1.look()[DEAD].last_s) == (began_s, hv1.clock.wall_s())
    hv1.state(DaemonState.RUN)
    assert hv1.look() == {}


def test_an_acknowledgement_lasts_and_takes_the_weight() -> None:
    hv1 = Primary()
    hv1.look()
    hv1.service.ack(DEAD.lower())
    hv1.state(DaemonState.FENCED)
    fault = hv1.look()[DEAD]
    assert (fault.weight, fault.counts, "fenced" in fault.message) == (50, 0, True)


def test_what_was_deleted_comes_back_while_it_is_so() -> None:
    hv1 = Primary()
    hv1.look()
    hv1.service.delete(DEAD)
    assert hv1.service.list() == []
    assert DEAD in hv1.look()
    with pytest.raises(NotFound):
        hv1.service.ack("VM_FAILED_X")


def test_nothing_is_added_in_maintenance_or_by_another_node() -> None:
    hv1 = Primary()
    kept = hv1.repository.add(layout.SETTINGS, layout.ONLY, Settings(maintenance=True))
    assert hv1.look() == {}
    hv1.repository.set(layout.SETTINGS, layout.ONLY, replace(kept.value, maintenance=False), if_version=None)
    hv1.leads = False
    assert hv1.look() == {}
    hv1.leads = True
    assert DEAD in hv1.look()
