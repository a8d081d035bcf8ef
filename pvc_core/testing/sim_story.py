# SPDX-License-Identifier: LGPL-3.0-or-later
"""What happens to a simulated node: operators ask for anything, anything goes wrong, and then the faults stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import NotFound, Permanent, PvcError, Refused, Retry, StoreUnavailable
from pvc_core.model.vm import Want
from pvc_core.services import Services
from pvc_core.testing.sim import NODE, POOL, Sim, definition
from pvc_core.testing.storage import Crashed
from pvc_core.units import MIB

NAMES = ("a", "b", "c")
UUIDS = {name: f"00000000-0000-4000-8000-00000000000{name}" for name in NAMES}
EXTRAS = ("", "", '<x deaf="yes"/>', '<boot fails="no such machine type"/>')
STORAGE_CALLS = ("create_volume", "remove_volume", "resize_volume", "rename_volume", "attach", "detach",
                 "clone_volume", "create_snapshot", "remove_snapshot", "commit_upload", "pool_usage")  # fmt: skip


def live(seed: int, *, events: int = 70) -> Sim:
    """One seed's story from the first boot until everything is at rest. Raises AssertionError."""
    sim = Sim(seed)
    sim.settle(5.0)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test", driver="fake"))
    story = Story(sim)
    for name in NAMES[:2]:
        story.ask(partial(story.add_volume, name=f"root-{name}"))
        story.ask(partial(story.define, name=name))
    for _ in range(events):
        story.something()
        sim.run(sim.random.randrange(30))
        if sim.random.random() < 0.5:
            story.mend()
    story.calm()
    sim.check_at_rest()
    return sim


MAKING_CALLS = ("create_volume", "clone_volume", "create_snapshot", "rename_volume")


def two_starts(seed: int) -> None:
    """Two VMs that name one volume start at the same moment, on threads that stop wherever they may."""
    sim = Sim(seed, pauses=0.7)
    sim.settle(5.0)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test", driver="fake"))
    sim.settle(30.0)
    sim.ask(lambda pvc: pvc.storage.add_volume(POOL, "root-a", 10 * MIB, by="test"))
    sim.settle(30.0)
    for name in ("a", "b"):
        sim.ask(partial(_define, text=definition(name)))
    repository, view = sim.services.desk.repository, sim.services.desk.view
    for uuid, kept in view.vm_wanted.items():
        both = replace(kept.value, definition=definition(kept.value.name, f"{POOL}/root-a"), want=Want.START, asked=1)
        repository.commit([Set(layout.VM_WANTED, uuid, both, kept.version)])
    sim.run(300)
    sim.check_at_rest()
    assert len(sim.world.host(NODE).guests) == 1, f"seed {seed}: {sorted(sim.world.host(NODE).guests)}"


