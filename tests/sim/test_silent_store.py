"""Ten minutes without a store, by the simulator's clock: what runs goes on, nothing begins, moves or ends by it."""

from __future__ import annotations

import pytest

from pvc_core.testing.sim_nodes import Nodes, cluster
from pvc_core.testing.store import FakeStore

OUTAGE_S = 600.0


def _stores(sim: Nodes) -> list[FakeStore]:
    stores = [node.store for node in sim.nodes.values()]
    api = sim.services.desk.repository.store
    assert isinstance(api, FakeStore)
    return [*stores, api]


@pytest.mark.parametrize("seed", range(2))
def test_ten_minutes_without_a_store(seed: int) -> None:
    sim = cluster(seed, "a", "b", "c")
    before, starts = {name: sim.where(name) for name in "abc"}, sim.world.starts
    for store in _stores(sim):
        store.cut()
    sim.settle(OUTAGE_S)
    assert {name: sim.where(name) for name in "abc"} == before and sim.world.starts == starts
    assert not sim.services.desk.view.fresh
    stale_s = sim.services.cluster.stale_s
    assert stale_s is not None and stale_s >= OUTAGE_S
    assert len(sim.services.vms.list()) == 3, "what was known is still shown"
    for refused in (lambda pvc: pvc.vms.stop("a", by="test"), lambda pvc: pvc.vms.migrate("b", by="test")):
        assert "store" in sim.ask(refused)
    sim.settle(60)
    for store in _stores(sim):
        store.mend()
    sim.settle(60)
    sim.check_at_rest()
    assert {name: sim.where(name) for name in "abc"} == before and sim.world.starts == starts
    assert sim.services.cluster.stale_s is None
    assert all(node.keeper.differences() == [] for node in sim.nodes.values())


def test_a_guest_that_ends_by_itself_meanwhile_begins_again_only_when_its_claim_can_be_written() -> None:
    sim = cluster(7, "a")
    (home,), starts = sim.where("a"), sim.world.starts
    uuid = sim.services.vms.get("a").wanted.uuid
    for store in _stores(sim):
        store.cut()
    sim.world.host(home).guests.pop(uuid)
    sim.settle(OUTAGE_S)
    assert sim.where("a") == [] and sim.world.starts == starts
    for store in _stores(sim):
        store.mend()
    sim.settle(60)
    sim.check_at_rest()
    assert sim.where("a") == [home] and sim.world.starts == starts + 1
