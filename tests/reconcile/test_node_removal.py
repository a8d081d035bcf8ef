"""A node is forgotten only when nothing ties the cluster to it and it is off; from then on nobody answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Refused, Retry
from pvc_core.model.node import Heartbeat, NodePeer, NodeSeen
from pvc_core.model.storage import Volume
from pvc_core.model.task import Task
from pvc_core.model.vm import Claim, Phase
from pvc_core.reconcile.kinds.nodes import SILENT_S, NodeRemoval
from pvc_core.reconcile.task import Job
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.fence import FakeFenceWorld
from pvc_core.testing.store import FakeStoreServer


@dataclass
class Scene:
    repository: Repository
    keeper: ViewKeeper
    clock: FakeClock
    removal: NodeRemoval
    fences: FakeFenceWorld = field(default_factory=lambda: FakeFenceWorld(published={"hv1", "hv4"}))
    coordinators: tuple[str, ...] = ("hv1", "hv2", "hv3")

    def try_it(self, *, confirmed: bool = False) -> str:
        """One attempt of the task; its last commit is made as task.py makes it."""
        ground = SimpleNamespace(
            repository=self.repository,
            keeper=self.keeper,
            view=self.keeper.view,
            clock=self.clock,
            inline=True,
            coordinators=self.coordinators,
            fence={"fence_fake": self.fences.driver()},
            calls=direct,
        )
        self.keeper.step()
        ground.view = self.keeper.view
        task = Task(id="t", kind="node.remove", args={"node": "hv4", "confirmed": confirmed}, asked_by="joe")
        done = self.removal.do(Job(ground=cast(Any, ground), task=task, progress=lambda *_: None))
        self.repository.commit(done.writes)
        return done.status

    def beat(self, node: str = "hv4") -> None:
        kept = self.repository.get(layout.HEARTBEATS, node)
        more = replace(kept.value, beat=kept.value.beat + 1)
        self.repository.set(layout.HEARTBEATS, node, more, if_version=kept.version)


def direct(object: str, what: str, deadline_s: float, call: Callable[[], object]) -> object:
    return call()


@pytest.fixture
def scene() -> Scene:
    server, clock = FakeStoreServer(auto=True), FakeClock()
    repository = Repository(server.client())
    repository.add(layout.NODE_SEEN, "hv4", NodeSeen(name="hv4"))
    repository.add(layout.NODE_PEERS, "hv4", NodePeer(name="hv4", address="10.0.0.4", port=7371, certificate="ab12"))
    repository.add(layout.HEARTBEATS, "hv4", Heartbeat(node="hv4", incarnation="i", beat=7))
    return Scene(repository, ViewKeeper(server.client(), clock, live=True), clock, NodeRemoval())


def test_a_silent_node_is_forgotten_and_its_certificate_denied(scene: Scene) -> None:
    with pytest.raises(Retry, match="watching whether node hv4 is silent"):
        scene.try_it()
    scene.clock.move(SILENT_S)
    assert scene.try_it() == "node hv4 is removed"
    for kind in (layout.NODE_SEEN, layout.NODE_PEERS, layout.HEARTBEATS):
        assert scene.repository.find(kind, "hv4") is None
    assert scene.repository.get(layout.REMOVED, "ab12").value.asked_by == "joe"
    assert scene.fences.published == {"hv1"}


def test_a_living_node_is_not(scene: Scene) -> None:
    with pytest.raises(Retry):
        scene.try_it()
    scene.beat()
    scene.clock.move(SILENT_S)
    with pytest.raises(Refused, match="it is alive, its heartbeat moves"):
        scene.try_it()


def test_a_node_that_is_condemned_meanwhile_is_silent_all_the_same(scene: Scene) -> None:
    """The judge writes its verdict over the node's last heartbeat; that is no sign of life."""
    with pytest.raises(Retry):
        scene.try_it()
    kept = scene.repository.get(layout.HEARTBEATS, "hv4")
    scene.repository.set(layout.HEARTBEATS, "hv4", replace(kept.value, condemned=True), if_version=kept.version)
    scene.clock.move(SILENT_S)
    assert scene.try_it() == "node hv4 is removed"


def test_what_a_person_confirms_is_believed(scene: Scene) -> None:
    assert scene.try_it(confirmed=True) == "node hv4 is removed"


@pytest.mark.parametrize("claim", [
    Claim(uuid="u", holder="hv4", phase=Phase.RUN),
    Claim(uuid="u", holder="hv1", target="hv4", phase=Phase.MIGRATING),
])  # fmt: skip
def test_not_while_it_may_run_a_guest_even_when_confirmed(scene: Scene, claim: Claim) -> None:
    scene.repository.add(layout.CLAIMS, "u", claim)
    with pytest.raises(Refused, match="it may be running VM u"):
        scene.try_it(confirmed=True)


def test_not_while_it_alone_has_bytes(scene: Scene) -> None:
    volume = Volume(id="v", pool="vms", name="db", size_bytes=1, home="hv4")
    scene.repository.add(layout.VOLUMES, layout.volume_id("vms", "db"), volume)
    with pytest.raises(Refused, match="it alone has the bytes of vms/db"):
        scene.try_it(confirmed=True)


def test_a_guest_that_is_off_ties_nothing(scene: Scene) -> None:
    scene.repository.add(layout.CLAIMS, "u", Claim(uuid="u", holder="hv4", phase=Phase.FREE))
    assert scene.try_it(confirmed=True) == "node hv4 is removed"


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_coordinator_goes_only_while_the_others_are_a_majority(scene: Scene, confirmed: bool) -> None:
    scene.coordinators = ("hv1", "hv4", "hv3")
    for name in ("hv1", "hv3"):
        scene.repository.add(layout.HEARTBEATS, name, Heartbeat(node=name, incarnation="i", beat=7))
    with pytest.raises(Retry):
        scene.try_it(confirmed=confirmed)
    scene.clock.move(SILENT_S)
    scene.beat("hv1")
    with pytest.raises(Refused, match="of 3 coordinators hv3 would be silent, too, and the store without a majority"):
        scene.try_it(confirmed=confirmed)
    with pytest.raises(Retry):
        scene.try_it(confirmed=confirmed)
    scene.clock.move(SILENT_S)
    for name in ("hv1", "hv3"):
        scene.beat(name)
    assert scene.try_it(confirmed=confirmed) == "node hv4 is removed"
