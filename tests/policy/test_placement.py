"""Which node is chosen, and why the others are not: selectors, memory, limits, rules; twenty at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.model.node import DaemonState, DomainState, Heartbeat, NodeSeen, NodeWanted
from pvc_core.model.storage import Volume
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, Description, DiskSpec, Phase, Selector, Tag, VmSeen, VmWanted, Want
from pvc_core.policy.placement import Choice, choose_node, crowded, loads, need_of
from pvc_core.units import GIB, MIB


def describe(vm: VmWanted) -> Description:
    """The definition is "MIB VCPUS [VOLUME]"."""
    memory, vcpus, *volume = vm.definition.split()
    disks = tuple(DiskSpec(dev="vda", bus="virtio", kind="file", volume=ref) for ref in volume)
    return Description(name=vm.name, uuid=vm.uuid, memory_bytes=int(memory) * MIB, vcpus=int(vcpus), disks=disks)


class Cluster:
    """A picture that is put together by hand."""

    def __init__(self, **memory_gib: int) -> None:
        self.nodes = {
            name: NodeSeen(
                name=name, daemon_state=DaemonState.RUN, domain_state=DomainState.READY, memory_total_bytes=gib * GIB
            )
            for name, gib in memory_gib.items()
        }
        self.beats: dict[str, Heartbeat] = {}
        self.wanted: dict[str, NodeWanted] = {}
        self.vms: dict[str, VmWanted] = {}
        self.claims: dict[str, Claim] = {}
        self.volumes: dict[str, Volume] = {}

    def vm(self, name: str, node: str = "", *, what: str = "1024 1", runs: bool = True, **more: object) -> VmWanted:
        vm = VmWanted(uuid=name, name=name, definition=what, want=Want.START if runs else Want.STOP)
        self.vms[name] = vm = replace(vm, **more)
        if node:
            self.claims[name] = Claim(uuid=name, holder=node, phase=Phase.RUN if runs else Phase.FREE)
        return vm

    def beat(self, node: str, *, free_gib: float = 1, load: float = 0) -> None:
        free_bytes = int(free_gib * GIB)
        self.beats[node] = Heartbeat(node=node, incarnation="", beat=1, memory_free_bytes=free_bytes, load=load)

    @property
    def view(self) -> ClusterView:
        return ClusterView(
            node_seen={name: Kept(seen, 0) for name, seen in self.nodes.items()},
            node_wanted={name: Kept(wanted, 0) for name, wanted in self.wanted.items()},
            heartbeats={name: Kept(beat, 0) for name, beat in self.beats.items()},
            vm_wanted={name: Kept(vm, 0) for name, vm in self.vms.items()},
            vm_seen={name: Kept(VmSeen(uuid=name, node=claim.holder), 0) for name, claim in self.claims.items()},
            claims={name: Kept(claim, 0) for name, claim in self.claims.items()},
            volumes={name: Kept(volume, 0) for name, volume in self.volumes.items()},
        )

    def choose(self, vm: VmWanted) -> Choice:
        return choose_node(self.view, need_of(self.view, vm, describe(vm)), describe)


@pytest.mark.parametrize(
    ("selector", "node"),
    [
        ("mem", "hv2"),
        ("none", "hv2"),
        (None, "hv2"),
        ("memprov", "hv3"),
        ("vcpus", "hv1"),
        ("load", "hv3"),
        ("vms", "hv1"),
    ],
)
def test_each_selector_looks_at_its_own_figure(selector: str | None, node: str) -> None:
    cluster = Cluster(hv1=16, hv2=16, hv3=16)
    for name, free_gib, load in (("hv1", 2, 3.0), ("hv2", 9, 2.0), ("hv3", 4, 0.5)):
        cluster.beat(name, free_gib=free_gib, load=load)
    cluster.vm("a", "hv1", what="4096 1")
    cluster.vm("b", "hv2", what="512 4")
    cluster.vm("c", "hv2", what="512 4")
    cluster.vm("d", "hv3", what="512 2")
    cluster.vm("e", "hv3", what="512 2")
    cluster.vm("off", "hv2", what="8192 8", runs=False)
    chosen = cluster.choose(cluster.vm("new", node_selector=Selector(selector) if selector else None))
    assert chosen.node == node, chosen


def test_every_no_has_its_reason() -> None:
    cluster = Cluster(hv1=4, hv2=16, hv3=16, hv4=16, hv5=16, hv6=16)
    cluster.nodes["hv2"] = replace(cluster.nodes["hv2"], daemon_state=DaemonState.STOP)
    cluster.nodes["hv3"] = replace(cluster.nodes["hv3"], domain_state=DomainState.UNFLUSH)
    cluster.wanted["hv4"] = NodeWanted(name="hv4", domain_state=DomainState.FLUSHED)
    cluster.nodes["hv5"] = replace(cluster.nodes["hv5"], custody="no libvirt")
    limit = ("hv1", "hv2", "hv3", "hv4", "hv5")
    choice = cluster.choose(cluster.vm("new", what="4096 1", node_limit=limit))
    assert choice.node is None
    for words in (
        "hv1: needs 4096 MiB of memory, 3840 MiB are not given to running VMs",
        "hv2: its daemon is in state stop",
        "hv3: it takes no guests (unflush)",
        "hv4: it takes no guests (flush)",
        "hv5: its daemon is in custody (no libvirt)",
        "hv6: not among the VM's node limit (hv1, hv2, hv3, hv4, hv5)",
    ):
        assert words in choice.sentence, choice.sentence


def test_a_volume_on_one_node_ties_it_there() -> None:
    cluster = Cluster(hv1=4, hv2=16)
    cluster.volumes["local@disk"] = Volume(id="v", pool="local", name="disk", size_bytes=1, home="hv1")
    choice = cluster.choose(cluster.vm("new", what="1024 1 local/disk"))
    assert choice.node == "hv1" and "volumes are on hv1" in choice.objections["hv2"]


@pytest.mark.parametrize("selector", list(Selector))
def test_twenty_at_once_are_spread(selector: Selector) -> None:
    """Nothing has moved yet, and no heartbeat says more than before: what was asked for counts."""
    cluster = Cluster(hv1=64, hv2=64, hv3=64)
    for name in cluster.nodes:
        cluster.beat(name, free_gib=60)
    names = [f"vm{number}" for number in range(20)]
    for name in names:
        cluster.vm(name, "hv1", node_selector=selector)
    for name in names:
        vm = cluster.vms[name]
        view = cluster.view
        choice = choose_node(view, need_of(view, vm, describe(vm)), describe, exclude={"hv1": "it lives there"})
        cluster.vms[name] = replace(vm, move=1, target=choice.node)
    found = [cluster.vms[name].target for name in names]
    assert sorted(found.count(name) for name in ("hv2", "hv3")) == [10, 10]


def test_what_is_on_its_way_counts_before_memory_is_full() -> None:
    cluster = Cluster(hv1=64, hv2=8, hv3=3)
    for name in ("a", "b", "c"):
        cluster.vm(name, "hv1", what="2560 1")
    for name in ("a", "b", "c"):
        view, vm = cluster.view, cluster.vms[name]
        target = choose_node(view, need_of(view, vm, describe(vm)), describe, exclude={"hv1": "x"}).node
        cluster.vms[name] = replace(vm, move=1, target=target)
    assert sorted(str(cluster.vms[name].target) for name in ("a", "b", "c")) == ["hv2", "hv2", "hv3"]
    large = cluster.vm("d", "hv1", what="4096 1")
    need = need_of(cluster.view, large, describe(large))
    assert choose_node(cluster.view, need, describe, exclude={"hv1": "x"}).node is None


def tags(*names: str) -> dict[str, tuple[Tag, ...]]:
    return {"tags": tuple(Tag(name=name) for name in names)}


def test_apart_goes_before_the_selector_and_holds_both_ways() -> None:
    cluster = Cluster(hv1=64, hv2=16)
    cluster.vm("db1", "hv1", **tags("anti-affinity:db"))
    assert cluster.choose(cluster.vm("db2", **tags("anti-affinity:db"))).node == "hv2"
    assert cluster.choose(cluster.vm("plain", **tags("db"))).node == "hv2", "one of the two carries the rule"
    assert cluster.choose(cluster.vm("other", **tags("web"))).node == "hv1"


def test_apart_gives_way_when_no_other_fits() -> None:
    cluster = Cluster(hv1=64, hv2=1)
    cluster.vm("db1", "hv1", **tags("anti-affinity:db"))
    db2 = cluster.vm("db2", what="2048 1", **tags("anti-affinity:db"))
    assert cluster.choose(db2).node == "hv1"
    need = need_of(cluster.view, db2, describe(db2))
    assert crowded(cluster.view, need, "hv1", describe, loads(cluster.view, describe)) == ""
    cluster.nodes["hv3"] = replace(cluster.nodes["hv1"], name="hv3")
    said = crowded(cluster.view, need, "hv1", describe, loads(cluster.view, describe))
    assert said == "VM db1 is there, and the two shall be apart (anti-affinity:db); hv3 would do"


def test_together_goes_before_the_selector_but_after_apart() -> None:
    cluster = Cluster(hv1=8, hv2=64, hv3=64)
    cluster.vm("web", "hv1", **tags("web"))
    assert cluster.choose(cluster.vm("cache", **tags("affinity:web"))).node == "hv1"
    assert cluster.choose(cluster.vm("mixed", **tags("affinity:web", "anti-affinity:web"))).node != "hv1"
