"""Asking for another primary: what is written, what is refused, what is shown meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Refused
from pvc_core.model.cluster import Leader
from pvc_core.model.node import DaemonState, NodeSeen
from pvc_core.services.desk import Desk
from pvc_core.services.nodes import NodeService
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.compute_text import FakeComputeDefinitions
from pvc_core.testing.store import FakeStoreServer

COORDINATORS = ("hv1", "hv2", "hv3")


@dataclass
class Cluster:
    repository: Repository
    nodes: NodeService

    def states(self) -> dict[str, str]:
        self.nodes.desk.keeper.step()
        return {node.seen.name: str(node.coordinator_state) for node in self.nodes.list()}

    def seen(self, name: str, **changes: Any) -> None:
        kept = self.repository.get(layout.NODE_SEEN, name)
        self.repository.set(layout.NODE_SEEN, name, replace(kept.value, **changes), if_version=kept.version)
        self.nodes.desk.keeper.step()

    def lead(self, node: str, asked: int = 0) -> None:
        kept = self.repository.find(layout.LEADER, layout.ONLY)
        term = (kept.value.term if kept else 0) + 1
        leader = Leader(node=node, incarnation="boot", term=term, asked=asked)
        self.repository.save(layout.LEADER, layout.ONLY, leader, kept)
        self.nodes.desk.keeper.step()


@pytest.fixture
def cluster() -> Cluster:
    """hv1 is primary of three coordinators, hv4 is a hypervisor."""
    server = FakeStoreServer(auto=True)
    repository, clock = Repository(server.client()), FakeClock()
    for name in (*COORDINATORS, "hv4"):
        repository.add(layout.NODE_SEEN, name, NodeSeen(name=name, daemon_state=DaemonState.RUN))
    nothing, definitions = cast(Any, None), FakeComputeDefinitions()
    desk = Desk(
        keeper=ViewKeeper(server.client(), clock, live=True), repository=repository, clock=clock, compute=definitions,
        descriptions=Descriptions(definitions), storage={}, plugins={}, checks=nothing, ask=nothing, inline=True,
    )  # fmt: skip
    made = Cluster(repository, NodeService(desk, COORDINATORS))
    made.lead("hv1")
    return made


def test_a_request_is_written_and_shown_until_it_is_met(cluster: Cluster) -> None:
    assert cluster.states() == {"hv1": "primary", "hv2": "secondary", "hv3": "secondary", "hv4": "client"}
    cluster.nodes.set_coordinator_state("hv2", "primary", by="ann")
    assert cluster.states() == {"hv1": "relinquish", "hv2": "takeover", "hv3": "secondary", "hv4": "client"}
    cluster.lead("hv2", asked=1)
    assert cluster.states() == {"hv1": "secondary", "hv2": "primary", "hv3": "secondary", "hv4": "client"}


def test_secondary_names_another_that_works(cluster: Cluster) -> None:
    cluster.seen("hv2", daemon_state=DaemonState.STOP)
    cluster.nodes.set_coordinator_state("hv1", "secondary", by="ann")
    assert cluster.repository.get(layout.PRIMARY_WANTED, layout.ONLY).value.node == "hv3"


def test_each_request_has_a_greater_number(cluster: Cluster) -> None:
    for number, name in enumerate(("hv2", "hv3", "hv2"), 1):
        cluster.nodes.set_coordinator_state(name, "primary", by="ann")
        wanted = cluster.repository.get(layout.PRIMARY_WANTED, layout.ONLY).value
        assert (wanted.node, wanted.asked, wanted.asked_by) == (name, number, "ann")


def test_what_is_so_already_writes_nothing(cluster: Cluster) -> None:
    cluster.nodes.set_coordinator_state("hv1", "primary", by="ann")
    cluster.nodes.set_coordinator_state("hv2", "secondary", by="ann")
    assert cluster.repository.find(layout.PRIMARY_WANTED, layout.ONLY) is None


def test_taking_a_request_back_before_it_is_met(cluster: Cluster) -> None:
    cluster.nodes.set_coordinator_state("hv2", "primary", by="ann")
    cluster.nodes.set_coordinator_state("hv1", "primary", by="ann")
    assert cluster.repository.get(layout.PRIMARY_WANTED, layout.ONLY).value.node == "hv1"


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"daemon_state": DaemonState.STOP}, "is in state stop"), ({"custody": "no plugin"}, r"in custody \(no plugin\)")],
)
def test_who_cannot_lead_is_refused_with_the_reason(cluster: Cluster, changes: dict[str, Any], why: str) -> None:
    cluster.seen("hv2", **changes)
    with pytest.raises(Refused, match=why):
        cluster.nodes.set_coordinator_state("hv2", "primary", by="ann")


def test_without_another_that_works_it_stays(cluster: Cluster) -> None:
    for name in ("hv2", "hv3"):
        cluster.seen(name, daemon_state=DaemonState.STOP)
    with pytest.raises(Refused, match="hv1 stays primary"):
        cluster.nodes.set_coordinator_state("hv1", "secondary", by="ann")
