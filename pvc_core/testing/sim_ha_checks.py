# SPDX-License-Identifier: LGPL-3.0-or-later
"""What must be true of a simulated cluster with high availability: after every turn, and when all is quiet.

It looks at the world and at the store's own data, never at what a daemon believes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.model.node import DaemonState
from pvc_core.model.vm import Claim, Phase, VmWanted, Want
from pvc_core.schema.records import decode

if TYPE_CHECKING:
    from pvc_core.testing.sim_ha import HaCluster

T = TypeVar("T")


class HaWatcher:
    def __init__(self, sim: HaCluster) -> None:
        self._sim = sim
        self._kept: dict[str, tuple[int, Any]] = {}
        self._claims: dict[str, Claim] = {}
        self.asked: dict[str, Want | None] = {}
        """By UUID, what was acknowledged last; None when its end is unknown."""
        self.cross_wired = False
        """Some controller spoke for another machine: what was proved by it may be wrong."""
        self.unbroken: set[str] = set()
        """UUIDs of guests that must execute all the time."""

    def always(self) -> None:
        """No guest executes twice, no two nodes act as primary; whoever executes is entitled to by a claim of this very
        life; what was moved away from a life can write no more.
        """
        world, sim = self._sim.world, self._sim
        self.demand(not world.double, f"{world.double[:1]}")
        acting = [name for name in sim.coordinators if sim.nodes[name].acts]
        self.demand(len(acting) < 2, f"{acting} may act as primary, both")
        for uuid in self.unbroken:
            self.demand(bool(world.executing(uuid)), f"guest {uuid} does not execute")
        claims = self.all(layout.CLAIMS)
        for name, host in world.hosts.items():
            for uuid, guest in host.guests.items():
                claim = claims.get(uuid)
                mine = claim is not None and (claim.holder, claim.incarnation) == (name, sim.nodes[name].incarnation)
                if mine or guest.paused:
                    continue
                self.demand(not guest.executes, f"guest {guest.name} executes on {name} without a claim: {claim}")
                self._demand_shut_out(name, uuid, claim)

    def _demand_shut_out(self, name: str, uuid: str, claim: Claim | None) -> None:
        """It stands still on `name`, and its claim is another's: it must never write again, whatever thaws it."""
        life = self._sim.nodes[name].incarnation
        if claim is None or claim.phase is Phase.MIGRATING or self.cross_wired:
            return  # what a controller that lies about its name proved is wrong: then it stands still at least
        shut = any(incarnation == life for incarnation, _ in self._sim.disks.out)
        self.demand(
            shut, f"guest {uuid} was moved from {name} (life {life}), where it could write once thawed: {claim}"
        )

    # -- at rest -------------------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Every guest that shall run does, if it fits, and once; what was acknowledged is so."""
        self.always()
        bugs = [line for line in self._sim.log.lines if "internal error" in line]
        self.demand(not bugs, f"{bugs[:1]}")
        sim, claims = self._sim, self.all(layout.CLAIMS)
        seen = self.all(layout.VM_SEEN)
        for uuid, vm in self.all(layout.VM_WANTED).items():
            where, claim = sim.world.executing(uuid), claims.get(uuid)
            what = f"{vm.name}: {vm.want}, executes on {where}; {claim}; {seen.get(uuid)}"
            if vm.want is Want.START:
                self.demand(len(where) == 1 or not self._fits(vm), f"should run: {what}")
            else:
                self.demand(not where, f"should be off: {what}")
        for uuid, want in self.asked.items():
            kept = self.all(layout.VM_WANTED).get(uuid)
            now = kept.want if kept else Want.REMOVE
            self.demand(want in (None, now), f"{want} was acknowledged for {uuid}, the store says {now}")
        self.demand(bool(sim.primary), "nobody is primary")
        self._demand_told()

    def _demand_told(self) -> None:
        """Of every node that is given up there is a fault record, and of no other."""
        lost = (DaemonState.DEAD, DaemonState.FENCED)
        gone = {
            f"DEAD_NODE_{name.upper()}"
            for name, node in self.all(layout.NODE_SEEN).items()
            if node.daemon_state in lost
        }
        told = {id for id in self.all(layout.FAULTS) if id.startswith("DEAD_NODE_")}
        self.demand(gone == told, f"nodes that are lost: {sorted(gone)}; faults that say so: {sorted(told)}")

    def _fits(self, vm: VmWanted) -> bool:
        """Roughly: some node that is up has room for one more."""
        sim = self._sim
        room = (sim.setting.memory_bytes >> 20) - 256
        up = [name for name, node in sim.nodes.items() if node.up]
        loads = {name: sum(self._memory_mib(uuid) for uuid in sim.world.host(name).guests) for name in up}
        states = self.all(layout.NODE_SEEN)
        ready = [name for name in up if name in states and states[name].domain_state.value == "ready"]
        return any(loads[name] + self._memory_mib(vm.uuid) <= room for name in ready)

    def _memory_mib(self, uuid: str) -> int:
        vm = self.all(layout.VM_WANTED).get(uuid)
        return int(vm.definition.partition("<memory>")[2].partition("<")[0]) if vm else 0

    # -- the store's own data ------------------------------------------------------------------------------------------

    def maintenance(self) -> bool:
        return any(kept.maintenance for kept in self.all(layout.SETTINGS).values())

    def all(self, kind: Kind[T]) -> dict[str, T]:
        directory = self._sim.server.tree.peek(kind.prefix)
        found: dict[str, T] = {}
        for id in sorted(directory.children or ()) if directory else ():
            found[id] = self._record(kind, id)
        return found

    def _record(self, kind: Kind[T], id: str) -> T:
        key = kind.key(id)
        node = self._sim.server.tree.peek(key)
        assert node is not None
        stamp, record = self._kept.get(key, (-1, None))
        if stamp != node.mzxid:
            record = decode(node.data or b"", kind.record)
            self._kept[key] = (node.mzxid, record)
        return cast(T, record)

    def demand(self, true: bool, otherwise: str) -> None:
        if not true:
            raise AssertionError(f"seed {self._sim.seed}: {otherwise}\n" + "\n".join(self._sim.log.lines[-60:]))
