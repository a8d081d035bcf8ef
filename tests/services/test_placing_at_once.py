"""Twenty people ask for a migration at the very same moment: each choice counts the ones before it.

And one whose answer the store loses is told how it came out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.settled import Settling
from pvc_core.cluster.view import ViewKeeper
from pvc_core.model.cluster import NameIndex
from pvc_core.model.node import DaemonState, DomainState, Heartbeat, NodeSeen
from pvc_core.model.vm import Claim, Phase, VmWanted, Want
from pvc_core.services.desk import Desk
from pvc_core.services.tasks import TaskService
from pvc_core.services.vms import VmService
from pvc_core.testing.compute_text import FakeComputeDefinitions
from pvc_core.testing.store import FakeStore, FakeStoreServer
from pvc_core.units import GIB

NAMES = [f"vm{number}" for number in range(20)]


@pytest.fixture
def vms() -> Iterator[VmService]:
    """All run on hv1; what the other nodes' heartbeats say does not change meanwhile."""
    server = FakeStoreServer(auto=True)
    repository, clock = Repository(server.client()), SystemClock()
    for name in ("hv1", "hv2", "hv3"):
        seen = NodeSeen(
            name=name, daemon_state=DaemonState.RUN, domain_state=DomainState.READY, memory_total_bytes=64 * GIB
        )
        repository.add(layout.NODE_SEEN, name, seen)
        repository.add(
            layout.HEARTBEATS, name, Heartbeat(node=name, incarnation="", beat=1, memory_free_bytes=50 * GIB)
        )
    for name in NAMES:
        text = f"<domain><name>{name}</name><memory>1024</memory><vcpu>1</vcpu></domain>"
        repository.add(layout.VM_WANTED, name, VmWanted(uuid=name, name=name, definition=text, want=Want.START))
        repository.add(layout.VM_NAMES, name, NameIndex(uuid=name))
        repository.add(layout.CLAIMS, name, Claim(uuid=name, holder="hv1", phase=Phase.RUN))
    keeper = ViewKeeper(server.client(), clock, live=True)
    nothing, definitions = cast(Any, None), FakeComputeDefinitions()
    desk = Desk(
        keeper=keeper, repository=Repository(server.client()), clock=clock, compute=definitions,
        descriptions=Descriptions(definitions), storage={}, plugins={}, checks=nothing, ask=nothing,
        settling=Settling(clock, time.sleep),
    )  # fmt: skip
    threading.Thread(target=keeper.run, daemon=True).start()
    keeper.settle()
    yield VmService(desk, TaskService(desk))
    keeper.stop()


def test_twenty_threads_do_not_choose_one_node(vms: VmService) -> None:
    together, targets = threading.Barrier(len(NAMES)), []

    def ask(name: str) -> None:
        together.wait()
        targets.append(vms.migrate(name, by="test").wanted.target)

    threads = [threading.Thread(target=ask, args=(name,)) for name in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(targets.count(name) for name in ("hv2", "hv3")) == [10, 10], targets


def test_a_lost_answer_of_the_store_is_found_out(vms: VmService) -> None:
    store = cast(FakeStore, vms.desk.repository.store)
    store.lose_next_answer()
    picture = vms.migrate("vm0", by="test", node="hv2")
    assert (picture.wanted.target, picture.wanted.move) == ("hv2", 1)
    assert store.get(layout.VM_WANTED.key("vm0")).version == 1
