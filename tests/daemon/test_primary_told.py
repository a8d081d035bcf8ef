"""What a plugin is told of the primary's role: what this node may do now by its lease, not what a record says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.daemon.context import DaemonContext
from pvc_core.model.cluster import Leader
from pvc_core.model.node import NodePeer, RemovedNode
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer


class Log:
    def bind(self, **fields: str) -> Log:
        return self

    def exception(self, text: str) -> None:
        self.said = text


class Rig:
    def __init__(self) -> None:
        self.server, self.clock = FakeStoreServer(), FakeClock()
        store = self.server.client("hv1")
        self.repository, self.keeper = Repository(store), ViewKeeper(store, self.clock)
        config = SimpleNamespace(node="hv1", coordinator=True, host_networks={}, paths=SimpleNamespace(secrets="/x"))
        self.log = Log()
        self.context = DaemonContext(
            cast(Any, config), "p", {}, store=store, keeper=self.keeper, clock=self.clock, log=self.log
        )
        self.settle()

    def settle(self) -> None:
        self.server.deliver()
        self.keeper.step()


def test_the_lease_decides_and_each_change_is_told_once() -> None:
    rig, told, may = Rig(), [], [False]
    rig.context.acts = lambda: may[0]
    rig.context.on_primary(told.append)
    rig.repository.add(layout.LEADER, layout.ONLY, Leader(node="hv1", incarnation="i", term=1))
    rig.settle()
    assert (rig.context.is_primary(), told) == (False, []), "named, but its lease does not say so yet"
    may[0] = True
    rig.context.tell_primary()
    rig.context.tell_primary()
    assert (rig.context.is_primary(), told) == (True, [True])
    may[0] = False  # the lease ran out, with the record as it was
    rig.context.tell_primary()
    assert told == [True, False]


def test_a_plugin_that_fails_hides_the_change_from_no_other() -> None:
    rig, told = Rig(), []

    def fail(primary: bool) -> None:
        raise RuntimeError("a bug")

    rig.context.on_primary(fail)
    rig.context.on_primary(told.append)
    rig.repository.add(layout.LEADER, layout.ONLY, Leader(node="hv1", incarnation="i", term=1))
    rig.settle()
    assert told == [True]
    assert "failed when it was told" in rig.log.said


def test_a_node_is_gone_when_it_was_removed_and_not_when_it_is_back() -> None:
    rig = Rig()
    assert rig.context.gone_nodes() == frozenset()  # of what is not known nothing is said
    rig.repository.add(layout.REMOVED, "ab01", RemovedNode(name="hv3", certificate="ab01", at_s=1.0))
    rig.settle()
    assert rig.context.gone_nodes() == {"hv3"}
    back = NodePeer(name="hv3", address="10.1.0.13", port=7371, certificate="ab02")
    rig.repository.add(layout.NODE_PEERS, "hv3", back)
    rig.settle()
    assert rig.context.gone_nodes() == frozenset()
