"""How a guest is started: claim, permit, volumes, networks, hypervisor, in this order and in one attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged
from pvc_core.contracts.compute import Observation, RenderRequest
from pvc_core.contracts.targets import Bridge, DiskSource, NicTarget
from pvc_core.errors import Invalid, NotFound, Permanent, Refused, Retry
from pvc_core.model.network import NetworkPhase
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim, Description, GuestState, NicSpec, Phase, VmSeen, VmWanted
from pvc_core.policy.placement import crowded, loads, need_of, objection
from pvc_core.reconcile.clients import Clients
from pvc_core.reconcile.ground import Ground, writes
from pvc_core.reconcile.network import driver_of
from pvc_core.reconcile.outcome import Outcome

START_S, ATTACH_S, OBSERVE_S, PERMIT_S = 60.0, 20.0, 5.0, 75.0
"""A permit outlives the call it is for by little: what comes later than that must not start."""
BACK_OFF_MAX_S = 60.0
WAIT_S, BUSY_S = 5.0, 2.0
STEADY_S = 300.0
"""A guest that ran this long is not in a crash loop."""
CRASHES_MAX = 10
"""So often in a row a guest may end by itself, some four minutes with what is waited between; then it has failed."""

NOT_HERE = "cannot start on"
"""What it says on a node that does not take the guest."""


@dataclass(frozen=True, slots=True)
class Starter:
    ground: Ground
    host_bridges: dict[str, str] = field(default_factory=dict)
    """Host network -> bridge on this node ("upstream" -> "brupstream")."""
    _not_before: dict[str, tuple[float, str]] = field(default_factory=dict)
    clients: Clients = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clients", Clients(self.ground))

    def start(self, wanted: Kept[VmWanted], claim: Kept[Claim], seen: VmSeen) -> Outcome:
        """The guest is off and shall run."""
        vm = wanted.value
        description = self.ground.descriptions.of(vm)
        if seen.failed_asked == vm.asked:
            return Outcome(f"failed: {seen.failed_reason}")
        not_before_s, why = self._not_before.get(vm.uuid, (0.0, ""))
        wait_s = not_before_s - self.ground.clock.boottime_s()
        if wait_s > 0:
            return Outcome(why, wait_s)
        volumes = {ref: kept for ref in description.volumes if (kept := self.ground.view.volume(ref)) is not None}
        hindrance = self._hindrance(vm, description, volumes)
        if hindrance:
            if claim.value.phase is Phase.RUN:
                self.give_up(claim)  # it ended, and will not start soon: what it had is free for others meanwhile
            return hindrance
        for ref in claim.value.volumes:  # attached to a guest that is off, and not to be attached again
            if ref not in volumes:
                self.let_go_of(vm.uuid, ref)
        mine = self._stamp(wanted, claim, description, volumes)
        self.clients.forget(vm.uuid)
        try:
            self.clients.shut_out(claim.value)
            there = self._launch(vm, description, mine.generation)
        except (Permanent, Refused, Invalid, NotFound) as error:
            return self.failed(vm, seen, str(error))
        except Retry as error:  # each attempt writes the claim, which wakes this VM: only the clock may bring the next
            self._hold(vm.uuid, error.again_in_s, str(error))
            raise
        self._started(vm, seen, there)
        return Outcome(f"running on {self.ground.node}")

    def forget(self, uuid: str) -> None:
        self._not_before.pop(uuid, None)
        self.clients.forget(uuid)

    def hold_back(self, uuid: str, crashes: int, reason: str) -> float:
        """How long to wait before the next start of a guest that keeps ending by itself: 0, 1, 2, 4 ... 60 seconds."""
        wait_s = 0.0 if crashes <= 1 else min(BACK_OFF_MAX_S, 2.0 ** (crashes - 2))
        limit = f"it is started again up to {CRASHES_MAX - 1} times in a row, {wait_s:.0f} s after this one"
        self._hold(uuid, wait_s, f"the guest ended by itself {crashes} times in a row ({reason}); {limit}")
        return wait_s

    def _hold(self, uuid: str, wait_s: float, why: str) -> None:
        self._not_before[uuid] = (self.ground.clock.boottime_s() + wait_s, why)

    def volumes(self, uuid: str) -> tuple[str, ...]:
        kept = self.ground.view.vm_wanted.get(uuid)
        return self.ground.descriptions.of(kept.value).volumes if kept else ()

    def let_go(self, uuid: str, claim: Claim) -> None:
        """The guest was seen off: let no start that is still on its way begin, look once more, let its volumes go.

        Without its permit a start that waits in a hanging hypervisor is refused when that wakes (A15). Raises Retry
        when the guest is not off after all.
        """
        self.ground.permits.revoke(uuid)
        if self._look(uuid).guest is not GuestState.OFF:
            raise Retry("a start that was still on its way has begun the guest; looking again", again_in_s=0.5)
        vm = self.ground.view.vm_wanted.get(uuid)
        for nic in self.ground.descriptions.of(vm.value).nics if vm else ():
            self.unplug(uuid, nic)
        for ref in claim.volumes:
            self.let_go_of(uuid, ref)

    def give_up(self, claim: Kept[Claim]) -> None:
        """The same, and then the claim itself is free."""
        mine = claim.value
        self.let_go(mine.uuid, mine)
        free = replace(mine, phase=Phase.FREE, generation=mine.generation + 1, target=None, volumes=(), addresses=())
        self.ground.commit(Set(layout.CLAIMS, mine.uuid, free, claim.version))

    def let_go_of(self, uuid: str, ref: str) -> None:
        kept = self.ground.view.volume(ref)
        if kept is not None:
            self._detach(uuid, kept.value)

    # -- before --------------------------------------------------------------------------------------------------------

    def _hindrance(self, vm: VmWanted, description: Description, volumes: Mapping[str, Kept[Volume]]) -> Outcome | None:
        """What must change before it can start; nothing was touched."""
        view = self.ground.view
        load = loads(view, self.ground.descriptions.of, besides=vm.uuid)
        need = need_of(view, vm, description)
        why = objection(view, need, self.ground.node, load)
        why = why or crowded(view, need, self.ground.node, self.ground.descriptions.of, load)
        if why:
            return Outcome(f"{NOT_HERE} {self.ground.node}: {why}", WAIT_S)
        for ref in description.volumes:
            if ref not in volumes:
                return Outcome(f"waiting for volume {ref}, which does not exist", WAIT_S)
            if volumes[ref].value.phase is not VolumePhase.READY:
                return Outcome(f"waiting for volume {ref}, which is {volumes[ref].value.phase}", WAIT_S)
            if busy := self.ground.busy(volumes[ref].value):
                return Outcome(f"waiting for volume {ref}: {busy}", BUSY_S)
        for ref, user in self.ground.users(description.volumes, besides=vm.uuid):
            if ref in writes(description) or user.writes(ref):
                return Outcome(f"waiting for volume {ref}, which VM {user.name} uses", WAIT_S)
        for task in (kept.value for kept in view.tasks.values()):
            if task.kind == "vm.device_attach" and not task.ended and task.args.get("uuid") == vm.uuid:
                return Outcome(f"waiting for task {task.id}: {task.status}", BUSY_S)
        try:
            self.ground.hooks.check("pvc_check_vm_start", vm=vm, description=description)
        except Refused as error:
            return Outcome(f"not started: {error}", 30.0)
        return None

    def _stamp(
        self,
        wanted: Kept[VmWanted],
        claim: Kept[Claim],
        description: Description,
        volumes: Mapping[str, Kept[Volume]],
    ) -> Claim:
        """The write that entitles to this start. Lost or unknown, nothing is started (Conflict, StoreUnavailable
        travel on). It writes each volume over as it was: of two starts, or a start and a task, that want one volume
        at the same moment, one loses and looks again.
        """
        mine = replace(
            claim.value,
            phase=Phase.RUN,
            incarnation=self.ground.incarnation,
            generation=claim.value.generation + 1,
            volumes=description.volumes,
            request_id=f"restart-{wanted.value.restart}",
        )
        self.ground.commit(
            Set(layout.CLAIMS, wanted.value.uuid, mine, claim.version),
            Unchanged(layout.VM_WANTED, wanted.value.uuid, wanted.version),
            *(Set(layout.VOLUMES, _id(kept.value), kept.value, kept.version) for kept in volumes.values()),
        )
        return mine

    # -- the attempt ---------------------------------------------------------------------------------------------------

    def _launch(self, vm: VmWanted, description: Description, generation: int) -> Observation:
        """A permit that is refused now is given later: that is no fault of the definition."""
        try:
            self.ground.permits.permit(vm.uuid, generation=generation, kind="start", for_s=PERMIT_S)
        except Refused as error:
            raise Retry(f"not started: {error.message}", again_in_s=BUSY_S, help=error.help) from None
        request = RenderRequest(
            definition=vm.definition,
            uuid=vm.uuid,
            name=vm.name,
            disks=self.sources(vm.uuid, description),
            nics=self.targets(description),
            vnc_listen=self.ground.vnc_listen,
        )
        compute = self.ground.compute
        try:
            return self.ground.calls(
                vm.uuid, "starting the guest", START_S, lambda: compute.start(request, deadline_s=START_S)
            )
        except Refused as error:  # "as things stand": the permit may have ended while the hypervisor was busy
            raise Retry(f"the hypervisor refused to start it: {error.message}", help=error.help) from None

    def sources(self, uuid: str, description: Description) -> dict[str, DiskSource]:
        """Where this node finds each volume, by target device."""
        found: dict[str, DiskSource] = {}
        for disk in description.disks:
            if disk.volume:
                found[disk.dev] = self.attach(uuid, disk.volume, read_only=disk.read_only)
        return found

    def attach(self, uuid: str, ref: str, *, read_only: bool) -> DiskSource:
        kept = self.ground.view.volume(ref)
        if kept is None:
            raise NotFound(
                f"there is no volume {ref} to attach", help="`pvc storage volume list` shows those there are"
            )
        volume, pool = kept.value, self.ground.pool(kept.value.pool)
        driver = self.ground.driver(pool)
        return self.ground.calls(
            f"volume/{volume.id}",
            f"attaching volume {ref}",
            ATTACH_S,
            lambda: driver.attach(pool, volume, vm_uuid=uuid, read_only=read_only, deadline_s=ATTACH_S),
        )

    def targets(self, description: Description) -> dict[str, NicTarget]:
        """What each NIC plugs into, by MAC. Networks of PVC's own come with their drivers; host networks are bridges
        here.
        """
        found: dict[str, NicTarget] = {}
        for nic in description.nics:
            if nic.network in self.host_bridges:
                found[nic.mac] = Bridge(bridge=self.host_bridges[nic.network])
            elif nic.network and nic.network in self.ground.view.networks:
                found[nic.mac] = self._plug(description.uuid or "", nic.network, nic.mac)
            elif nic.network is not None:
                raise Refused(
                    f"NIC {nic.mac} wants network {nic.network}, which is not on node {self.ground.node}",
                    help="use a host network of this node's pvc.yaml, or another node",
                )
        return found

    def _plug(self, uuid: str, word: str, mac: str) -> NicTarget:
        """Raises Refused while the network is being removed, Permanent without a driver for it."""
        network = self.ground.view.networks[word].value
        if network.phase is NetworkPhase.REMOVING:
            raise Refused(f"NIC {mac} wants network {network.ref}, which is being removed", help="use another network")
        driver = driver_of(self.ground.networks, network)
        return self.ground.calls(
            f"network/{word}",
            f"plugging NIC {mac} into network {network.ref}",
            ATTACH_S,
            lambda: driver.plug(network, vm_uuid=uuid, mac=mac, deadline_s=ATTACH_S),
        )

    def unplug(self, uuid: str, nic: NicSpec) -> None:
        """The network driver forgets the NIC, which is not here any more. Nothing waits for that: a filter or function
        that stays behind is taken over when the NIC is plugged in again, or with its network.
        """
        kept = self.ground.view.networks.get(nic.network or "")
        if kept is None:
            return
        network = kept.value
        try:
            driver = driver_of(self.ground.networks, network)
            self.ground.calls(
                f"network/{network.vni}",
                f"unplugging NIC {nic.mac} from network {network.ref}",
                ATTACH_S,
                lambda: driver.unplug(network, vm_uuid=uuid, mac=nic.mac, deadline_s=ATTACH_S),
            )
        except (Permanent, Refused, Retry) as error:
            self.ground.log.warning(f"NIC {nic.mac} was not unplugged: {error}", object=f"vm/{uuid}")

    def _detach(self, uuid: str, volume: Volume) -> None:
        pool = self.ground.pool(volume.pool)
        driver = self.ground.driver(pool)
        self.ground.calls(
            f"volume/{volume.id}",
            f"detaching volume {volume.ref}",
            ATTACH_S,
            lambda: driver.detach(pool, volume, vm_uuid=uuid, deadline_s=ATTACH_S),
        )

    # -- after ---------------------------------------------------------------------------------------------------------

    def _started(self, vm: VmWanted, seen: VmSeen, there: Observation) -> None:
        now = self.ground.clock.wall_s()
        new = replace(
            seen,
            node=self.ground.node,
            guest=there.guest,
            sentence=f"running on {self.ground.node}",
            failed_reason="",
            failed_asked=-1,
            restart_done=vm.restart,
            vnc_listen=there.vnc_listen,
            vnc_port=there.vnc_port,
            started_at_s=now,
        )
        self._save(vm.uuid, new)
        self.ground.hooks.notify("pvc_vm_started", key=vm.uuid, vm=vm)

    def failed(self, vm: VmWanted, seen: VmSeen, reason: str) -> Outcome:
        """It cannot start here. The claim is given up only when the guest was seen off: nothing may be in flight."""
        self.ground.permits.revoke(vm.uuid)
        if self._look(vm.uuid).guest is not GuestState.OFF:
            raise Retry(f"start failed ({reason}), and whether the guest is off is not clear yet", again_in_s=2.0)
        self.give_up(self.ground.repository.get(layout.CLAIMS, vm.uuid))
        self._save(
            vm.uuid,
            replace(seen, node=self.ground.node, guest=GuestState.OFF, failed_reason=reason, failed_asked=vm.asked),
        )
        self.ground.hooks.notify("pvc_vm_failed", key=vm.uuid, vm=vm, reason=reason)
        return Outcome(f"failed: {reason}")

    def _look(self, uuid: str) -> Observation:
        look = partial(self.ground.compute.observe, uuid, deadline_s=OBSERVE_S)
        return self.ground.calls(uuid, "looking at the guest", OBSERVE_S, look)

    def _save(self, uuid: str, record: VmSeen) -> None:
        self.ground.repository.save(layout.VM_SEEN, uuid, record, self.ground.repository.find(layout.VM_SEEN, uuid))
        self.ground.keeper.settle([layout.VM_SEEN.key(uuid)], inline=self.ground.inline)


def _id(volume: Volume) -> str:
    return layout.volume_id(volume.pool, volume.name)
