"""A guest whose network says it cannot be moved while it runs stays, or is shut down for it, and it is said why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.contracts.compute import Observation
from pvc_core.model.network import Network
from pvc_core.model.node import DaemonState, DomainState, NodeSeen
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, Description, GuestState, MigrationMethod, NicSpec, VmSeen, VmWanted, Want
from pvc_core.reconcile.moving import Mover
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.network import FakeNetwork, FakeNetworkWorld

MAC, GIB = "52:54:00:00:00:01", 1 << 30


class Whole(FakeNetwork):
    def pinned(self, network: Network) -> str:
        return f"its NIC in {network.name} is a function of this node's card" if network.name == "cards" else ""


def mover(kind: str, network: str) -> Mover:
    nic = NicSpec(kind=kind, mac=MAC, source="x", network="100" if network else None)
    description = Description(uuid="u", name="web", memory_bytes=GIB, vcpus=1, nics=(nic,))
    nodes = {
        name: Kept(
            NodeSeen(
                name=name, daemon_state=DaemonState.RUN, domain_state=DomainState.READY, cpu_count=4,
                memory_total_bytes=8 * GIB,
            ),
            0,
        )
        for name in ("hv1", "hv2")
    }  # fmt: skip
    made = Network(vni=100, id="n", name=network, nettype="managed")
    ground = SimpleNamespace(
        node="hv1", clock=FakeClock(), view=ClusterView(node_seen=nodes, networks={"100": Kept(made, 0)}),
        networks={"managed": Whole(FakeNetworkWorld(), "hv1")},
        descriptions=SimpleNamespace(of=lambda vm: description),
        definitions=SimpleNamespace(capabilities=SimpleNamespace(live_migration=True)),
        repository=SimpleNamespace(save=lambda *_: None), keeper=SimpleNamespace(settle=lambda *_, **__: None),
        inline=True,
    )  # fmt: skip
    begun = SimpleNamespace(
        failures={}, begin=lambda *_: SimpleNamespace(sentence="on its way"), forget=lambda uuid: None
    )
    return Mover(cast(Any, ground), cast(Any, None), cast(Any, begun))


@pytest.mark.parametrize(
    ("kind", "network", "why"),
    [
        ("bridge", "cards", "its NIC in cards is a function of this node's card"),
        ("hostdev", "", f"its NIC {MAC} is a device of this node's hardware, whose state cannot be taken along"),
        ("bridge", "plain", ""),
    ],
)
@pytest.mark.parametrize("method", [MigrationMethod.LIVE, MigrationMethod.NONE])
def test_what_is_pinned_is_not_moved_while_it_runs(kind: str, network: str, why: str, method: MigrationMethod) -> None:
    moving = mover(kind, network)
    vm = VmWanted(uuid="u", name="web", definition="", want=Want.START, target="hv2", move=1, migration_method=method)
    seen, there = VmSeen(uuid="u", node="hv1"), Observation(uuid="u", guest=GuestState.RUNNING)
    said = moving.step(Kept(vm, 0), Kept(Claim(uuid="u", holder="hv1"), 0), seen, there)
    assert said is not None
    if not why:
        assert said.sentence == "on its way" and not moving.shut_down_for(vm, seen)
    elif method is MigrationMethod.LIVE:
        assert (
            said.sentence.startswith("stays on hv1: it cannot be moved while it runs, because") and why in said.sentence
        )
        assert not moving.shut_down_for(vm, seen)
    else:
        assert said.sentence.startswith("shut down to be moved to hv2") and why in said.sentence
        assert moving.shut_down_for(vm, seen) == "move 1"