class Story:
    """Chooses by the simulator's own seed, and notes what was promised."""

    def __init__(self, sim: Sim) -> None:
        self.sim, self.random = sim, sim.random

    def something(self) -> None:
        if self.random.random() < 0.65:
            self.ask(lambda pvc: self._request(pvc, self.random.choice(NAMES)))
        else:
            self._fault()

    def ask(self, call: Callable[[Services], object]) -> None:
        try:
            self.sim.request(call)
        except PvcError:
            pass  # a refusal is an answer; what it must not have promised is kept by the requests below

    # -- what operators ask --------------------------------------------------------------------------------------------

    def add_volume(self, pvc: Services, name: str) -> None:
        made = pvc.storage.add_volume(POOL, name, 10 * MIB, by="test")
        self.sim.watcher.volumes[made.volume.ref] = made.volume.id

    def define(self, pvc: Services, name: str) -> None:
        refs = [f"{POOL}/root-{name}"] if self.random.random() < 0.8 else []
        identity = f"<uuid>{UUIDS[name]}</uuid>" if self.random.random() < 0.5 else ""
        pvc.vms.define(definition(name, *refs, extra=identity + self.random.choice(EXTRAS)), by="test")

    def _request(self, pvc: Services, name: str) -> None:
        volume = f"root-{name}"
        match self.random.choice(
            (0, 1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 6, 6, 7, 8, 9, 10, 10, 10, 11, 12, 13, 14, 15, 16, 17)
        ):
            case 0:
                self.add_volume(pvc, volume)
            case 1 | 2:
                self.define(pvc, name)
            case 3:
                self._want(pvc, name, Want.START, lambda: pvc.vms.start(name, by="test"))
            case 4:
                self._want(pvc, name, Want.STOP, lambda: pvc.vms.stop(name, by="test"))
            case 5:
                self._want(pvc, name, Want.SHUTDOWN, lambda: pvc.vms.shutdown(name, by="test"))
            case 6:
                pvc.vms.restart(name, by="test")
            case 7:
                self._want(pvc, name, Want.DISABLE, lambda: pvc.vms.disable(name, by="test"))
            case 8:
                self._remove(pvc, name, delete_disks=self.random.random() < 0.5)
            case 9:
                pvc.storage.clone_volume(POOL, volume, f"root-{self.random.choice(NAMES)}", by="test")
            case 10:
                self._volume_work(pvc, volume)
            case 11:
                self._upload(pvc, volume)
            case 12:
                self._share_a_volume(pvc, name)
            case 13:
                pvc.vms.attach_device(
                    name, f'<disk dev="vdz" volume="{POOL}/root-{self.random.choice(NAMES)}"/>', by="t"
                )
            case 14:
                pvc.vms.detach_device(
                    name, f'<disk dev="vdz" volume="{POOL}/root-{self.random.choice(NAMES)}"/>', by="t"
                )
            case 15:
                (pvc.nodes.flush if self.random.random() < 0.3 else pvc.nodes.ready)(NODE, by="test")
            case 17:
                self._edit_what_is_old(pvc, name)
            case 16:
                text = pvc.vms.get(name).wanted.definition.replace("<memory>64", "<memory>65")
                pvc.vms.modify(name, text, by="test", restart=self.random.random() < 0.5)

    def _volume_work(self, pvc: Services, volume: str) -> None:
        storage, ref = pvc.storage, f"{POOL}/{volume}"
        match self.random.randrange(9):
            case 0:
                storage.resize_volume(POOL, volume, 20 * MIB, by="test")
            case 1 | 2:
                storage.add_snapshot(POOL, volume, self.random.choice(("s1", "s2")), by="test")
            case 3 | 4:
                storage.rollback_snapshot(POOL, volume, "s1", by="test")
            case 5:
                storage.remove_snapshot(POOL, volume, "s1", by="test")
            case 6:
                storage.rename_snapshot(POOL, volume, "s1", "s3", by="test")
            case 7:
                self.sim.watcher.volumes.pop(ref, None)
                storage.remove_volume(POOL, volume, by="test")
            case 8:
                other = f"root-{self.random.choice(NAMES)}"
                self.sim.watcher.volumes.pop(ref, None)
                storage.rename_volume(POOL, volume, other, by="test")

    def _want(self, pvc: Services, name: str, want: Want, ask: Callable[[], object]) -> None:
        """Note what was acknowledged; a request whose answer was lost may be in force or not."""
        uuid = pvc.vms.get(name).wanted.uuid
        try:
            ask()
        except StoreUnavailable:
            self.sim.watcher.asked[uuid] = None
            raise
        self.sim.watcher.asked[uuid] = want

    def _start(self, pvc: Services, *, name: str) -> None:
        self._want(pvc, name, Want.START, lambda: pvc.vms.start(name, by="test"))

    def _remove(self, pvc: Services, name: str, *, delete_disks: bool) -> None:
        picture = pvc.vms.get(name)
        self.sim.watcher.asked[picture.wanted.uuid] = None  # its UUID may be used again
        if delete_disks:
            self.sim.watcher.volumes.clear()  # which volumes it names may have changed with an answer that was lost
        pvc.vms.remove(name, by="test", delete_disks=delete_disks)

    def _upload(self, pvc: Services, volume: str) -> None:
        pieces = [b"x" * 1000] * self.random.randrange(1, 6)
        cut = self.random.random() < 0.3

        def body() -> Iterator[bytes]:
            yield from pieces
            if cut:
                raise Retry("the client went away")

        pvc.storage.upload(POOL, volume, "raw", 1000 * len(pieces), body(), by="test")

    def _edit_what_is_old(self, pvc: Services, name: str) -> None:
        """Another API process writes what it read before this request: it must be told so."""
        kept = self.sim.services.desk.need_vm(name)
        self._want(pvc, name, Want.START, lambda: pvc.vms.start(name, by="test"))
        self.sim.services.desk.repository.commit(
            [Set(layout.VM_WANTED, kept.value.uuid, replace(kept.value, asked_by="other"), kept.version)]
        )

    def _share_a_volume(self, pvc: Services, name: str) -> None:
        """Two API processes each let in a VM that names one volume: what check_definition cannot see."""
        repository, view = pvc.desk.repository, pvc.desk.view
        kept = view.vm(name)
        if kept is not None:
            other = self.random.choice(NAMES)
            text = definition(name, f"{POOL}/root-{other}")
            new = replace(kept.value, definition=text)
            repository.commit([Set(layout.VM_WANTED, kept.value.uuid, new, kept.version)])
            for one in (name, other):
                self.ask(partial(self._start, name=one))

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def _fault(self) -> None:
        sim, random = self.sim, self.random
        host, store = sim.world.host(NODE), random.choice((sim.brain.store, sim.brain.store, sim.client))
        match random.randrange(19):
            case 0:
                sim.restart_daemon()
            case 1 | 2:
                if host.guests:
                    sim.world.end(NODE, random.choice(sorted(host.guests)), random.choice(("crashed", "shutdown")))
            case 3:
                store.expire()
            case 4:
                store.cut()
            case 5:
                store.mend()
            case 6:
                store.lose_next_answer()
            case 7:
                store.refuse_next_write()
            case 8:
                wrong = random.choice((Retry("the hypervisor is busy", again_in_s=1.0), Crashed()))
                random.choice((host.faults.before, host.faults.after)).append(wrong)
            case 9:
                sim.disks.faults.crash_at = random.randrange(1, 6)
            case 10:
                host.away = not host.away
            case 18:  # asked off while its hypervisor does not answer
                host.away = True
                name = random.choice(NAMES)
                self.ask(lambda pvc: self._want(pvc, name, Want.STOP, lambda: pvc.vms.stop(name, by="test")))
            case 11 | 12:
                sim.brain.store.dies_in = random.randrange(8)
            case 13:
                error = random.choice((Retry("the disks are busy"), Refused("not now"), Permanent("a bad disk")))
                sim.disks.faults.before[random.choice(STORAGE_CALLS)] = error
                if random.random() < 0.2:
                    sim.disks.faults.before["attach"] = NotFound("the bytes are not there")
            case 14:  # the answer is lost; a driver may even find no other words, but Refused is "nothing was changed"
                if random.random() < 0.5:
                    sim.disks.faults.after[random.choice(STORAGE_CALLS)] = Retry("the disks do not answer")
                else:
                    sim.disks.faults.after[random.choice(MAKING_CALLS)] = Permanent("a bad disk")
            case 17:
                sim.power_cycle()
            case 15:
                sim.permits.refuses, sim.permits.away = random.random() < 0.5, random.random() < 0.5
            case 16:
                sim.moody = random.choice((0.0, 0.5))
                sim.brain.quick.wake_all(sim.brain.keeper.view)

    def mend(self) -> None:
        """What was cut off is reached again."""
        self.sim.brain.store.mend()
        self.sim.client.mend()
        self.sim.world.host(NODE).away = self.sim.permits.away = self.sim.permits.refuses = False

    def calm(self) -> None:
        """The faults stop; what a person must ask for again after a failure is asked for again."""
        sim, host = self.sim, self.sim.world.host(NODE)
        self.mend()
        sim.moody = 0.0
        host.faults.before.clear()
        host.faults.after.clear()
        sim.disks.faults.before.clear()
        sim.disks.faults.after.clear()
        sim.disks.faults.crash_at = sim.brain.store.dies_in = None
        sim.brain.store.forget_faults()
        sim.client.forget_faults()
        sim.settle(200.0)
        self.ask(lambda pvc: pvc.nodes.ready(NODE, by="test"))
        for kept in list(sim.services.desk.view.volumes.values()):
            if kept.value.phase.value == "removing":
                self.ask(partial(_removed, name=kept.value.name))


def _define(pvc: Services, *, text: str) -> None:
    pvc.vms.define(text, by="test")


def _removed(pvc: Services, *, name: str) -> None:
    try:
        pvc.storage.remove_volume(POOL, name, by="test")
    except NotFound:
        pass  # gone meanwhile
