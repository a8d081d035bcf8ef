# SPDX-License-Identifier: LGPL-3.0-or-later
"""What must be true of a simulated cluster: always, and when everything has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Claim, GuestState, Phase, VmWanted, Want
from pvc_core.testing.compute import FakeGuest
from pvc_core.testing.sim_parts import open_volumes

if TYPE_CHECKING:
    from pvc_core.testing.sim import Sim

NODE, POOL = "hv1", "vms"


class Watcher:
    """Looks at the store and at the world themselves, never at what a daemon believes."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._repository = Repository(sim.server.client("watcher"))
        self._ready: dict[str, Volume] = {}
        """Volumes that were READY at the last look, by id."""
        self._stamp = -1
        self._claims: dict[str, Claim] = {}
        self._volumes: dict[str, Volume] = {}
        self.asked: dict[str, Want | None] = {}
        """By UUID, what was acknowledged last; None when a later request has an unknown end."""
        self.volumes: dict[str, str] = {}
        """By reference, the id of each volume that was acknowledged and whose removal nobody asked for."""

    def always(self) -> None:
        """No guest ever ran twice; whoever runs has a claim that lists what it has open; no bytes are lost or mixed."""
        self._look()
        sim, guests = self._sim, self._sim.world.host(NODE).guests
        self.demand(not sim.world.double, f"{sim.world.double}")
        self.demand(not sim.disks.wrongs, f"{sim.disks.wrongs}")
        open = open_volumes(sim.world.host(NODE))
        self.demand(len(set(open)) == len(open), f"two guests have one volume open: {open}")
        for uuid, guest in guests.items():
            self._check_guest(uuid, guest)

    def _check_guest(self, uuid: str, guest: FakeGuest) -> None:
        claim = self._claims.get(uuid)
        runs = claim is not None and claim.phase is Phase.RUN and claim.holder == NODE
        self.demand(runs, f"{guest.name} runs, its claim is {claim}")
        assert claim is not None
        self.demand(
            claim.incarnation == f"boot-{self._sim.power_cycles}",
            f"{guest.name} runs by a claim of another life: {claim}",
        )
        listed = {volume.id for volume in self._volumes.values() if volume.ref in claim.volumes}
        open = {source.path.rpartition("/")[2] for source in guest.disks.values()}  # type: ignore[union-attr]  # all are files
        self.demand(open <= listed, f"{guest.name} has {open} open, its claim lists {claim.volumes}")

    def _look(self) -> None:
        """What became of each volume since the last look. Reads only when anything was written."""
        stamp = self._sim.server.tree.zxid
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._claims = {id: kept.value for id, kept in self._repository.all(layout.CLAIMS).items()}
        found = [kept.value for kept in self._repository.all(layout.VOLUMES).values()]
        self._volumes = {volume.id: volume for volume in found}
        there = self._sim.disks.ids()
        for id, old in self._ready.items():
            self.demand(id in self._volumes, f"volume {old.ref} vanished though nobody asked for its removal")
        self._ready = {id: volume for id, volume in self._volumes.items() if volume.phase is VolumePhase.READY}
        self._sim.disks.was_ready |= self._ready.keys()
        for id, volume in self._ready.items():
            self.demand(id in there, f"volume {volume.ref} is READY and has no bytes")

    # -- at rest -------------------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Every VM is as wanted and as asked, no task hangs, no debris, the picture equals the store."""
        self.always()
        view = self._sim.brain.keeper.view
        self.demand(view.fresh and self._sim.brain.keeper.differences() == [], "the picture differs from the store")
        for uuid, kept in view.vm_wanted.items():
            self._check_vm(view, uuid, kept.value)
        for uuid, want in self.asked.items():
            wanted = view.vm_wanted.get(uuid)
            now = wanted.value.want if wanted else Want.REMOVE
            self.demand(want in (None, now), f"{want} was acknowledged for {uuid}, the store says {now}")
        hanging = [kept.value for kept in view.tasks.values() if not kept.value.ended]
        self.demand(not hanging, f"{hanging}")
        self._check_volumes(view)
        self._check_memory(view)

    def _check_vm(self, view: ClusterView, uuid: str, vm: VmWanted) -> None:
        seen, claim = view.vm_seen.get(uuid), view.claims[uuid].value
        runs = uuid in self._sim.world.host(NODE).guests
        failed = seen is not None and seen.value.failed_asked == vm.asked
        self.demand(vm.want is not Want.REMOVE, f"{vm.name} was never removed")
        if vm.want is Want.START:
            self.demand(runs or failed or self._cannot(view, vm), f"{vm.name} should run ({seen}, {claim})")
            done = seen is not None and seen.value.restart_done >= vm.restart
            self.demand(not runs or done, f"{vm.name} was not restarted ({seen})")
        else:
            self.demand(not runs, f"{vm.name} should be off")
            self.demand(seen is None or seen.value.guest is GuestState.OFF, f"{vm.name} is off and seen as {seen}")
            self.demand(claim.phase is Phase.FREE, f"{vm.name} is off with {claim}")

    def _cannot(self, view: ClusterView, vm: VmWanted) -> bool:
        """What it needs is not there, or another VM has it."""
        refs = self._sim.services.desk.descriptions.of(vm).volumes
        taken = {ref for uuid, kept in view.claims.items() if uuid != vm.uuid for ref in kept.value.volumes}
        kept = [view.volume(ref) for ref in refs]
        usable = all(one is not None and one.value.phase is VolumePhase.READY for one in kept)
        return not usable or bool(set(refs) & taken)

    def _check_volumes(self, view: ClusterView) -> None:
        self.demand(POOL in view.pools, "the pool is gone")
        volumes = {kept.value.id: kept.value for kept in view.volumes.values()}
        there = {
            found.id: found
            for found in self._sim.disks.driver(NODE).list_volumes(view.pools[POOL].value, deadline_s=5.0)
        }
        self.demand(volumes.keys() == there.keys(), f"volumes on record {volumes}, on disk {there}")
        for id, volume in volumes.items():
            self.demand(volume.phase is VolumePhase.READY, f"{volume} is not ready")
            self.demand(there[id].name == volume.name, f"{volume} is called {there[id].name} on disk")
            names = sorted(snapshot.name for snapshot in volume.snapshots)
            self.demand(names == sorted(there[id].snapshots), f"snapshots {names}, on disk {there[id].snapshots}")
        running = {(uuid, id) for uuid in self._sim.world.host(NODE).guests for id in volumes}
        left = self._sim.disks.attached - running
        self.demand(not left, f"attached for guests that are off: {left}")
        for ref, id in self.volumes.items():
            self.demand(id in volumes, f"volume {ref} was acknowledged and is gone")

    def _check_memory(self, view: ClusterView) -> None:
        """Nothing of what is gone is kept."""
        kinds: dict[str, Any] = {**self._sim.brain.quick._kinds, **self._sim.brain.slow._kinds}
        vms, tasks = kinds["vm"], kinds["task"]
        for table in (vms._shutdowns, vms.starter._not_before, kinds["place"]._known):
            self.demand(set(table) <= set(view.vm_wanted), f"{table} is kept for VMs that are gone")
        self.demand(not tasks._since_s, "ended tasks are kept")
        self.demand(len(set(vms.ground.descriptions._kept) - set(view.vm_wanted)) <= 3, "descriptions are kept")

    def demand(self, true: bool, otherwise: str) -> None:
        if not true:
            raise AssertionError(f"seed {self._sim.seed}: {otherwise}\n" + "\n".join(self._sim.log.lines[-30:]))
